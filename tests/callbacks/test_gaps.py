"""Curves and panels of a search, which inverts different inputs at different levels."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import CSVLogger

from readout.callbacks import LayerResults, OpenRun, RecoveryCurve
from readout.callbacks.logbook import Entry
from readout.callbacks.reconstructions import caption, panel

SHADES = {"a": 0.2, "b": 0.4}


def results(levels: dict[str, list[float]], *runs: OpenRun) -> LayerResults:
    """Two grey images, recovered exactly at the given levels."""
    rows = [
        {
            "sample": sample,
            "level": level,
            "draw": 0,
            "reading": 0,
            "key": f"{sample} {level}",
            "dead": False,
            "trajectory_step": [0, 5],
            "trajectory_distance": [1.0, level],
            "trajectory_recovered_feature_distance": [1.0, level],
            "trajectory_loss": [1.0, level],
        }
        for sample in SHADES
        for level in levels[sample]
    ]
    inputs = {sample: torch.full((3, 2, 2), shade) for sample, shade in SHADES.items()}
    recovered = {str(row["key"]): inputs[str(row["sample"])] for row in rows}
    return LayerResults("layer", pd.DataFrame(rows), pd.DataFrame(), inputs, recovered, runs)


def test_curves_are_those_of_levels_that_every_input_was_inverted_at_each_once(tmp_path: Path) -> None:
    logger, entry = CSVLogger(str(tmp_path)), Entry()
    for levels in ({"a": [0, 0.8], "b": [0, 0.4]}, {"a": [0, 0.8], "b": [0, 0.4, 0.6, 0.8]}):
        RecoveryCurve().on_layer_end(results(levels, OpenRun(logger, entry)))
    logger.save()
    table = pd.read_csv(Path(logger.log_dir) / "metrics.csv")
    assert {name for name in map(str, table) if name.startswith("recovery/distance/")} == {
        "recovery/distance/level=0",
        "recovery/distance/level=0.8",
    }
    for level in (0, 0.8):
        assert table[f"recovery/distance/level={level}"].dropna().tolist() == [1, level]


def test_a_panel_has_a_white_tile_and_a_word_where_its_input_was_not_inverted() -> None:
    found = results({"a": [0, 0.8], "b": [0, 0.4]})
    grey = [round(255 * shade) for shade in SHADES.values()]
    assert panel(found, "a")[0, ::2, 0].tolist() == [grey[0], grey[0], 255, grey[0]]
    assert panel(found, "b")[0, ::2, 0].tolist() == [grey[1], grey[1], grey[1], 255]
    assert panel(found, "a").dtype == np.uint8
    assert caption(found, "a") == "a: true, then levels 0, 0.4, 0.8; white, not inverted: 0.4"
    assert caption(results({"a": [0, 0.8], "b": [0, 0.8]}), "a") == "a: true, then levels 0, 0.8"
