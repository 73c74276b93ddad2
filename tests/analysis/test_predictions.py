import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from readout.analysis.predictions import draw_prediction


def predictions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "layer": ["early"] * 4 + ["late"] * 4,
            "level": [0.3, 0.6] * 4,
            "predicted_distance": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.5, 0.6],
        }
    )


def test_a_layer_takes_the_colour_it_has_and_means_are_drawn() -> None:
    axes = Figure().subplots()
    axes.plot([0, 1], [0, 1], color="#123456", label="early")
    _, early, late = draw_prediction(predictions(), axes).get_lines()
    assert early.get_color() == "#123456"
    assert np.asarray(early.get_xdata()).tolist() == [0.3, 0.6]
    assert np.asarray(early.get_ydata()).tolist() == pytest.approx([0.2, 0.3])
    assert np.asarray(late.get_ydata()).tolist() == pytest.approx([0.5, 0.6])
    assert early.get_linestyle() == late.get_linestyle() == "--"
    assert axes.get_legend_handles_labels()[1] == ["early", "late, predicted"]
