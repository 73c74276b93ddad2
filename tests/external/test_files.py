import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.io import savemat
from scipy.sparse import csc_matrix

from readout.common.errors import ReadoutError
from readout.external.files import WHOLE, read_arrays, texts
from tests.helpers import damaged

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


def read_all(path: Path) -> dict[str, NDArray[Any]]:
    return {key: np.asarray(stored) for key, stored in read_arrays(path).items()}


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
    assert read_arrays(tmp_path / "decoded.safetensors")["early"].read().tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".mat"])
@pytest.mark.parametrize("content", [b"", b"not what it says", None])
def test_a_file_that_cannot_be_read(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"torn{suffix}"
    if content is None:  # cut short
        whole = save(path, {"early": np.random.default_rng(0).random(4000).astype(np.float32)}).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(ReadoutError, match="torn"):
        read_all(path)


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
        assert read_arrays(path)["names"].read().tolist() == ["cat", "dog"]
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".mat", "7.3.mat"])
def test_damaged_files_are_one_sentence(tmp_path: Path, suffix: str) -> None:
    generator = np.random.default_rng(0)
    arrays = {"early": generator.random((2, 3, 4), dtype=np.float32)}
    path = save(tmp_path / f"a{suffix}", arrays, matlab_7_3=suffix == "7.3.mat")
    whole, sentences = path.read_bytes(), []
    for _ in range(50):
        path.write_bytes(damaged(whole, generator))
        try:
            read_all(path)
        except ReadoutError as error:
            sentences.append(str(error))
    assert len(sentences) > 10
    assert all(path.name in sentence and "\n" not in sentence for sentence in sentences)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".mat", "7.3.mat"])
