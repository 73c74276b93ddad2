from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes

import readout
from readout.common.errors import ReadoutError
from readout.priors import Pixels
from tests.helpers import CPU
from tests.tiny import TinyNet

mpl.use("agg")


@pytest.fixture(scope="module")
def measured() -> readout.Measurement:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return readout.measure(
        TinyNet(), images, ["early", "late"], [0, 0.5], steps=5, prior=Pixels(), trainer=CPU, progress=False
    )


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def test_axes_belong_to_figures_that_notebooks_show(measured: readout.Measurement) -> None:
    import matplotlib.pyplot as plt

    for draw in (readout.plot.recovery, readout.plot.size_by_layer):
        for table in (measured, measured.problems):
            axes = draw(table)
            assert isinstance(axes, Axes)
            assert axes.get_figure() is plt.gcf()
    panels = readout.plot.trajectories(measured)
    assert [panel.get_title() for panel in panels] == ["early", "late"]
    pictures = readout.plot.recovered_images(measured)
    assert len(pictures) == 2 * 2 * 3
    assert len(readout.plot.recovered_images(measured, ["image_001"])) == 2 * 3


def test_the_frontier_of_several_readouts(measured: readout.Measurement) -> None:
    import matplotlib.pyplot as plt

    worse = measured.sizes.assign(representation_size=0.0)
    axes = readout.plot.frontier({"five steps": measured, "none": worse})
    assert axes.get_figure() is plt.gcf()
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert set(lines) == {"frontier", "linear network", "five steps", "none"}
    medians = measured.sizes.groupby("layer", sort=False)["representation_size"].median()
    assert np.asarray(lines["frontier"].get_ydata()).tolist() == medians.tolist()


def test_given_axes_are_drawn_on(measured: readout.Measurement) -> None:
    import matplotlib.pyplot as plt

    _, axes = plt.subplots()
    assert readout.plot.size_by_layer(measured.sizes, axes) is axes
    assert axes.collections


def test_what_cannot_be_drawn(measured: readout.Measurement) -> None:
    with pytest.raises(ReadoutError, match="trajectories=True"):
        readout.plot.trajectories(measured.problems.drop(columns="trajectory_step"))
    with pytest.raises(ReadoutError, match="in one pass has no trajectories"):
        readout.plot.trajectories(measured.problems.assign(trajectory_step=pd.Series([[]] * len(measured.problems))))
    elsewhere = measured.problems.assign(layer="elsewhere")
    apart: list[dict[str, readout.Measurement | pd.DataFrame]]
    apart = [{}, {"one": measured}, {"here": measured, "there": elsewhere}]
    for results in apart:
        with pytest.raises(ReadoutError, match="No two of these readouts read the same signal"):
            readout.plot.frontier(results)
    with pytest.raises(ReadoutError, match="there are image_000, image_001"):
        readout.plot.recovered_images(measured, ["nobody"])
