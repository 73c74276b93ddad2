import numpy as np
import pandas as pd
import pytest
import torch

from readout.analysis import plots


@pytest.fixture
def results() -> pd.DataFrame:
    rows = []
    for layer, worse in (("early", 1), ("late", 2)):
        for sample in ("a", "b"):
            for level in (0.0, 0.5):
                distance = 0.1 * worse * level
                rows.append(
                    {
                        "layer": layer,
                        "sample": sample,
                        "level": level,
                        "draw": 0,
                        "reading": 0,
                        "key": f"{layer}{sample}{level}",
                        "threshold": 0.1,
                        "feature_distance": level,
                        "distance": distance,
                        "verdict": "recovered",
                        "dead": False,
                        "trajectory_step": [0, 10],
                        "trajectory_distance": [1.0, distance],
                    }
                )
    return pd.DataFrame(rows)


def test_recovery_draws_one_line_a_layer_through_the_means(results: pd.DataFrame) -> None:
    axes = plots.recovery(results)
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert np.asarray(lines["late"].get_xdata()).tolist() == [0, 0.5]
    assert np.asarray(lines["late"].get_ydata()).tolist() == pytest.approx([0, 0.1])
    assert np.asarray(lines["d_X = d_H"].get_ydata()).tolist() == [0, 1]


def test_trajectories_have_a_panel_a_layer_and_a_line_a_level(results: pd.DataFrame) -> None:
    panels = plots.trajectories(results)
    assert [panel.get_title() for panel in panels] == ["early", "late"]
    line = panels[1].get_lines()[1]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([1.0, 0.1])


def test_sizes_are_dots_with_their_median_and_bounds_are_open() -> None:
    sizes = pd.DataFrame(
        {
            "layer": ["l"] * 3,
            "sample": ["a", "b", "c"],
            "representation_size": [0.1, 0.3, 0.8],
            "flags": ["", "rests_on_not_converged", "censored"],
            "estimator": ["max"] * 3,
            "crossing": [0.2, 0.4, 0.8],
        }
    )
    axes = plots.size_by_layer(sizes)
    dots, median, crossing = axes.collections
    assert np.asarray(dots.get_offsets())[:, 1].tolist() == [0.1, 0.3, 0.8]
    assert [color[3] for color in np.asarray(dots.get_facecolor())] == [1, 0, 0]
    assert np.asarray(median.get_paths()[0].vertices)[0, 1] == pytest.approx(0.3)
    assert np.asarray(crossing.get_paths()[0].vertices)[0, 1] == pytest.approx(0.4)


def test_pictures_stand_in_a_row_a_layer_and_input_and_a_column_a_level(results: pd.DataFrame) -> None:
    inputs = {name: torch.rand(3, 4, 4) for name in "ab"}
    recovered = {key: torch.rand(3, 4, 4) for key in results["key"]}
    figure = plots.recovered_images(results, inputs, recovered)
    assert len(figure.axes) == 4 * 3
    assert sum(len(axes.images) for axes in figure.axes) == 4 * 3


@pytest.mark.parametrize("name", [r"$\frac$", "_hidden", "a_b 50%", "$x$ and $y", "<b>", "a\nb"])
def test_names_are_drawn_as_they_are(results: pd.DataFrame, name: str) -> None:
    results = results.replace({"layer": {"late": name}})
    axes = plots.recovery(results)
    axes.figure.canvas.draw()
    legend = axes.get_legend()
    assert legend is not None
    shown = legend.get_texts()[-1].get_text()
    assert shown.replace(r"\$", "$").strip() == name.replace("\n", " ")


def test_sizes_that_are_not_defined_are_left_out() -> None:
    values = [0.1, np.nan, np.nan]
    named = dict.fromkeys(("representation_size", "max", "contiguous", "crossing"), values)
    sizes = pd.DataFrame(
        {"layer": ["l", "l", "m"], "sample": ["a", "b", "a"], "flags": "", "estimator": "max", **named}
    )
    dots = plots.size_by_layer(sizes).collections
    assert [np.asarray(each.get_offsets())[:, 1].tolist() for each in dots[::3]] == [[0.1], []]
