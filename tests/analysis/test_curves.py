import numpy as np
import pandas as pd
import pytest

from readout.analysis.curves import mean_trajectory, recovery_curves
from tests.analysis.helpers import make_results


def test_a_curve_is_the_mean_over_samples_with_an_interval_around_it() -> None:
    table = make_results({("early", name): (0.02 * place, 0.3) for place, name in enumerate("abcde")})
    clean, moved = recovery_curves(table).to_dict("records")
    assert (clean["layer"], clean["level"], clean["samples"]) == ("early", 0, 5)
    assert clean["feature_distance"] == pytest.approx(0.01)
    assert clean["distance"] == pytest.approx(0.04)
    assert 0 <= clean["low"] < 0.04 < clean["high"] <= 0.08
    # nothing varies, so nothing is uncertain
    assert (moved["low"], moved["distance"], moved["high"]) == pytest.approx((0.3, 0.3, 0.3))


def test_draws_are_no_samples() -> None:
    one = make_results({("early", "a"): (0.02, 0.3)})
    table = pd.concat([one, one.assign(draw=1, distance=one["distance"] + 0.2)])
    clean = recovery_curves(table).to_dict("records")[0]
    assert clean["samples"] == 1
    assert clean["distance"] == pytest.approx(0.12)
    assert np.isnan([clean["low"], clean["high"]]).all()


def test_a_level_that_not_every_sample_was_inverted_at_has_no_point() -> None:
    table = make_results({("early", "a"): (0.0, 0.2), ("early", "b"): (0.0, 0.2)})
    assert recovery_curves(table.iloc[:-1])["level"].tolist() == [0.0]


def test_trajectories_are_averaged_step_by_step() -> None:
    table = make_results({("early", "a"): (0.0, 0.2), ("early", "b"): (0.0, 0.4)})
    mean = mean_trajectory(table[table["level"] == 0.5])
    assert mean.to_dict() == pytest.approx({0: 1.0, 5: 0.15, 10: 0.3})


def test_who_has_arrived_counts_with_what_it_arrived_at_and_who_died_as_long_as_it_lived() -> None:
    table = make_results({("early", name): (0.0, 0.2) for name in "abc"})
    table = table[table["level"] == 0.5].assign(dead=[False, False, True])
    table["trajectory_step"] = [[0, 10, 13], [0, 10, 20, 27], [0, 10]]
    table["trajectory_distance"] = [[1.0, 0.5, 0.2], [1.0, 0.8, 0.6, 0.4], [1.0, 0.8]]
    # 13 is when one arrived, and no step that was recorded
    assert mean_trajectory(table).to_dict() == pytest.approx({0: 1.0, 10: 0.7, 20: 0.4, 27: 0.3})
