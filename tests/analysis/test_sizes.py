import io
import math

import pandas as pd
import pytest
from rich.console import Console

from readout.analysis.sizes import at_common_levels, print_sizes, sizes_table
from readout.analysis.words import summary
from readout.representation import Estimator


def results() -> pd.DataFrame:
    """Two layers of one sample: one recovered up to 0.5, one that never converged."""
    shared: dict[str, object] = {
        "model": "m",
        "weights": "w",
        "readout": "r",
        "prior": "p",
        "protocol": "paper",
        "setting": "s",
        "sample": "x",
    }
    shared |= {"weights_digest": "0", "feature_dim": 8, "input_dim": 4, "metric": "d", "threshold": 0.1, "draw": 0}
    rows = [
        ("deep", 0.0, 0.0, 0.30, "not_converged"),
        ("deep", 0.5, 0.49, 0.50, "unrecovered"),
        ("early", 0.0, 0.0, 0.01, "recovered"),
        ("early", 0.5, 0.51, 0.06, "recovered"),
        ("early", 0.9, 0.91, 0.60, "unrecovered"),
    ]
    names = ["layer", "level", "feature_distance", "distance", "verdict"]
    return pd.DataFrame([shared | dict(zip(names, row, strict=True)) for row in rows])


def test_one_row_a_layer_and_sample_in_the_order_of_the_results() -> None:
    sizes = sizes_table(results())
    assert sizes["layer"].tolist() == ["deep", "early"]
    assert sizes["representation_size"].tolist() == [0, 0.51]
    assert sizes["flags"].tolist() == ["rests_on_not_converged;never_recovered", ""]


def test_readouts_without_a_prior_or_a_protocol_have_sizes_of_their_own() -> None:
    decoded = results().assign(readout="TrainedDecoder", prior=None, protocol=None)
    sizes = sizes_table(pd.concat([results(), decoded, decoded.assign(readout="LinearDecoder")]))
    assert sizes["readout"].tolist() == ["r"] * 2 + ["TrainedDecoder"] * 2 + ["LinearDecoder"] * 2
    assert sizes["representation_size"].tolist() == [0, 0.51] * 3
    assert sizes["protocol"].isna().tolist() == [False] * 2 + [True] * 4


def test_a_size_names_its_signal() -> None:
    words = results().assign(setting="words", signal="class")
    sizes = sizes_table(pd.concat([words, results().assign(signal="input")]))  # as from one folder
    assert sizes.groupby("setting")["signal"].unique().map(list).to_dict() == {"words": ["class"], "s": ["input"]}
    assert (sizes_table(results())["signal"] == "input").all()  # in tables of older versions


def test_every_estimator_has_its_column_and_one_is_chosen() -> None:
    sizes = sizes_table(results(), Estimator.CROSSING)
    early = sizes.to_dict("records")[1]
    expected = 0.51 + (0.1 - 0.06) / (0.60 - 0.06) * (0.91 - 0.51)
    assert early["crossing"] == pytest.approx(expected)
    assert early["representation_size"] == early["crossing"]
    assert early["max"] == early["contiguous"] == 0.51
    assert (sizes["estimator"] == "crossing").all()


def test_the_printed_table_tells_sizes_distances_verdicts_and_flags() -> None:
    console = Console(file=io.StringIO(), width=120)
    print_sizes(sizes_table(results()), results(), console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()}
    # sizes by max and crossing, range, mean d_X by level; then 2 recovered, 1 unrecovered, in the order of the verdicts
    assert lines["layer"] == ["max", "ing", "range", "c=0", "c=0.5", "c=0.9", "ered", "verged", "ered"]
    assert lines["early"] == ["0.51", "0.54", "0.51–0.51", "0.010", "0.060", "0.600", "2", "0", "1"]
    assert lines["deep"] == ["0.00*", "0.00", "0.00–0.00", "0.300", "0.500", "–", "0", "1", "1"]
    assert "rests_on_not_converged (1 of 2 sizes, at deep)" in printed


def test_a_size_near_the_threshold_is_marked_and_crossing_stands_beside_it() -> None:
    table = results().query("layer == 'early'").assign(distance=[0.01, 0.095, 0.60])
    sizes = sizes_table(table)
    assert sizes["margin"].tolist() == pytest.approx([0.05])
    assert sizes["flags"].tolist() == ["near_threshold"]
    assert summary(table, sizes)[-1].startswith("1 of 1 sizes depend on a distance near the threshold")
    console = Console(file=io.StringIO(), width=80)
    print_sizes(sizes, table, console)
    assert isinstance(console.file, io.StringIO)
    assert "0.51*   0.51" in console.file.getvalue()
    assert "* near_threshold (1 of 1 sizes): rounding may move a deciding d_X" in console.file.getvalue()
    assert sizes_table(table.assign(prior="Pixels"))["flags"].tolist() == [""]  # rounding hardly moves these
    assert math.isnan(sizes_table(table, Estimator.CROSSING)["margin"].iloc[0])


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_of_the_printed_table_is_cut_however_many_levels_there_are(width: int) -> None:
    levels = [place / 20 for place in range(20)]
    table = pd.concat([results().iloc[:1].assign(level=level) for level in levels])
    console = Console(file=io.StringIO(), width=width)
    print_sizes(sizes_table(table), table, console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "…" not in printed
    assert "c=0 " in printed
    assert "c=0.95" in printed
    assert "of 20 levels, as many as fit here" in printed


def test_means_leave_out_levels_that_not_every_input_was_inverted_at() -> None:
    table = pd.DataFrame({"sample": ["a", "a", "b", "b", "b"], "level": [0.0, 0.5, 0.0, 0.3, 0.5]})
    assert at_common_levels(table)["level"].tolist() == [0.0, 0.5, 0.0, 0.5]
