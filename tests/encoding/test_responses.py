"""Responses from files of every format, and what can't be used."""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.io import savemat

from readout.common.errors import ReadoutError
from readout.encoding import Responses, read_responses

NAMES = ["cat", "dog", "owl"]
TRIALS = np.random.default_rng(0).normal(size=(3, 2, 5))
FLAT = TRIALS.transpose(1, 0, 2).reshape(6, 5)
"""Both repeats of all stimuli, one after the other."""


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_matlab_7_3(path: str) -> None:
    """HDF5 as MATLAB writes it: dimensions in reverse order, texts as references."""
    with h5py.File(path, "w") as file:
        file["responses"] = TRIALS.transpose()
        file["responses"].attrs["MATLAB_class"] = np.bytes_("double")
        cells = file.create_dataset("names", (1, 3), dtype=h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        for place, name in enumerate(NAMES):
            text = file.create_dataset(f"#refs#/{place}", data=np.array([[ord(one)] for one in name], np.uint16))
            text.attrs["MATLAB_class"] = np.bytes_("char")
            cells[0, place] = text.ref


def save_bdata(path: str, labels: bool = True) -> None:
    """HDF5 as bdpy writes it: voxels of two areas, then the stimulus by number; a row of rest comes first."""
    rows = np.column_stack([FLAT, [1, 2, 3, 1, 2, 3]])
    marked = np.full((3, 6), np.nan)
    marked[0, :5] = marked[1, :2] = marked[2, 5] = 1
    with h5py.File(path, "w") as file:
        file["dataset"] = np.vstack([[*FLAT[0], np.nan], rows])
        file["metadata/key"] = [b"VoxelData", b"ROI_V1", b"stimulus_name"]
        file["metadata/value"] = marked
        for number, name in enumerate(NAMES, start=1):
            file[f"vmap/{'stimulus_name' if labels else 'run'}/{number:.1f}"] = name.encode()


def save_npz(path: str, values: Any = FLAT, names: Any = NAMES * 2, **more: Any) -> None:
    np.savez(path, responses=values, names=names, **more)


def test_every_format_gives_the_same_responses() -> None:
    save_npz("flat.npz")
    np.savez("stacked.npz", anything=TRIALS, names=NAMES)
    savemat("old.mat", {"responses": TRIALS, "names": np.array(NAMES, dtype=object)})
    savemat("numbers.mat", {"responses": TRIALS, "names": [1.0, 2.0, 3.0]})
    assert read_responses("numbers.mat").names == ["1", "2", "3"]
    save_matlab_7_3("new.mat")
    save_bdata("brain.h5")
    for path in ("flat.npz", "stacked.npz", "old.mat", "new.mat", "brain.h5"):
        found = read_responses(path)
        assert found.names == NAMES, path
        np.testing.assert_array_equal(found.trials, TRIALS, err_msg=path)
    np.testing.assert_array_equal(read_responses("brain.h5", "ROI_V1").trials, TRIALS[..., :2])


def test_bdata_of_bdpy_itself() -> None:
    bdpy = pytest.importorskip("bdpy")
    data = bdpy.BData()
    data.add(FLAT, "VoxelData")
    data.add(np.array([[1], [2], [3]] * 2), "stimulus_name")
    data.add_vmap("stimulus_name", {float(number): name for number, name in enumerate(NAMES, start=1)})
    data.save("brain.h5")
    found = read_responses("brain.h5")
    assert found.names == NAMES
    np.testing.assert_array_equal(found.trials, TRIALS)


def test_nifti_is_read_within_its_mask() -> None:
    nibabel = pytest.importorskip("nibabel")
    mask, volumes = np.zeros((2, 2, 2)), np.zeros((2, 2, 2, 6))
    mask.flat[[0, 2, 3, 5, 7]] = 1
    volumes[mask > 0] = FLAT.T
    for name, values in (("brain", volumes), ("mask", mask), ("small", np.ones((2, 2)))):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), f"{name}.nii.gz")
    with pytest.raises(ReadoutError, match=r"needs a mask; give it as --mask\."):
        read_responses("brain.nii.gz")
    with pytest.raises(ReadoutError, match=r"needs 'brain.txt', a stimulus per line; write it\."):
        read_responses("brain.nii.gz", "mask.nii.gz")
    Path("brain.txt").write_text("\n".join(NAMES * 2) + "\n", encoding="utf-8")
    found = read_responses("brain.nii.gz", "mask.nii.gz")
    assert found.names == NAMES
    np.testing.assert_allclose(found.trials, TRIALS)
    with pytest.raises(ReadoutError, match=r"has shape \(2, 2, 2, 6\), and its mask \(2, 2\)"):
        read_responses("brain.nii.gz", "small.nii.gz")


