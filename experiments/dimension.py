"""Does representation size rise with the dimension of the feature, and by more than a linear network's would?

    python -m experiments.dimension --scale cpu

plots sizes of VGG19's layers over D / d with the closed form for a linear network. Across layers, depth varies with
dimension; reading one layer from subsets of its channels varies dimension alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.channels import ChannelSubsets
from experiments.shared.drawing import COLORS, MARKERS
from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, sample_sizes, style
from experiments.shared.statistics import rank_correlation
from readout.analysis.statistics import bootstrap_interval, by_sample
from readout.data import ImageFolder, InputData, Photographs
from readout.extractors import VGG19
from readout.priors import DeepImagePrior, Pixels
from readout.representation import linear_size

THRESHOLD = 0.1


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    size: int
    photographs: tuple[str, ...]
    """Names of photographs; empty for the user's images."""
    layers: str | tuple[str, ...]
    subsampled: str
    """Layer that is read from subsets of its channels."""
    channels: tuple[int, ...]
    subsets: int
    """Number of random orders of channels."""
    levels: tuple[float, ...]
    readouts: Mapping[str, Readout]


def _readouts(filters: tuple[int, ...], lr: float, steps: int, pixel_steps: int) -> dict[str, Readout]:
    return {
        "pixels": Readout(Pixels(), 0.05, pixel_steps, weight_decay=0.0),
        "Deep Image Prior": Readout(DeepImagePrior(filters=filters), lr, steps),
    }


LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv3_1", "conv3_3", "conv4_1")
LEVELS = (0, 0.2, 0.4, 0.6, 0.8)
SCALES = {
    "smoke": Scale(
        *(None, 16, PHOTOGRAPHS[:3], ("conv1_1", "conv2_1"), "conv1_1", (4, 64), 1, (0, 0.5)),
        readouts={"pixels": Readout(Pixels(), 0.1, 40, weight_decay=0.0)},
    ),
    "cpu": Scale(
        *("normalized", 32, PHOTOGRAPHS[:6], LAYERS, "conv1_2", (2, 4, 8, 16, 64), 1, LEVELS),
        readouts=_readouts((16, 32, 64), 5e-3, 150, 150),
    ),
    "paper": Scale(
        *("imagenet", 224, (), "all", "conv2_1", (2, 4, 8, 16, 32, 64, 128), 3),
        levels=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        readouts=_readouts((16, 32, 64, 128, 256), 1e-4, 10_000, 10_000),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes by layer and by number of channels, and compare with the closed form."""
    experiment = begin("dimension", __doc__, SCALES, arguments)
    scale = experiment.scale
    data: InputData = (
        Photographs(scale.photographs, scale.size) if scale.photographs else ImageFolder(experiment.image_folder())
    )
    tables = [table for name in scale.readouts for table in measure(experiment, name, data)]
    sizes = pd.concat(tables, ignore_index=True)
    sizes["expansion"] = sizes["feature_dim"] / sizes["input_dim"]
    sizes["linear"] = [linear_size(THRESHOLD, expansion) for expansion in sizes["expansion"]]
    summary = summarise(sizes)
    experiment.store.write_text("summary.csv", summary.to_csv(index=False))
    with style():
        figure = draw(sizes)
    experiment.finish(sizes, figure, *conclude(sizes, summary, scale.subsampled))


def measure(experiment: Experiment[Scale], name: str, data: InputData) -> list[pd.DataFrame]:
    """Return two tables of one readout's sizes: by layer and by channels."""
    scale, network = experiment.scale, VGG19(experiment.scale.weights)
    readout = scale.readouts[name]
    subsets = {
        f"channels-{seed}": ChannelSubsets(network, scale.subsampled, scale.channels, seed)
        for seed in range(scale.subsets)
    }
    tables = []
    for what, extractor in {"layers": network, **subsets}.items():
        results = experiment.sweep(
            f"{name.replace(' ', '-')}/{what}",
            readout.inversion(extractor),
            data,
            steps=readout.steps,
            layers=scale.layers if what == "layers" else "all",
            levels=scale.levels,
            threshold=THRESHOLD,
        )
        varied, _, seed = what.partition("-")
        tables.append(sample_sizes(results).assign(readout=name, varied=varied, subset=int(seed or 0)))
    return tables


def summarise(sizes: pd.DataFrame) -> pd.DataFrame:
    """Return rank correlations of size with dimension, and sizes minus the closed form, per readout and kind.

    The kind says whether layers or channels vary. Both have intervals over images; subsets of channels are averaged
    within their image first.
    """
    rows = []
    for (readout, varied), group in sizes.groupby(["readout", "varied"], sort=False):
        columns = ["size", "linear", "lower_bound"]
        means = by_sample(group, columns, by=["layer", "sample", "feature_dim"])
        rho = rank_correlation(means["feature_dim"], means["size"], clusters=means["sample"].tolist()).rho
        above = bootstrap_interval((means["size"] - means["linear"]).groupby(means["sample"]).mean())
        rows.append(
            {
                **{"readout": readout, "varied": varied, "images": rho.count},
                **{"rho": rho.value, "rho_low": rho.low, "rho_high": rho.high},
                **{"above_linear": above.value, "above_low": above.low, "above_high": above.high},
                "lower_bounds": means["lower_bound"].mean(),
            }
        )
    return pd.DataFrame(rows)


def draw(sizes: pd.DataFrame) -> Figure:
    """Plot size over D / d with the closed form, for layers and for channels of one layer; one dot per image."""
    figure = Figure(figsize=(11.5, 4.4), layout="constrained")
    titles = {"layers": "layers of VGG19: depth varies too", "channels": "channels of one layer: dimension alone"}
    for axes, (varied, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        group = sizes[sizes["varied"] == varied]
        ratio = np.geomspace(group["expansion"].min() / 1.3, group["expansion"].max() * 1.3, 100)
        axes.plot(
            ratio,
            [linear_size(THRESHOLD, value) for value in ratio],
            "--",
            color="black",
            label="linear network, least squares",
        )
        for (readout, mine), color, marker in zip(group.groupby("readout", sort=False), COLORS, MARKERS, strict=False):
            _draw_readout(axes, mine, color, marker, str(readout), line=varied == "channels")
        axes.set(xscale="log", xlabel="feature dimension over input dimension, D / d", title=title, ylim=(-0.03, 1.02))
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.axes[0].set_ylabel("representation size")
    return figure


def _draw_readout(axes: Axes, sizes: pd.DataFrame, color: str, marker: str, name: str, line: bool) -> None:
    axes.scatter(sizes["expansion"], sizes["size"], s=9, color=color, alpha=0.35, lw=0)
    means = sizes.groupby("layer", sort=False)[["expansion", "size"]].mean()
    axes.plot(means["expansion"], means["size"], marker, ls="-" if line else "", ms=6, color=color, label=name)
    if not line:
        for layer, row in means.iterrows():
            axes.annotate(str(layer), (row["expansion"], row["size"]), (5, 2), textcoords="offset points", fontsize=7)


def conclude(sizes: pd.DataFrame, summary: pd.DataFrame, subsampled: str) -> tuple[str, str]:
    """State the result in two sentences."""
    found = {"layers": list[str](), "channels": list[str]()}
    lines = []
    for _, row in summary.iterrows():
        interval = "" if np.isnan(row["rho_low"]) else f", {row['rho_low']:.2f} to {row['rho_high']:.2f}"
        unsure = np.isnan(row["rho_low"]) or row["rho_low"] <= 0 <= row["rho_high"]
        verb = "shows no sure trend" if unsure else "rises" if row["rho"] > 0 else "falls"
        found[row["varied"]].append(f"{verb} with {row['readout']} (ρ = {row['rho']:.2f}{interval})")
        side = "above" if row["above_low"] > 0 else "below" if row["above_high"] < 0 else "not surely off"
        lines.append(
            f"{row['above_linear']:+.2f} ({row['above_low']:+.2f} to {row['above_high']:+.2f}; {side} it) over "
            f"{row['varied']} with {row['readout']}, {100 * row['lower_bounds']:.0f} % of sizes being lower bounds"
        )
    images, layers = summary["images"].max(), sizes.loc[sizes["varied"] == "layers", "layer"].nunique()
    return (
        f"Over {images} photographs, size against the feature's dimension {' and '.join(found['layers'])} across "
        f"{layers} layers, where depth varies too, and {' and '.join(found['channels'])} across numbers of channels of "
        f"{subsampled}, where dimension varies alone.",
        f"Against the closed form of a linear network of the same D / d, read out by least squares, sizes lie "
        f"{'; '.join(lines)}.",
    )


if __name__ == "__main__":
    main()
