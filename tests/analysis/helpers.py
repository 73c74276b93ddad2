"""Results whose numbers are known."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from readout.analysis.outputs import Output
from readout.analysis.sizes import sizes_table
from readout.store import COLUMNS, TRAJECTORY, ResultStore

LEVELS = (0.0, 0.5)


def make_results(distances: Mapping[tuple[str, str], tuple[float, ...]], **columns: Any) -> pd.DataFrame:
    """One row a problem: by (layer, sample), d_X at each of :data:`LEVELS`; the realised d_H is the level + 0.01."""
    rows = []
    for (layer, sample), values in distances.items():
        for level, distance in zip(LEVELS, values, strict=True):
            row: dict[str, Any] = dict.fromkeys(COLUMNS, 0)
            row |= {"model": "Net", "weights": "own", "prior": "Pixels", "protocol": "paper", "setting": "one"}
            row |= {"readout": "ImageInversion", "weights_digest": "0"}
            row |= {"layer": layer, "sample": sample, "level": level, "draw": 0, "reading": 0, "signal": "input"}
            row |= {"feature_distance": level + 0.01}
            row |= {"distance": distance, "best_distance": distance / 2, "best_step": 5, "loss": 1.0, "floor": 2.0}
            row |= {"threshold": 0.1, "tolerance": 1e-4, "scale": 1.0, "metric": "correlation_distance", "steps": 10}
            judged = "recovered" if distance < 0.1 else "unrecovered" if distance >= 0.1 else "failed"
            row |= {"verdict": judged, "feature_dim": 8, "input_dim": 4}
            row |= {"trajectory_step": [0, 5, 10], "trajectory_distance": [1.0, distance / 2, distance]}
            row |= {"trajectory_loss": [3.0] * 3, "trajectory_recovered_feature_distance": [0.0] * 3, "dead": False}
            rows.append(row | columns | {"key": f"{columns.get('setting', 'one')} {layer} {sample} {level}"})
    return pd.DataFrame(rows)


def in_one_pass(results: pd.DataFrame, readout: str, **columns: Any) -> pd.DataFrame:
    """The same by a readout without prior, loss and steps."""
    without = dict.fromkeys(["prior", "protocol"]) | dict.fromkeys(["loss", "floor", "scale"], math.nan) | {"steps": 0}
    changed = results.assign(**without, readout=readout, setting=readout, **columns)
    for name in TRAJECTORY:
        changed[name] = [[] for _ in range(len(results))]
    return changed


def make_output(folder: Path, results: pd.DataFrame, images: bool = False) -> Output:
    """As a sweep would leave it; on disk only if there are to be images."""
    store = ResultStore(folder)
    if images:
        generator = torch.Generator().manual_seed(0)
        for sample in results["sample"].unique():
            store.save_input(sample, torch.rand(3, 8, 8, generator=generator))
        store.append(results, list(torch.rand(len(results), 3, 8, 8, generator=generator)))
    return Output(folder.name, store, results, sizes_table(results), {})
