"""An output folder of a sweep without its inversions: as many results as wanted, in seconds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from readout.analysis.gallery import shown_samples
from readout.problems import Problem, Setting
from readout.problems.design import FILE, Design
from readout.problems.problem import cross
from readout.store import ResultStore, judge

LAYERS = tuple(f"conv{depth:02d}" for depth in range(1, 17))
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
SETTING = Setting("network", "readout", "perturbation", steps=1, precision="32-true")
RECORDS = 16
"""Recorded steps per trajectory."""


def samples(inputs: int) -> list[str]:
    """Return names of inputs."""
    return [f"image_{place:05d}" for place in range(inputs)]


def problems(inputs: int) -> Iterator[list[Problem]]:
    """Yield the problems of each layer."""
    digests = [(name, f"{place:032x}") for place, name in enumerate(samples(inputs))]
    for layer in LAYERS:
        yield cross(SETTING.digest, digests, layer, LEVELS, draws=1, seed=0)


def write_folder(folder: Path, inputs: int) -> None:
    """Write results of all :data:`LAYERS` and :data:`LEVELS`, one part per layer, as a finished sweep leaves them."""
    store, generator = ResultStore(folder), torch.Generator().manual_seed(0)
    names = samples(inputs)
    store.write_text(FILE, Design(SETTING.digest, 0, "grid", LAYERS, names, LEVELS, draws=1).to_json())
    for name in names:
        store.save_input(name, torch.rand(3, 8, 8, generator=generator))
    pictured = shown_samples(names, len(LAYERS), len(LEVELS))
    for depth, of_layer in enumerate(problems(inputs)):
        recovered = torch.rand(len(of_layer), 3, 8, 8, generator=generator)
        store.append(results(of_layer, depth), recovered, pictured)


def results(problems: list[Problem], depth: int) -> pd.DataFrame:
    """Return made-up results of the problems of a layer: d_X grows with the level, at a pace of each input's own."""
    random = np.random.default_rng(depth)
    sample, place = np.unique([problem.sample for problem in problems], return_inverse=True)
    level = np.array([problem.level for problem in problems])
    distance = level**2 * random.uniform(0.05, 0.9, len(sample))[place] + random.uniform(0, 0.03, len(level))
    steps = list(range(0, 10 * RECORDS, 10))
    table = pd.DataFrame(
        {
            "model": "Net",
            "weights": "own",
            "weights_digest": "0",
            "readout": "ImageInversion",
            "prior": "DeepImagePrior",
            "protocol": "paper",
            "layer": LAYERS[depth],
            "layer_index": depth,
            "feature_dim": 4096,
            "input_dim": 192,
            "sample": sample[place],
            "label": None,
            "level": level,
            "draw": 0,
            "reading": 0,
            "seed": 0,
            "signal": "input",
            "metric": "correlation_distance",
            "distance": distance,
            "spread": np.nan,
            "best_distance": distance / 2,
            "best_step": steps[-2],
            "feature_distance": level + random.normal(0, 0.002, len(level)) * (level > 0),
            "recovered_feature_distance": level,
            "loss": random.uniform(0, 1.1, len(level)),
            "floor": 1.0,
            "scale": 1.0,
            "dead": False,
            "tolerance": 1e-4,
            "steps": steps[-1],
            "restarts": 0,
            "seconds": 1.0,
            "setting": SETTING.digest,
            "key": [problem.key for problem in problems],
            "trajectory_step": [steps] * len(level),
        }
    )
    for column in ("trajectory_loss", "trajectory_distance", "trajectory_recovered_feature_distance"):
        table[column] = list(random.random((len(level), RECORDS)))
    return judge(table, 0.1)
