import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.io import savemat

from readout.errors import ReadoutError
from readout.given.files import WHOLE, read_arrays

ARRAYS = {"early": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "late": np.ones((1, 5), dtype=np.float32)}


def save(path: Path, arrays: dict[str, NDArray[Any]], matlab_7_3: bool = False) -> Path:
    """In the format that the suffix says."""
    match path.suffix:
        case ".npz":
            np.savez(path, **arrays)  # type: ignore[arg-type]
        case ".npy":
            (values,) = arrays.values()
            np.save(path, values)
        case ".safetensors":
            save_file({key: torch.from_numpy(value) for key, value in arrays.items()}, path)
        case _ if matlab_7_3:
            with h5py.File(path, "w") as file:
                for key, value in arrays.items():
                    file[key] = value.T  # MATLAB's order of dimensions
        case _:
            savemat(path, arrays)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".mat"])
def test_keys_and_values_come_back(tmp_path: Path, suffix: str) -> None:
    found = read_arrays(save(tmp_path / f"decoded{suffix}", ARRAYS))
    assert set(found) == set(ARRAYS)
    for key, values in ARRAYS.items():
        np.testing.assert_array_equal(found[key], values)


def test_matlab_7_3_has_its_dimensions_turned_back(tmp_path: Path) -> None:
    found = read_arrays(save(tmp_path / "decoded.mat", ARRAYS, matlab_7_3=True))
    np.testing.assert_array_equal(found["early"], ARRAYS["early"])


def test_npy_has_no_key(tmp_path: Path) -> None:
    found = read_arrays(save(tmp_path / "decoded.npy", {"": ARRAYS["early"]}))
    np.testing.assert_array_equal(found[WHOLE], ARRAYS["early"])


def test_bfloat16_is_read_as_floats(tmp_path: Path) -> None:
    save_file({"early": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "decoded.safetensors")
    assert read_arrays(tmp_path / "decoded.safetensors")["early"].tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".mat"])
@pytest.mark.parametrize("content", [b"", b"not what it says", None])
def test_a_file_that_cannot_be_read(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"torn{suffix}"
    if content is None:  # cut short
        whole = save(path, {"early": np.random.default_rng(0).random(4000).astype(np.float32)}).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(ReadoutError, match="torn"):
        read_arrays(path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "pickled.npy").write_bytes(buffer.getvalue())
    with pytest.raises(ReadoutError, match="holds Python objects, which are not read"):
        read_arrays(tmp_path / "pickled.npy")


@pytest.mark.parametrize("kind", [object, str])
def test_names_are_texts_and_no_objects(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "decoded.npz"
    np.savez(path, names=np.array(["cat", "dog"], dtype=kind), early=np.ones((2, 3)))
    if kind is str:
        assert read_arrays(path)["names"].tolist() == ["cat", "dog"]
        return
    with pytest.raises(ReadoutError, match=r"'names' of '.*decoded.npz' holds Python objects.*dtype=str"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("decoded.csv", "npz, .npy"), ("missing.npz", "no file or folder"), ("nosuchfolder", "no file or folder")],
)
def test_other_files(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "decoded.csv").touch()
    with pytest.raises(ReadoutError, match=words):
        read_arrays(tmp_path / name)


def test_a_file_without_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(ReadoutError, match="holds no arrays"):
        read_arrays(tmp_path / "empty.npz")
