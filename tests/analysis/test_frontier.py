import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from readout.analysis import plots
from readout.analysis.frontier import by_layer, named_sizes, with_frontier
from readout.analysis.outputs import Output
from readout.analysis.report import report
from readout.prediction.beside import write_predictions
from readout.representation import linear_size
from tests.analysis.helpers import in_one_pass, make_output, make_results

NEVER, LOST, KEPT = (0.9, 0.9), (0.0, 0.9), (0.0, 0.05)
"""Distances of size 0, 0.01, and 0.51, a lower bound."""


def three(folder: Path) -> list[Output]:
    """Two inversions and a decoder: of three inputs early, and of two of them late."""
    found = {
        ("early", "x"): (KEPT, LOST, LOST),
        ("early", "y"): (LOST, LOST, KEPT),
        ("early", "z"): (LOST, NEVER, KEPT),
    }
    found |= {("late", "x"): (NEVER, NEVER, NEVER), ("late", "y"): (NEVER, NEVER, LOST)}
    dip, pixels, decoder = ({place: sizes[by] for place, sizes in found.items()} for by in range(3))
    return [
        make_output(folder / "a", make_results(dip, prior="DeepImagePrior")),
        make_output(folder / "b", make_results(pixels)),
        make_output(folder / "c", in_one_pass(make_results(decoder), "TrainedDecoder")),
    ]


def test_the_frontier_of_an_input_is_its_largest_size_and_names_who_reached_it(tmp_path: Path) -> None:
    table = with_frontier(named_sizes(three(tmp_path)))
    early, late = table.query("layer == 'early' and sample == 'x'"), table.query("layer == 'late' and sample == 'x'")
    assert early["name"].tolist() == ["DeepImagePrior", "Pixels", "TrainedDecoder"]
    assert early["frontier"].tolist() == [0.51] * 3
    assert early["reached"].tolist() == [True, False, False]
    assert late["frontier"].tolist() == [0] * 3
    assert not late["reached"].any()  # nobody read it
    gaps = table.drop_duplicates(["layer", "sample"]).set_index(["layer", "sample"])["gap"]
    # the best inversion minus the decoder
    assert gaps.tolist() == pytest.approx([0.5, -0.5, -0.5, 0, -0.01])


def test_a_layer_is_summarised_over_its_inputs(tmp_path: Path) -> None:
    outputs = three(tmp_path)
    predicted = {"layer": "early", "sample": ["x", "y", "z"], "level": 0.5, "predicted_distance": 0.1}
    predicted |= {"predicted_size": [0.2, 0.3, 0.7], "threshold": 0.1, "weights_digest": "0"}
    write_predictions(outputs[1].store, pd.DataFrame(predicted))
    (one,) = by_layer(with_frontier(named_sizes(outputs)))
    assert (one.compete, one.readouts) == (True, ["DeepImagePrior", "Pixels", "TrainedDecoder"])
    early, late = one.layers["early"], one.layers["late"]
    assert (early.frontier.median, early.frontier.count, early.frontier.bounds) == (0.51, 3, 3)
    assert early.reached_by == {"TrainedDecoder": 2, "DeepImagePrior": 1}
    medians = {name: (size.median, size.count, size.bounds) for name, size in early.sizes.items()}
    assert medians == {"DeepImagePrior": (0.01, 3, 1), "Pixels": (0.01, 3, 0), "TrainedDecoder": (0.51, 3, 2)}
    assert early.gap.value == pytest.approx(-0.5 / 3)
    assert early.gap.count == 3
    assert early.linear == linear_size(0.1, 2)  # feature_dim 8, input_dim 4
    assert early.predicted == pytest.approx(0.3)
    assert math.isnan(late.predicted)
    assert late.frontier.median == pytest.approx(0.005)
    assert late.reached_by == {"TrainedDecoder": 1}


def test_sizes_that_are_equal_but_for_rounding_are_a_tie(tmp_path: Path) -> None:
    results = make_results({("early", "x"): KEPT})
    moved = results.assign(prior="DeepImagePrior", feature_distance=results["feature_distance"] + 1e-6)
    (one,) = by_layer(
        with_frontier(named_sizes([make_output(tmp_path / str(len(each)), each) for each in (results, moved)]))
    )
    assert one.layers["early"].reached_by == {"Pixels": 1, "DeepImagePrior": 1}