def test_headers_tell_shapes_and_types_before_anything_is_read(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", {"early": ARRAYS["early"]}, matlab_7_3=suffix == "7.3.mat")
    (stored,) = read_arrays(path).values()
    assert (stored.shape, stored.size, stored.dtype.kind) == ((2, 3, 4), 24, "f")
    np.testing.assert_array_equal(np.asarray(stored), ARRAYS["early"])


def bomb(path: Path, rows: int, columns: int) -> Path:
    """An archive of zeros, hardly anything packed; written from its header, so that no test needs the memory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("early.npy", "w") as file:
        file.write(header.getvalue())
        for _ in range(rows):
            file.write(bytes(4 * columns))
    return path


def test_what_asks_for_more_memory_than_there_is_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (stored,) = read_arrays(bomb(tmp_path / "bomb.npz", 64, 2**14)).values()
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**21))
    with pytest.raises(ReadoutError, match=r"'early' of '.*bomb\.npz' needs 0\.00391 GiB .* 0\.00195 are free"):
        np.asarray(stored)


def cells(*names: Any) -> NDArray[Any]:
    array = np.empty((1, len(names)), dtype=object)
    array[0] = names
    return array


@pytest.mark.parametrize(
    "names",
    [cells("cat", "doge", "é"), np.array(["cat", "doge", "é"]), cells(*[cells(name) for name in ("cat", "doge", "é")])],
)
def test_names_in_matlab_files_up_to_7(tmp_path: Path, names: NDArray[Any]) -> None:
    savemat(tmp_path / "a.mat", {"names": names})
    assert texts(read_arrays(tmp_path / "a.mat")["names"]) == ["cat", "doge", "é"]


def of_class(file: Any, key: str, values: NDArray[Any], kind: str, **attributes: Any) -> Any:
    file[key] = values
    file[key].attrs["MATLAB_class"] = np.bytes_(kind)
    for name, value in attributes.items():
        file[key].attrs[name] = value
    return file[key].ref


def utf_16(text: str) -> NDArray[np.uint16]:
    return np.frombuffer(text.encode("utf-16-le"), dtype="<u2")


NAMES = ["cat", "doge", "é🙂"]


@pytest.mark.parametrize("kind", ["cell", "char", "string", "bytes", "str"])
def test_names_in_matlab_7_3(tmp_path: Path, kind: str) -> None:
    names = [name.ljust(4) for name in NAMES[:2]] if kind == "char" else NAMES
    with h5py.File(tmp_path / "a.mat", "w") as file:
        if kind == "cell":
            references = [
                of_class(file, f"#refs#/{place}", utf_16(name)[:, None], "char") for place, name in enumerate(names)
            ]
            of_class(file, "names", np.array([references], dtype=h5py.ref_dtype).T, "cell")
        elif kind == "char":
            of_class(file, "names", np.stack([utf_16(name) for name in names], 1), "char")
        elif kind == "string":
            write_strings(file, names)
        else:
            file["names"] = [name.encode() for name in names] if kind == "bytes" else names
    assert texts(read_arrays(tmp_path / "a.mat")["names"]) == NAMES[: len(names)]


def write_strings(file: Any, names: list[str]) -> None:
    """A string array as MATLAB keeps it: the second object of a table, saved in its second block."""
    units = [utf_16(name) for name in names]
    packed = np.concatenate(units).tobytes()
    packed += bytes(-len(packed) % 8)
    saved = [1, 2, 1, len(names), *map(len, units), *np.frombuffer(packed, dtype="<u8")]
    other = [1, 2, 1, 1, 1, *np.frombuffer(utf_16("x").tobytes() + bytes(6), dtype="<u8")]
    called = b"any\0string\0".ljust(16, b"\0")
    classes = [0, 0, 0, 0, 0, 2, 0, 0]
    blocks = [0, 0, 1, 1, 1, 0, 1, 1, 1, 1]
    objects = [0] * 6 + [1, 0, 0, 1, 0, 1] + [1, 0, 0, 2, 0, 2]
    starts = np.cumsum([40 + len(called), 4 * len(classes), 4 * len(blocks), 4 * len(objects)])
    table = np.array([4, 2, *starts, *[starts[-1]] * 4], dtype="<u4").tobytes() + called
    table += np.array([*classes, *blocks, *objects], dtype="<u4").tobytes()
    parts: list[NDArray[Any]] = [
        np.frombuffer(table, dtype=np.uint8)[None],
        np.zeros(2),
        np.array(other, "<u8"),
        np.array(saved, "<u8"),
    ]
    references = [of_class(file, f"#refs#/{place}", part, "uint8") for place, part in enumerate(parts)]
    of_class(file, "#subsystem#/MCOS", np.array([references], dtype=h5py.ref_dtype), "FileWrapper__")
    value = np.array([[3707764736], [2], [1], [1], [2], [1]], dtype=np.uint32)
    of_class(file, "names", value, "string", MATLAB_object_decode=np.int32(3))


def test_bytes_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", names=np.array([b"cat", b"caf\xe9"]))
    assert texts(read_arrays(tmp_path / "a.npz")["names"]) == ["cat", r"caf\xe9"]


@pytest.mark.parametrize("matlab_7_3", [True, False])
def test_sparse_arrays_are_filled(tmp_path: Path, matlab_7_3: bool) -> None:
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    path, sparse = tmp_path / "a.mat", csc_matrix(dense)
    if matlab_7_3:
        with h5py.File(path, "w") as file:
            group = file.create_group("early")
            group.attrs["MATLAB_sparse"] = np.uint64(2)
            group["data"], group["ir"], group["jc"] = sparse.data, sparse.indices, sparse.indptr
    else:
        savemat(path, {"early": sparse})
    assert read_arrays(path)["early"].shape == (2, 3)
    np.testing.assert_array_equal(np.asarray(read_arrays(path)["early"]), dense)


@pytest.mark.parametrize("matlab_7_3", [True, False])
def test_what_is_neither_numbers_nor_names(tmp_path: Path, matlab_7_3: bool) -> None:
    path = tmp_path / "a.mat"
    if matlab_7_3:
        with h5py.File(path, "w") as file:
            of_class(file, "names", np.zeros((6, 1), np.uint32), "datetime", MATLAB_object_decode=np.int32(3))
    else:
        savemat(path, {"names": {"a": 1}})
    stored = read_arrays(path)["names"]
    assert stored.dtype == object
    with pytest.raises(ReadoutError, match=r"'names' of '.*a\.mat'"):
        texts(stored)
