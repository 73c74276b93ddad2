"""Sizes under other metrics, and thresholds placed by the distances between unrelated images.

    python -m experiments.metric --scale cpu --sweeps runs/experiments/vision_recovery-cpu

scores the images that vision_recovery reads with a Deep Image Prior by correlation, SSIM and root mean square error,
and by LPIPS and DISTS if their weights are on this machine (``paper`` fetches them). The thresholds are the paper's,
one below which a set share of unrelated pairs lies, and one that as many inversions pass as the paper's. ``--sweeps``
takes the inversions from vision_recovery. Run again to resume.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.models import AlexNet_Weights, VGG16_Weights

from experiments import vision_recovery
from experiments.shared.crops import random_crops
from experiments.shared.curves import crossings
from experiments.shared.harness import Experiment, begin, style
from experiments.summaries.metric import conclude, draw
from readout.data import load_samples
from readout.extractors import VGG19
from readout.metrics import DISTS, LPIPS, PSNR, SSIM, correlation_distance
from readout.problems.identity import derive_seed

Distance = Callable[[Tensor, Tensor], Tensor]
BACKBONES = {"lpips": AlexNet_Weights.DEFAULT, "dists": VGG16_Weights.DEFAULT}
"""Learned metric → weights it needs."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    inversions: vision_recovery.Scale
    crops: int
    """Crops per image, for distances between unrelated images."""
    passing: float = 0.01
    """Share of unrelated pairs below the threshold derived from them."""
    fetch: bool = False
    """Whether to fetch weights of learned metrics."""


def _inversions(name: str) -> vision_recovery.Scale:
    base = vision_recovery.SCALES[name]
    return replace(base, readouts={"dip": base.readouts["dip"]})


SCALES = {
    "smoke": Scale(_inversions("smoke"), crops=4),
    "cpu": Scale(_inversions("cpu"), crops=8),
    "paper": Scale(_inversions("paper"), crops=2, fetch=True),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Score images, derive thresholds, and write tables, figure and sentences."""
    experiment = begin("metric", __doc__, SCALES, arguments)
    scale = experiment.scale
    images = {
        name: sample.input for name, sample in load_samples(scale.inversions.data(experiment), VGG19(None)).items()
    }
    distances, missing = find_distances(scale.fetch)
    points = measure(experiment, images, distances)
    null = unrelated(images, scale.crops, distances)
    thresholds = place(points, null, scale)
    sizes = find_sizes(points, thresholds)
    for name, table in (("null", null), ("thresholds", thresholds), ("sizes", sizes)):
        experiment.store.write_text(f"{name}.csv", table.to_csv(index=False))
    with style():
        figure = draw(points, null, thresholds, sizes)
    experiment.finish(points, figure, *conclude(null, thresholds, sizes, missing, scale.passing))


def find_distances(fetch: bool) -> tuple[dict[str, Distance], list[str]]:
    """Return distances by name, and the names of learned ones without weights here."""
    found: dict[str, Distance] = {"correlation": correlation_distance, "ssim": _one_minus_ssim, "rmse": _rmse}
    missing = [name for name in BACKBONES if not fetch and not is_at_hand(name)]
    for name, metric in (("lpips", LPIPS), ("dists", DISTS)):
        if name not in missing:
            found[name] = metric().per_sample
    return found, missing


def is_at_hand(name: str) -> bool:
    """Return whether the weights of a learned metric are in torch's cache on this machine."""
    file = str(BACKBONES[name].url).rpartition("/")[2]
    return (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file()


def measure(
    experiment: Experiment[Scale], images: Mapping[str, Tensor], distances: Mapping[str, Distance]
) -> pd.DataFrame:
    """Return one row per problem, with its distance under every metric."""
    (results,) = vision_recovery.measure(replace(experiment, scale=experiment.scale.inversions))  # type: ignore[arg-type]
    recovered = experiment.sweep_store("dip").load_recovered(results["key"])
    pairs = [(recovered[key], images[sample]) for key, sample in zip(results["key"], results["sample"], strict=True)]
    columns = ["layer", "sample", "level", "draw", "feature_distance", "threshold"]
    return results[columns].assign(**_score(pairs, distances))


def unrelated(images: Mapping[str, Tensor], crops: int, distances: Mapping[str, Distance]) -> pd.DataFrame:
    """Return distances between images and crops from different sources, one row per pair."""
    sources = {
        name: [image, *random_crops(image, crops, seed=derive_seed("null", name))] for name, image in images.items()
    }
    names, pairs = [], []
    for first, second in combinations(sources, 2):
        for a in sources[first]:
            pairs += [(a, b) for b in sources[second]]
            names += [(first, second)] * len(sources[second])
    return pd.DataFrame(names, columns=["first", "second"]).assign(**_score(pairs, distances))


def place(points: pd.DataFrame, null: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """Derive thresholds from the null distribution and by matching the paper's, one row per metric.

    As many inversions pass ``matched`` as pass the correlation distance at the paper's threshold;
    ``null_below_matched`` is the share of unrelated pairs below it.
    """
    paper = scale.inversions.threshold
    share = float((points["correlation"] < paper).mean())
    rows = []
    for metric in null.columns[2:]:
        matched = paper if metric == "correlation" else float(np.quantile(points[metric], share))
        rows.append(
            {
                "metric": metric,
                "null": float(np.quantile(null[metric], scale.passing)),
                "matched": matched,
                "null_below_matched": float((null[metric] < matched).mean()),
            }
        )
    return pd.DataFrame(rows)


def find_sizes(points: pd.DataFrame, thresholds: pd.DataFrame) -> pd.DataFrame:
    """Return sizes with one row per (metric, kind of threshold, layer, sample)."""
    tables = [
        crossings(points, [row["metric"]], row[placed], ["layer", "sample"])
        .rename(columns={row["metric"]: "size"})
        .assign(metric=row["metric"], placed=placed)
        for _, row in thresholds.iterrows()
        for placed in ("null", "matched")
    ]
    return pd.concat(tables, ignore_index=True)


def _score(pairs: Sequence[tuple[Tensor, Tensor]], distances: Mapping[str, Distance]) -> dict[str, list[float]]:
    """Compute all distances of all pairs, in batches."""
    scores: dict[str, list[float]] = {name: [] for name in distances}
    with torch.no_grad():
        for start in range(0, len(pairs), 64):
            first, second = (torch.stack(side) for side in zip(*pairs[start : start + 64], strict=True))
            for name, distance in distances.items():
                scores[name] += distance(first, second).tolist()
    return scores


def _one_minus_ssim(first: Tensor, second: Tensor) -> Tensor:
    return 1 - SSIM().per_sample(first, second)


def _rmse(first: Tensor, second: Tensor) -> Tensor:
    rmse: Tensor = 10 ** (-PSNR().per_sample(first, second) / 20)
    return rmse


if __name__ == "__main__":
    main()
