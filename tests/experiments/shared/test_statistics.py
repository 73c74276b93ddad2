import numpy as np
import pytest
from scipy.stats import norm

from experiments.shared.statistics import auc_gain, group_difference, holm, rank_correlation


def test_two_groups_apart_have_the_exact_p_of_their_ranks() -> None:
    found = group_difference([4, 5, 6], [1, 2, 3])
    assert found.auc.value == 1
    assert found.rank_biserial == 1
    assert found.p == pytest.approx(2 / 20)  # 2 of the 20 ways to choose 3 of 6 ranks
    assert found.medians == (5, 2)
    assert group_difference([1, 2, 3], [4, 5, 6]).auc.value == 0


def test_ties_count_half() -> None:
    assert group_difference([1, 2], [1, 2]).auc.value == 0.5
    assert group_difference([2, 2], [1, 2]).auc.value == 0.75


def test_the_auc_of_two_normals_is_met_by_its_interval() -> None:
    rng = np.random.default_rng(3)
    truth = norm.cdf(1 / np.sqrt(2))
    found = [group_difference(rng.normal(1, 1, 40), rng.normal(0, 1, 40), seed=trial) for trial in range(60)]
    covered = np.mean([trial.auc.low <= truth <= trial.auc.high for trial in found])
    assert 0.85 <= covered <= 1


def test_the_better_of_two_scores_of_the_same_samples() -> None:
    good = ([3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 1, 2])
    bad = ([3, 0, 5, 1, 7, 2], [0, 1, 6, 3, 1, 9])
    gain = auc_gain(good, bad)
    expected = group_difference(*good).auc.value - group_difference(*bad).auc.value
    assert gain.value == pytest.approx(expected)
    assert gain.low < gain.value < gain.high
    none = auc_gain(good, good)
    assert (none.value, none.low, none.high) == (0, 0, 0)


def test_rank_correlation_of_known_order() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]).rho.value == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).rho.value == pytest.approx(0.8)  # 1 − 6·4 / (5·24)
    assert np.isnan(rank_correlation([1, 2, 3], [1, 1, 1]).rho.value)


def test_repeated_pairs_of_a_sample_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    once = rank_correlation(x, y)
    thrice = rank_correlation(np.tile(x, 3), np.tile(y, 3), clusters=list(range(12)) * 3)
    pretended = rank_correlation(np.tile(x, 3), np.tile(y, 3))
    assert thrice.rho.count == 12
    assert np.isnan(thrice.p)
    width = thrice.rho.high - thrice.rho.low
    assert width == pytest.approx(once.rho.high - once.rho.low, rel=0.15)
    assert pretended.rho.high - pretended.rho.low < 0.8 * width


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.02, 0.03 times 3, 2, 1, never falling
    assert holm([0.02, 0.01, 0.03]).tolist() == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]).tolist() == pytest.approx([1, 1])
    with_nan = holm([0.01, np.nan, 0.04])
    assert with_nan[[0, 2]].tolist() == pytest.approx([0.02, 0.04])
    assert np.isnan(with_nan[1])
