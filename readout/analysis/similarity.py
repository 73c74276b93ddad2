"""Similarity of layers to other layers or to responses, with bands, a null, and sizes beside it."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from readout.common.checks import check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.common.terminal import say
from readout.data import Samples
from readout.external.joined import extract_several
from readout.extractors import FeatureExtractor, LanguageModel
from readout.metrics.similarity import LEAST, Similarity

BATCH = 16
"""Inputs per run of the network."""

BAND = (0.025, 0.975)
"""Quantiles of the subsamples that a band lies between."""

LAYERS = 4
"""Fewest layers whose similarities are correlated with sizes."""

WITH_BANDS = 3
"""Most columns that are printed with their bands."""

WIDTH = 5
"""Characters of a similarity without its band."""

PLAIN = "{similarity:.2f}"
BANDED = PLAIN + " ({inputs_low:.2f} to {inputs_high:.2f}; {null:.2f}; {p:.2g})"
"""Formats of a pair in the printed table, without and with its band."""

Matrices = Mapping[str, Tensor]
"""Representations by name, each of shape (inputs, units)."""


@torch.no_grad()
def layer_features(
    extractor: FeatureExtractor, samples: Samples, layers: Sequence[str], units: int = 100_000, seed: int = 0
) -> dict[str, Tensor]:
    """Return the features of layers, one row per input; those of a text are averaged over its positions.

    Args:
        extractor: The network, on the device to run on.
        samples: What it sees.
        layers: Layer names, in the order in which they run.
        units: Most units per layer. Of a wider layer that many are drawn, the same of layers of equal width.
        seed: Seed of that draw.

    Returns:
        Layer → shape (inputs, units), on the CPU.

    Raises:
        ReadoutError: if a number is out of range, or the network can't be run on these inputs.
    """
    check_whole("units", units, 1)
    check_seed("seed", seed)
    device, names = extractor.mean.device, list(samples)
    blocks: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    texts = isinstance(extractor, LanguageModel)
    together = 1 if texts else BATCH  # texts differ in length
    for start in range(0, len(names), together):
        x = samples.stack(names[start : start + together]).to(device)
        x = extractor.embed(x) if isinstance(extractor, LanguageModel) else x
        with extractor.explained_size(x):
            found = extract_several(extractor, x, layers)
        for layer, feature in found.items():
            flat = feature.mean(1) if texts else feature.flatten(1)
            if flat.shape[1] > units:
                flat = flat[:, _draw(flat.shape[1], units, torch.Generator().manual_seed(seed)).to(device)]
            blocks[layer].append(flat.float().cpu())
    return {layer: torch.cat(parts) for layer, parts in blocks.items()}


def similarity_table(
    measure: Similarity, features: Matrices, others: Matrices | None = None, resamples: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Return the similarity of every layer to every other, or to other representations of the same inputs.

    Bands hold the middle 95 % of the similarities of subsamples: half of the inputs, or half of the units of each side,
    drawn without replacement. The null is the similarity after the inputs of the other side were permuted.

    A band need not hold the similarity where that depends on how many inputs or units there are. With fewer inputs,
    biased measures are larger (:class:`readout.metrics.Procrustes`, :class:`readout.metrics.OneToOne`, biased
    :class:`readout.metrics.CKA`), and so are their bands over inputs. Half of the units are a noisier view, so that
    bands over units tend to lie lower, far lower for :class:`readout.metrics.OneToOne`, where units lose their matches.

    Args:
        measure: How similarity is measured.
        features: By layer.
        others: By name; None compares the layers with each other.
        resamples: Subsamples per band, and permutations.
        seed: Seed of both.

    Returns:
        One row per pair: ``layer, other, measure, inputs, units, other_units, similarity, inputs_low, inputs_high,
        units_low, units_high, null`` (its mean) and ``p`` (share of permutations with at least this similarity, the
        data's own order among them).

    Raises:
        ReadoutError: if the measure is not defined for these matrices, there are too few inputs for half of them to be
            compared, or a number is out of range.

    Examples:
        >>> from readout.metrics import CKA
        >>> generator = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(2, 40, 10, generator=generator)
        >>> table = similarity_table(CKA(), {"x": x}, {"2x": 2 * x, "noise": noise}, resamples=19)
        >>> table[["other", "similarity", "p"]].round(2)
           other  similarity     p
        0     2x        1.00  0.05
        1  noise        0.02  0.45
    """
    check_whole("resamples", resamples, 1)
    generator = torch.Generator().manual_seed(check_seed("seed", seed))
    measure.check(**features, **{f"other {name}": x for name, x in (others or {}).items()})
    inputs = len(next(iter(features.values())))
    if inputs < 2 * LEAST:
        raise ReadoutError(f"There are {inputs} inputs, and bands compare half of them; give at least {2 * LEAST}.")
    pairs = list(combinations(features, 2) if others is None else product(features, others))
    if not pairs:
        raise ReadoutError("There is one layer and nothing to compare it with; name more layers, or others.")

    def compare(xs: Matrices, ys: Matrices) -> NDArray[np.float64]:
        one, other = ({name: measure.represent(rows) for name, rows in side.items()} for side in (xs, ys))
        return np.array([float(measure.between(one[name], other[against])) for name, against in pairs])

    def reduced(side: Matrices) -> Matrices:
        return {name: measure.reduce(x) for name, x in side.items()}

    def halved(side: Matrices) -> Matrices:
        return reduced({name: x[:, _draw(x.shape[1], -(-x.shape[1] // 2), generator)] for name, x in side.items()})

    def taken(side: Matrices, rows: Tensor) -> Matrices:
        return {name: x[rows] for name, x in side.items()}

    xs = reduced(features)
    ys = xs if others is None else reduced(others)
    similarity = compare(xs, ys)
    by_inputs, by_units, null = [], [], []
    for _ in range(resamples):
        half = _draw(inputs, inputs // 2, generator)
        by_inputs.append(compare(taken(xs, half), taken(ys, half)))
        one = halved(features)
        by_units.append(compare(one, one if others is None else halved(others)))
        null.append(compare(xs, taken(ys, torch.randperm(inputs, generator=generator))))
    widths = [{name: x.shape[1] for name, x in side.items()} for side in (features, others or features)]
    table = pd.DataFrame(pairs, columns=["layer", "other"]).assign(
        measure=type(measure).__name__,
        inputs=inputs,
        units=[widths[0][name] for name, _ in pairs],
        other_units=[widths[1][name] for _, name in pairs],
        similarity=similarity,
        **_band("inputs", by_inputs),
        **_band("units", by_units),
        null=np.mean(null, 0),
        p=(1 + (np.array(null) >= similarity).sum(0)) / (1 + resamples),
    )
    if others is None:  # the same seen from the other layer
        mirrored = {"layer": "other", "other": "layer", "units": "other_units", "other_units": "units"}
        table = pd.concat([table, table.rename(columns=mirrored)])
        table = table.sort_values(["layer", "other"], key=lambda names: names.map(list(features).index))
    return table.reset_index(drop=True)


def with_sizes(table: pd.DataFrame, sizes: Mapping[str, float]) -> pd.DataFrame:
    """Add the size of each layer, and per other side the rank correlation of similarity with size over layers.

    Args:
        table: From :func:`similarity_table`.
        sizes: Layer → size; layers without one are left out.

    Returns:
        The table with ``size``, ``size_correlation`` (Spearman's; NaN for fewer than :data:`LAYERS` layers, or if all
        are equal) and ``size_layers``, the number of layers that it is over.

    Raises:
        ReadoutError: if no layer has a size.

    Examples:
        >>> table = pd.DataFrame({"layer": [*"abcd"], "other": "V1", "similarity": [0.9, 0.7, 0.8, 0.1]})
        >>> with_sizes(table, {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.2})["size_correlation"].round(2).unique().tolist()
        [0.8]
    """
    table = table.assign(size=table["layer"].map(sizes))
    if table["size"].isna().all():
        raise ReadoutError(f"None of {', '.join(table['layer'].unique())} has a size there; name layers of that sweep.")
    groups = table.groupby("other")[["similarity", "size"]]
    correlations = {other: group.corr("spearman", min_periods=LAYERS).iloc[0, 1] for other, group in groups}
    counts = groups.count()["size"]
    return table.assign(size_correlation=table["other"].map(correlations), size_layers=table["other"].map(counts))


def sides(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the layers and what they are compared with, in order."""
    layers, others = (list(dict.fromkeys(table[side])) for side in ("layer", "other"))
    return layers, layers if {*layers} == {*others} else others


def print_similarity(table: pd.DataFrame, console: Console) -> None:
    """Print similarities, layers × others, with sizes beside them if there are any; as many others as fit."""
    layers, others = sides(table)
    sized = ["size"] if "size" in table else []
    room = (console.width - 1 - max(map(len, [*layers, "over layers"]))) // (WIDTH + 1) - len(sized)
    step = -(-len(others) // max(room, 1))
    shown = others[::step]
    few = len(others) <= WITH_BANDS
    title = f"{table['measure'].iloc[0]} over {table['inputs'].iloc[0]} inputs"
    title += "; in brackets: band over inputs; mean of the null; p" if few else ""
    printed = Table(box=SIMPLE_HEAD, title_justify="left", title=title, padding=0)
    printed.add_column("layer", no_wrap=True)
    for name in [*shown, *sized]:
        printed.add_column(Text(str(name), overflow="fold"), justify="right", min_width=WIDTH)
    for layer, group in table.groupby("layer", sort=False):
        cells = {row["other"]: (BANDED if few else PLAIN).format_map(row) for row in group.to_dict("records")}
        size = [_number(group["size"].iloc[0]) for _ in sized]
        printed.add_row(Text(str(layer)), *(cells.get(other, "") for other in shown), *size)
    if sized:
        of_others = table.groupby("other").first().loc[shown]
        printed.add_section()
        printed.add_row("ρ with size", *map(_number, of_others["size_correlation"]))
        printed.add_row("over layers", *map(str, of_others["size_layers"]))
    console.print(printed)
    if sized and of_others["size_correlation"].isna().any():
        say(console, f"Without a rank correlation ρ, fewer than {LAYERS} layers have sizes, or all values are equal.")
    if step > 1:
        say(console, f"{len(shown)} of {len(others)} columns, as many as fit here; similarity.csv has all.")


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def _draw(count: int, kept: int, generator: torch.Generator) -> Tensor:
    """Return that many places, in ascending order."""
    return torch.randperm(count, generator=generator)[:kept].sort().values


def _band(name: str, values: Sequence[NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    low, high = np.quantile(values, BAND, axis=0)
    return {f"{name}_low": low, f"{name}_high": high}