@pytest.mark.parametrize(
    ("column", "other", "title"),
    [
        ("metric", "ssim", "input, ssim < 0.1"),
        ("threshold", 0.2, "input, correlation_distance < 0.2"),
        ("weights_digest", "1", "input, correlation_distance < 0.1, own"),
        ("signal", "class", "class, correlation_distance < 0.1"),
    ],
)
def test_sizes_of_another_question_are_listed_and_do_not_compete(
    tmp_path: Path, column: str, other: object, title: str
) -> None:
    results = make_results({("early", "x"): LOST})
    outputs = [
        make_output(tmp_path / "a", results),
        make_output(tmp_path / "b", results.assign(prior="DeepImagePrior")),
        make_output(tmp_path / "c", in_one_pass(make_results({("early", "x"): KEPT}), "Other", **{column: other})),
    ]
    same, beside = by_layer(with_frontier(named_sizes(outputs)))
    assert same.compete
    assert same.layers["early"].frontier.median == 0.01
    assert same.layers["early"].gap.count == 0  # there is no amortised readout of this signal
    assert not beside.compete
    assert beside.title == title
    assert beside.layers["early"].sizes["Other"].median == 0.51


def test_inputs_that_one_readout_alone_read_do_not_count(tmp_path: Path) -> None:
    first = make_output(tmp_path / "a", make_results({("early", "x"): LOST, ("early", "y"): KEPT, ("late", "x"): KEPT}))
    second = make_output(tmp_path / "b", make_results({("early", "x"): LOST}, prior="DeepImagePrior"))
    (one,) = by_layer(with_frontier(named_sizes([first, second])))
    assert list(one.layers) == ["early"]
    assert one.layers["early"].sizes["Pixels"].median == 0.01


def test_readouts_of_one_name_go_by_their_folders(tmp_path: Path) -> None:
    results = make_results({("early", "x"): LOST})
    outputs = [make_output(tmp_path / name, results) for name in ("short", "long")]
    outputs.append(make_output(tmp_path / "c", in_one_pass(results, "TrainedDecoder")))
    assert named_sizes(outputs)["name"].tolist() == ["short", "long", "TrainedDecoder"]


def by_direction(folder: Path) -> list[Output]:
    """A decoder in two directions and an inversion in one of them."""
    found = []
    for name, moved_by, late in (("a", "Gaussian", KEPT), ("b", "Tangent", LOST)):
        results = in_one_pass(make_results({("early", "x"): KEPT, ("late", "x"): late, ("late", "y"): NEVER}), "Linear")
        found.append((name, f"{moved_by}Perturbation", results))
    found.append(("c", "TangentPerturbation", make_results({("late", "x"): NEVER})))
    outputs = []
    for name, moved_by, results in found:
        outputs.append(make_output(folder / name, results, images=True))
        setting = f"settings/{results['setting'].iloc[0]}.yaml"
        outputs[-1].store.write_text(setting, f"moved_by: {{class: {moved_by}}}\n")
    return outputs


def test_sizes_by_direction_have_a_panel_per_layer_and_a_dot_per_readout(tmp_path: Path) -> None:
    sizes = named_sizes(by_direction(tmp_path))
    # readouts of one name in different directions do not go by their folders
    assert sizes["name"].tolist() == ["Linear"] * 6 + ["Pixels"]
    early, late = plots.size_by_direction(sizes)
    assert [early.get_title(), late.get_title()] == ["early", "late"]
    assert [tick.get_text() for tick in early.get_yticklabels()] == ["Gaussian", "tangent"]
    dots = {str(dots.get_label()): np.asarray(dots.get_offsets()).round(3).tolist() for dots in late.collections[1::2]}
    # medians of x and y, above their direction for the first readout and below it for the second
    assert dots == {"Linear": [[0.255, -0.125], [0.005, 0.875]], "Pixels": [[0, 1.125]]}


def test_the_page_shows_directions_for_all_inputs_and_single_ones(tmp_path: Path) -> None:
    outputs = by_direction(tmp_path)
    page = report([output.store.folder for output in outputs]).read_text()
    shown = page[page.index("Sizes by direction") :]
    assert "<figcaption>all 2 inputs</figcaption>" in shown
    assert [f"<summary>{name}</summary>" in shown for name in ("x", "y")] == [True, True]
    same = report([outputs[1].store.folder, outputs[2].store.folder], tmp_path / "same.html").read_text()
    assert "Sizes by direction" not in same


def test_the_figure_has_a_line_per_readout_over_the_frontier(tmp_path: Path) -> None:
    axes = plots.frontier(by_layer(with_frontier(named_sizes(three(tmp_path)))))
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()}
    assert lines == {
        "frontier": pytest.approx([0.51, 0.005]),
        "linear network": [linear_size(0.1, 2)] * 2,
        "DeepImagePrior": [0.01, 0],
        "Pixels": [0.01, 0],
        "TrainedDecoder": pytest.approx([0.51, 0.005]),
    }
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["early", "late"]
