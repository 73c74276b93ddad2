"""Can a recovery curve and its size be predicted from the network's Jacobian, without an inversion?

    python -m experiments.prediction --scale cpu

measures curves with a Deep Image Prior and with pixels, predicts both, and asks where predictions fail: the decoder
that is predicted is also run on the network as it is, so that linearity is all that differs. Run again to resume.
"""

import argparse
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.style import context
from scipy.stats import DegenerateDataWarning, bootstrap, spearmanr
from torch import Tensor
from torch.optim import AdamW

from readout import load_results
from readout.analysis.plots import STYLE
from readout.data import InputData, Photographs, load_samples
from readout.extractors import VGG19, FeatureExtractor
from readout.inversions import ImageInversion
from readout.metrics import correlation_distance
from readout.perturbations import GaussianPerturbation, noise_to_signal
from readout.prediction import NaturalImages, posterior_mode, prediction_table
from readout.priors import DeepImagePrior, Pixels, Prior
from readout.representation import Estimator, Verdict, representation_size
from readout.runtime import Runtime
from readout.store import ResultStore
from readout.sweep import Sweep

PAPER_STEPS = 10_000
STOPS = {"best iterate": "best_distance", "discrepancy stop": "stopped_distance", "last iterate": "distance"}
"""Which iterate counts → its column."""

NONLINEAR = "network as it is"
MEASURED = {**STOPS, NONLINEAR: "mode_distance"}
PREDICTED = ("predicted", "average")
"""For the input at hand; on average over the prior."""

PAIR = ["layer", "sample"]
POINT = ["layer", "sample", "level"]


@dataclass(frozen=True)
class Readout:
    """A readout that is measured, and the prior with which it is predicted."""

    predicted_with: Literal["natural", "none"]
    prior: Prior
    lr: float
    weight_decay: float
    steps: int


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    weights: str | None
    size: int
    images: tuple[str, ...]
    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    readouts: Mapping[str, Readout]
    batch_size: int | Literal["auto"] = "auto"
    threshold: float = 0.1
    prediction: Mapping[str, int] = field(default_factory=dict)


def _readouts(filters: tuple[int, ...], lr: float, steps: int, pixel_steps: int) -> dict[str, Readout]:
    return {
        "dip": Readout("natural", DeepImagePrior(filters=filters), lr, 0.01, steps),
        "pixels": Readout("none", Pixels(), 0.05, 0.0, pixel_steps),
    }


PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")
SCALES = {
    "smoke": Scale(
        weights=None,
        size=16,
        images=PHOTOGRAPHS[:3],
        layers=("conv1_1", "conv2_1"),
        levels=(0.3, 0.7),
        readouts=_readouts((4, 8), 1e-2, 20, 20),
        threshold=0.5,
        prediction={"max_iterations": 12},
    ),
    "cpu": Scale(
        weights="normalized",
        size=64,
        images=PHOTOGRAPHS[:3],
        layers=("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_3", "conv4_1"),
        levels=(0.1, 0.3, 0.5, 0.7, 0.9),
        readouts=_readouts((16, 32, 64, 128), 1e-3, 400, 150),
        batch_size=5,
    ),
    "paper": Scale(
        weights="imagenet",
        size=224,
        images=(*PHOTOGRAPHS, "retina", "hubble_deep_field"),
        layers="all",
        levels=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        readouts=_readouts((16, 32, 64, 128, 256), 1e-4, PAPER_STEPS, PAPER_STEPS),
    ),
}


