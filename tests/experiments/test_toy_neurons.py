from pathlib import Path

import numpy as np
import pytest

from experiments.shared.toy_theory import Population, predicted_size, recovered_share
from experiments.toy_neurons import SCALES, levels, main, measure, recovery
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_ends_in_sizes_beside_theory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run(main, tmp_path)
    means = sizes.groupby(["varied", "neurons", "width", "noise"])[["size", "theory"]].mean()
    assert len(means) == 6
    # nothing is fitted; four inputs of twenty draws each
    assert (means["size"] - means["theory"]).abs().max() < 0.1
    assert means.loc["neurons"]["size"].is_monotonic_increasing
    assert means.loc["noise"]["size"].is_monotonic_decreasing
    run_again(main, tmp_path, sizes, monkeypatch)


def test_without_noise_every_input_is_read_back() -> None:
    shares = recovery(Population(), SCALES["smoke"])
    assert (shares.loc[shares["level"] == 0, ["share", "theory"]] == 1).all(axis=None)
    assert levels(SCALES["smoke"])[0] == 0


def test_theory_of_small_noise_is_the_local_one() -> None:
    # ‖f'‖² = N √π / (2 w), var = w √π − 2 π w² for narrow tuning: by hand for N = 1000, w = 0.05
    population = Population(neurons=1000, width=0.05, threshold=0.001)
    variance = 0.05 * np.sqrt(np.pi) - 2 * np.pi * 0.05**2
    slope = 1000 * np.sqrt(np.pi) / (2 * 0.05)
    noise = 0.001 * np.sqrt(slope) / 0.67449  # half of a normal lies within this many deviations
    assert predicted_size(population) == pytest.approx(1 - 1 / np.sqrt(1 + noise**2 / variance), abs=2e-3)


def test_neurons_too_noisy_to_tell_have_no_size() -> None:
    population = Population(noise=20)
    assert recovered_share(population, 0) < 0.5
    assert predicted_size(population) == 0
    assert measure(population, SCALES["smoke"])["size"].max() < 0.2
