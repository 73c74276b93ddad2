"""Runs of the paper's protocol, the reference for faster ones; they take hours, and resume."""

from pathlib import Path

import pandas as pd

from benchmarks.command import fit
from benchmarks.options import Options
from benchmarks.table import Table
from readout import load_results

LAYERS = ("conv1_2", "conv2_1", "conv3_1")
IMAGES = ("astronaut", "coffee")
LEVELS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""In trials, every input was recovered below these levels and none above."""

PAPER = ("--model.optimizer.lr", "1e-4", "--trainer.max_steps", "10000", "--model.record_every", "25")
"""Changes to vgg_dip.yaml: the paper's optimiser and steps, at 64 pixels with a U-Net of four scales."""


def run(options: Options) -> Table:
    """Invert what is missing, one layer and image at a time, so that an interruption loses little."""
    folder = Path(options.reference)
    for image in IMAGES:
        for layer in LAYERS:
            fit(folder / f"{layer}-{image}", layer, [image], LEVELS, *PAPER)
    table = Table("The paper's protocol, 64 pixels: d_X at its end, and its best")
    for row in load(folder).to_dict("records"):
        table.add(
            **{column: row[column] for column in ("layer", "sample", "level", "verdict")},
            **{"end": row["distance"], "best": row["best_distance"], "best at step": row["best_step"]},
        )
    return table


def load(folder: Path) -> pd.DataFrame:
    """Load the results so far, trajectories included; empty if there are none."""
    found = [load_results(path.parent, trajectories=True) for path in sorted(folder.glob("*/sizes.csv"))]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
