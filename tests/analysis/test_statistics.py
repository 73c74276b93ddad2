from itertools import product

import numpy as np
import pandas as pd
import pytest

from readout.analysis.statistics import (
    NORMAL_FROM,
    bootstrap_groups,
    bootstrap_interval,
    by_sample,
    paired_difference,
)


def test_draws_are_averaged_within_their_sample() -> None:
    table = pd.DataFrame(
        {"layer": ["a"] * 4, "sample": ["x", "x", "y", "y"], "draw": [0, 1, 0, 1], "size": [0.2, 0.4, 0.5, 0.9]}
    )
    reduced = by_sample(table, "size")
    assert reduced["sample"].tolist() == ["x", "y"]
    assert reduced["size"].tolist() == pytest.approx([0.3, 0.7])


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.normal(1, 2, 30), seed=trial) for trial in range(200)]
    covered = np.mean([interval.low <= 1 <= interval.high for interval in intervals])
    # 200 trials at 95 %: a standard error of 1.5 points; a bootstrap of 30 is a little narrow
    assert 0.88 <= covered <= 0.99
    assert {interval.method for interval in intervals} == {"BCa"}
    width = np.mean([interval.high - interval.low for interval in intervals])
    assert width == pytest.approx(2 * 1.96 * 2 / np.sqrt(30), rel=0.1)


def test_an_interval_without_bca_says_so() -> None:
    constant = bootstrap_interval([0.5] * 6)
    assert (constant.value, constant.low, constant.high, constant.method) == (0.5, 0.5, 0.5, "percentile")
    alone = bootstrap_interval([0.5])
    assert alone.method == "none"
    assert np.isnan([alone.low, alone.high]).all()
    assert str(alone) == "0.50 (no interval)"


def test_the_mean_of_many_has_the_normal_interval_which_is_nearly_the_bootstrap_one() -> None:
    values = np.random.default_rng(0).uniform(size=NORMAL_FROM)
    normal, resampled = bootstrap_interval(values), bootstrap_groups((values,), np.mean, 0.95, seed=0)
    assert (normal.method, resampled.method) == ("normal", "BCa")
    assert normal.value == resampled.value
    reach = 1.96 * values.std() / np.sqrt(len(values))
    assert [normal.low, normal.high] == pytest.approx([normal.value - reach, normal.value + reach], rel=1e-3)
    assert [normal.low, normal.high] == pytest.approx([resampled.low, resampled.high], abs=0.1 * reach)
    assert bootstrap_interval(values, np.median).method == "BCa"


def test_pairs_have_the_exact_p_of_their_signs() -> None:
    first, second = np.array([3.0, 5.0, 9.0, 2.0]), np.array([1.0, 4.0, 4.0, 2.5])
    found = paired_difference(first, second)
    differences = first - second
    means = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=4)]
    assert found.p == pytest.approx(np.mean(np.array(means) >= abs(differences.sum()) - 1e-12))
    assert found.mean.value == pytest.approx(differences.mean())
    assert found.share_positive == 0.75
    assert paired_difference([1], [0]).p == 1