def test_nifti_without_nibabel_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    Path("brain.nii").touch()
    with pytest.raises(ReadoutError, match=r"pip install 'readout\[nifti\]'"):
        read_responses("brain.nii", "mask.nii")


def with_values(values: Any, *places: int) -> np.ndarray:
    changed = FLAT.copy()
    changed[:, list(places)] = values
    return changed


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"values": FLAT[0]}, r"has shape \(5,\) and type float64; give numbers, samples × targets or"),
        ({"values": FLAT[:, None, None]}, r"has shape \(6, 1, 1, 5\)"),
        ({"values": FLAT[:0]}, r"has shape \(0, 5\)"),
        ({"values": FLAT[:4]}, r"has shape \(4, 5\), but there are 6 names of stimuli; put stimuli first"),
        ({"names": [*NAMES, "cat", "cat", "owl"]}, r"3 repeats of 'cat', but 1 of 'dog'; give equally many"),
        ({"values": with_values(np.nan, 1, 3)}, r"2 of 5 targets .* NaN or infinite \(columns 1, 3, counted from 0\)"),
    ],
)
def test_what_can_not_be_used_is_one_sentence(arrays: dict[str, Any], sentence: str) -> None:
    save_npz("responses.npz", **arrays)
    with pytest.raises(ReadoutError, match=sentence):
        read_responses("responses.npz")


def test_files_that_lack_something_are_refused() -> None:
    save_bdata("unnamed.h5", labels=False)
    save_bdata("brain.h5")
    Path("damaged.h5").write_bytes(Path("brain.h5").read_bytes()[:700])
    Path("responses.txt").touch()
    save_file({"a": FLAT}, "nameless.safetensors")
    np.savez("two.npz", a=FLAT, b=FLAT, names=NAMES * 2)
    for path, mask, sentence in (
        (
            "unnamed.h5",
            None,
            "lacks labels 'stimulus_name'; it has VoxelData, ROI_V1, stimulus_name, and labels of run",
        ),
        ("brain.h5", "ROI_V2", "lacks columns 'ROI_V2'"),
        ("damaged.h5", None, "can't be read"),
        ("missing.npz", None, "There is no file 'missing.npz'"),
        ("responses.txt", None, "is no file of responses; give .npz, .npy, .safetensors, .mat, .h5, .hdf5, .nii"),
        ("nameless.safetensors", None, "holds 'a'; give 'responses', and a stimulus per row in 'names'"),
        ("two.npz", None, "holds 'a', 'b'; name one of them 'responses'"),
        ("two.npz", "mask", "--mask is for NIfTI and BData"),
    ):
        with pytest.raises(ReadoutError, match=sentence):
            read_responses(path, mask)


def test_noise_and_ceiling_are_those_planted() -> None:
    generator = torch.Generator().manual_seed(0)
    deviations = torch.tensor([0.5, 1.0, 2.0])
    signal = torch.randn(20_000, 1, 3, generator=generator)
    noise = deviations * torch.randn(20_000, 5, 3, generator=generator)
    found = Responses([], (3 * (signal + noise) + 10).double())
    torch.testing.assert_close(found.noise, 9 * deviations.square().double(), rtol=0.02, atol=0)
    torch.testing.assert_close(found.ceiling, (1 + deviations**2 / 5).rsqrt().double(), rtol=0.01, atol=0)
    residuals = found.residuals()
    torch.testing.assert_close(residuals.var(0), found.noise, rtol=0.01, atol=0)


def test_the_distance_of_noise_is_that_between_patterns() -> None:
    generator = torch.Generator().manual_seed(0)
    signal, noise = torch.randn(50, 1, 400, generator=generator), 0.8 * torch.randn(50, 4, 400, generator=generator)
    trials = signal + noise
    found = Responses([], trials.double())
    for repeats in (1, 4):
        patterns = torch.stack([signal[:, 0], trials[:, :repeats].mean(1)])
        centred = torch.nn.functional.normalize(patterns - patterns.mean(2, keepdim=True), dim=2)
        assert found.noise_distance(repeats) == pytest.approx(1 - float(centred.prod(0).sum(1).mean()), abs=0.01)


def test_targets_whose_means_are_constant_are_refused_only_where_they_are_fitted() -> None:
    """Counts may differ between repeats and not between stimuli; a test of few stimuli may have such units."""
    counts = np.random.default_rng(0).integers(0, 9, (6, 5))
    counts[:, 4] = [0, 1, 1, 1, 0, 0]
    save_npz("counts.npz", counts)
    with pytest.raises(ReadoutError, match=r"1 of 5 targets respond to all stimuli alike \(columns 4, counted"):
        read_responses("counts.npz").standardised()


def test_without_repeats_there_is_no_ceiling() -> None:
    assert Responses(NAMES, torch.from_numpy(TRIALS[:, :1])).ceiling.isnan().all()
