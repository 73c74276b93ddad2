from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.extractors import OrthonormalLinear
from readout.perturbations import Origin, ResidualPerturbation
from readout.problems.identity import describe

X = torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
EXTRACTOR = OrthonormalLinear((1, 2, 2), 3)
H = EXTRACTOR.extract(X, "linear")
TRIALS = np.random.default_rng(0).normal(size=(6, 12)) * np.linspace(0.1, 5, 12)


def steps(perturbation: ResidualPerturbation, count: int) -> Tensor:
    origin = Origin(EXTRACTOR, "linear", X.expand(count, 1, 2, 2), H.expand(count, 12), ["x"] * count)
    return (
        perturbation.from_origin(H.expand(count, 12), torch.full((count,), 0.5), list(range(count)), None, origin) - H
    )


def test_a_trial_is_drawn_and_scaled_by_the_root_mean_square_of_all(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", TRIALS)
    scaled = torch.from_numpy(TRIALS / np.sqrt((TRIALS**2).mean())).float() * H.std(unbiased=False) * 3**0.5
    for step in steps(ResidualPerturbation(str(tmp_path / "one.npy")), 20):
        assert (scaled - step).norm(dim=1).min() < 1e-5


def test_noise_of_the_covariance_has_that_covariance(tmp_path: Path) -> None:
    np.savez(tmp_path / "layers.npz", linear=TRIALS, other=np.ones((2, 3)))
    drawn = steps(ResidualPerturbation(str(tmp_path / "layers.npz"), draw="covariance"), 4000).double()
    found = drawn.T @ drawn / len(drawn) / float(H.var(unbiased=False)) / 3
    wanted = torch.from_numpy(TRIALS.T @ TRIALS / 6 / (TRIALS**2).mean())
    assert float((found - wanted).norm() / wanted.norm()) < 0.1


def test_results_go_by_the_content_of_the_file(tmp_path: Path) -> None:
    for name, values in (("a", TRIALS), ("b", TRIALS), ("c", 2 * TRIALS), ("d", TRIALS[:5])):
        np.save(tmp_path / f"{name}.npy", values)
    a, b, c, d = (str(describe(ResidualPerturbation(str(tmp_path / f"{name}.npy")))) for name in "abcd")
    assert a == b != d
    assert str(tmp_path) not in a
    assert a == c  # only the direction counts


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 12)), "values that are not finite or all zero"),
        (np.ones(12), r"have shape \(12,\)"),
        (np.full((3, 12), np.nan), "values that are not finite"),
    ],
)
def test_a_file_without_residuals_is_refused(tmp_path: Path, values: np.ndarray, words: str) -> None:
    np.save(tmp_path / "bad.npy", values)
    with pytest.raises(ReadoutError, match=words):
        ResidualPerturbation(str(tmp_path / "bad.npy"))


def test_a_missing_file_and_a_missing_layer_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"none.npy' can't be read as residuals"):
        ResidualPerturbation(str(tmp_path / "none.npy"))
    np.savez(tmp_path / "layers.npz", early=TRIALS)
    with pytest.raises(ReadoutError, match="The residuals are of layers early, and none of 'linear'"):
        steps(ResidualPerturbation(str(tmp_path / "layers.npz")), 1)
    np.save(tmp_path / "short.npy", TRIALS[:, :5])
    with pytest.raises(ReadoutError, match="Its feature has 12 dimensions, but the residuals 5"):
        steps(ResidualPerturbation(str(tmp_path / "short.npy")), 1)