def main() -> None:
    """Measure, predict, compare, and write table, figure and sentences."""
    parser = argparse.ArgumentParser(prog="python -m experiments.prediction", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--images", type=int, help="how many photographs, if not the scale's own")
    parser.add_argument("--output", type=Path, help="default: runs/prediction/SCALE")
    asked = parser.parse_args()
    scale = SCALES[asked.scale]
    names = scale.images if asked.images is None else PHOTOGRAPHS[: asked.images]
    output = asked.output or Path("runs/prediction") / asked.scale
    data = Photographs(names, scale.size)
    extractor = VGG19(scale.weights)
    if torch.cuda.is_available():
        extractor = extractor.cuda()
    measured = {
        name: measure(name, readout, extractor, data, scale, output) for name, readout in scale.readouts.items()
    }
    inputs = {name: sample.input for name, sample in load_samples(data, extractor).items()}
    extractor = extractor.cuda() if torch.cuda.is_available() else extractor
    tables = {
        name: results.merge(predict(extractor, inputs, scale, scale.readouts[name]), on=POINT)
        for name, results in measured.items()
    }
    tables["dip"] = tables["dip"].merge(nonlinear(extractor, inputs, scale, output), on=POINT)
    points = pd.concat([table.assign(readout=name) for name, table in tables.items()], ignore_index=True)
    sizes = compare_sizes(points, scale.threshold)
    summary = summarise(points, sizes)
    store = ResultStore(output)
    store.write_text("points.csv", points.to_csv(index=False))
    store.write_text("sizes.csv", sizes.to_csv(index=False))
    store.write_text("summary.csv", summary.to_csv(index=False))
    with context(STYLE):
        store.write_figure("prediction", draw(points, sizes))
    sentences = conclude(points, summary)
    store.write_text("result.txt", sentences + "\n")
    print(summary.to_string(index=False, float_format="{:.3f}".format))
    print(sentences)


def measure(
    name: str, readout: Readout, extractor: FeatureExtractor, data: InputData, scale: Scale, output: Path
) -> pd.DataFrame:
    """Invert what is not inverted yet; one row a problem, with the iterate at which the discrepancy is reached."""
    optimizer = partial(AdamW, lr=readout.lr, weight_decay=readout.weight_decay)
    inversion = ImageInversion(extractor, readout.prior, optimizer=optimizer, record_every=5)
    sweep = Sweep(scale.layers, scale.levels, output=str(output / name), batch_size=scale.batch_size)
    sweep.run(inversion, data, Runtime(trainer={"max_steps": readout.steps, "devices": 1}))
    results = load_results(output / name, trajectories=True)
    results = results[results["sample"].isin([sample.name for sample in data])]
    return results.assign(stopped_distance=[_at_discrepancy(row) for _, row in results.iterrows()])[
        [*POINT, *STOPS.values(), "feature_dim", "input_dim", "steps", "seconds"]
    ]


def predict(extractor: FeatureExtractor, inputs: Mapping[str, Tensor], scale: Scale, readout: Readout) -> pd.DataFrame:
    """Predicted curves and sizes; with a prior also those of an average image."""
    settings = {"levels": scale.levels, "threshold": scale.threshold, **scale.prediction}
    layers = extractor.resolve(scale.layers)
    table = prediction_table(extractor, layers, inputs, prior=readout.predicted_with, **settings)
    table = table.rename(columns={"seconds": "predicted_seconds"})
    if readout.predicted_with == "none":
        return table
    average = prediction_table(extractor, layers, inputs, average=True, **settings)
    names = {"predicted_distance": "average_distance", "predicted_size": "average_size"}
    return table.merge(average.rename(columns=names)[[*POINT, *names.values()]], on=POINT)


def nonlinear(extractor: FeatureExtractor, inputs: Mapping[str, Tensor], scale: Scale, output: Path) -> pd.DataFrame:
    """d_X of the predicted decoder's own counterpart on the network as it is; a layer at a time, kept on disk."""
    store, tables = ResultStore(output), []
    for layer in extractor.resolve(scale.layers):
        name = f"mode/{layer}-{len(inputs)}.csv"
        if not (store.folder / name).exists():
            rows = [row for sample, x in inputs.items() for row in _mode_curve(extractor, layer, sample, x, scale)]
            store.write_text(name, pd.DataFrame(rows).to_csv(index=False))
        tables.append(pd.read_csv(store.folder / name))
    return pd.concat(tables, ignore_index=True)


def compare_sizes(points: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """One row a (readout, layer, sample): the predicted sizes and those measured at each stop."""
    rows = []
    for (readout, layer, sample), curve in points.groupby(["readout", *PAIR], sort=False):
        measured = {stop: _crossing(curve, column, threshold) for stop, column in MEASURED.items()}
        predicted = {kind: curve[f"{kind}_size"].iloc[0] for kind in PREDICTED}
        rows.append({"readout": readout, "layer": layer, "sample": sample, **predicted, **measured})
    return pd.DataFrame(rows)


def summarise(points: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """One row a (readout, prediction, measurement): rank correlations with intervals over inputs, errors, and cost.

    ``ratio`` is measured over predicted d_X, ``cost`` the time of a prediction over that of one inversion of the
    paper's number of steps at one level; both are medians.
    """
    rows = []
    for readout in points["readout"].unique():
        curves, pairs = points[points["readout"] == readout], sizes[sizes["readout"] == readout]
        step = (curves["seconds"] / curves["steps"]).groupby([curves["layer"], curves["sample"]], sort=False).mean()
        cost = curves.drop_duplicates(PAIR).set_index(PAIR)["predicted_seconds"] / (step * PAPER_STEPS)
        for kind, (stop, column) in product(PREDICTED, MEASURED.items()):
            predicted, measured = curves[f"{kind}_distance"], curves[column]
            if predicted.isna().any() or measured.isna().any():
                continue
            rho, low, high = _rank_correlation(pairs, kind, stop)
            rows.append(
                {
                    "readout": readout,
                    "prediction": kind,
                    "measurement": stop,
                    "pairs": len(pairs),
                    "size_rho": rho,
                    "size_rho_low": low,
                    "size_rho_high": high,
                    "curve_rho": _rank_correlation(curves, f"{kind}_distance", column)[0],
                    "size_error": (pairs[kind] - pairs[stop]).abs().mean(),
                    "curve_error": (predicted - measured).abs().mean(),
                    "ratio": (measured / predicted).median(),
                    "cost": cost.median(),
                }
            )
    return pd.DataFrame(rows)


def draw(points: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Curves by layer, sizes against sizes, and what linearity costs; every input is a dot."""
    figure = Figure(figsize=(13, 4.1), layout="constrained")
    curves, scatter, chain = figure.subplots(1, 3)
    dip = points[points["readout"] == "dip"]
    layers = list(dict.fromkeys(dip["layer"]))
    colors = {layer: f"C{place % 10}" for place, layer in enumerate(layers)}
    for layer, group in dip.groupby("layer", sort=False):
        means = group.groupby("level")[["best_distance", "predicted_distance", "average_distance"]].mean()
        curves.scatter(group["level"], group["best_distance"], s=8, color=colors[str(layer)], alpha=0.35, lw=0)
        curves.plot(means.index, means["best_distance"], "-", color=colors[str(layer)], label=str(layer))
        curves.plot(means.index, means["predicted_distance"], "--", color=colors[str(layer)])
        curves.plot(means.index, means["average_distance"], ":", color=colors[str(layer)])
    curves.set(
        xlabel="level c",
        ylabel="$d_X$",
        title="Deep Image Prior (best iterate), predicted (- -), average (···)",
        ylim=(0, 1),
    )
    curves.legend(frameon=False, fontsize=8)
    for (readout, group), marker in zip(sizes.groupby("readout", sort=False), "ox", strict=False):
        shades = [colors[layer] for layer in group["layer"]]
        scatter.scatter(group["predicted"], group["best iterate"], marker=marker, c=shades, s=24, label=str(readout))
    scatter.set(xlabel="predicted size", ylabel="measured size, best iterate", title="Sizes, every input a dot")
    chain.scatter(dip["predicted_distance"], dip["best_distance"], s=12, color="C7", label="Deep Image Prior")
    chain.scatter(
        dip["predicted_distance"], dip["mode_distance"], s=12, color="C3", label="same decoder, no linearising"
    )
    chain.set(xlabel="predicted $d_X$", ylabel="measured $d_X$", xscale="log", yscale="log", title="Where it fails")
    for axes in (scatter, chain):
        axes.axline((0.01, 0.01), (1, 1), color="grey", lw=1, ls=":")
        axes.legend(frameon=False, fontsize=8)
    return figure


def conclude(points: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Two sentences, written from the numbers."""
    dip = points[points["readout"] == "dip"]
    found = summary[(summary["readout"] == "dip") & (summary["prediction"] == "predicted")].set_index("measurement")
    best, mode = found.loc["best iterate"], found.loc[NONLINEAR]
    interval = "" if np.isnan(best["size_rho_low"]) else f" ({best['size_rho_low']:.2f} to {best['size_rho_high']:.2f})"
    part = "smaller" if abs(np.log(mode["ratio"])) < abs(np.log(best["ratio"])) / 2 else "larger"
    return (
        f"Over {dip['sample'].nunique()} photographs and {dip['layer'].nunique()} layers, sizes predicted from the "
        f"Jacobian and sizes measured with a Deep Image Prior at its best iterate have a rank correlation of "
        f"{best['size_rho']:.2f}{interval}, and a prediction of the whole curve took {100 * best['cost']:.2g} % of the "
        f"time of one inversion of {PAPER_STEPS:,} steps. Measured d_X was {best['ratio']:.2f} times the predicted one "
        f"in the median, and {mode['ratio']:.2f} times when the same decoder ran on the network as it is, so linearity "
        f"makes the {part} part of the difference."
    )


def _at_discrepancy(row: "pd.Series[Any]") -> float:
    """d_X where the loss first reaches the loss at the true input; at the last step if it never does."""
    reached = np.flatnonzero(np.asarray(row["trajectory_loss"]) <= row["floor"])
    return float(row["trajectory_distance"][reached[0]] if len(reached) else row["distance"])


def _mode_curve(
    extractor: FeatureExtractor, layer: str, sample: str, x: Tensor, scale: Scale
) -> list[dict[str, str | float]]:
    """One row a level: d_X of the most probable input under the predicted decoder's prior and noise."""
    x = x.to(extractor.mean)
    feature = extractor.extract(x.unsqueeze(0), layer)
    variance, prior = float(feature.double().var(unbiased=False)), NaturalImages(x)
    rows: list[dict[str, str | float]] = []
    for level in scale.levels:
        perturbed = GaussianPerturbation()(feature, torch.tensor([level]), [0])[0]
        found = posterior_mode(extractor, layer, perturbed, variance * noise_to_signal(level) ** 2, prior)
        distance = float(correlation_distance(found.unsqueeze(0), x.unsqueeze(0)))
        rows.append({"layer": layer, "sample": sample, "level": level, "mode_distance": distance})
    return rows


def _crossing(curve: pd.DataFrame, column: str, threshold: float) -> float:
    """Size read off a measured curve; every level tells."""
    if curve[column].isna().any():
        return np.nan
    verdicts = [Verdict.RECOVERED if value < threshold else Verdict.UNRECOVERED for value in curve[column]]
    levels = curve["level"].tolist()
    return representation_size(levels, levels, curve[column].tolist(), verdicts, threshold, Estimator.CROSSING).size


def _rank_correlation(table: pd.DataFrame, first: str, second: str) -> tuple[float, float, float]:
    """Spearman's ρ and its 95 % interval, whole inputs being drawn anew; no interval below three inputs."""
    groups = [group[[first, second]].to_numpy() for _, group in table.groupby("sample")]

    def rho(chosen: np.ndarray) -> float:
        pairs = np.concatenate([groups[int(index)] for index in chosen])
        if (pairs == pairs[0]).all(0).any():  # no ranks
            return np.nan
        return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)

    every = np.arange(len(groups))
    if len(groups) < 3 or np.isnan(rho(every)):
        return rho(every), np.nan, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # an input drawn over and over may have no ranks
        drawn = bootstrap((every,), rho, vectorized=False, n_resamples=999, method="percentile", rng=0)
    low, high = np.nanquantile(drawn.bootstrap_distribution, [0.025, 0.975])
    return rho(every), float(low), float(high)


if __name__ == "__main__":
    main()
