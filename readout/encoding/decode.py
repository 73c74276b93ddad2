"""Decode: features of layers predicted from responses to stimuli that the decoder was not trained on."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from readout.analysis.statistics import bootstrap_interval
from readout.common.errors import ReadoutError
from readout.common.files import write_whole
from readout.decoders.linear_map import fit_linear_map
from readout.encoding.encode import save_arrays
from readout.encoding.responses import Responses
from readout.encoding.stimuli import make_folds
from readout.extractors import FeatureExtractor
from readout.metrics import correlation_distance
from readout.prediction.tangent import tangent_size
from readout.problems.names import own_path

FEATURES = "features"
"""Folder of decoded features in an output folder, for ``invert``."""

TABLE = "decoded.csv"
"""Table of distances in an output folder."""

SIZED = 3
"""Stimuli that a layer's tangent size is predicted for."""

MEANS = ("feature_distance", "chance_distance", "two_way")


def decode(
    features_of: Callable[[str], Tensor],
    layers: Sequence[str],
    responses: Responses,
    output: Path,
    test: Responses | None = None,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Decode features, compare them with the true ones, and write both.

    A ridge regression from responses (the mean of repeats) to a layer's features is trained on all folds but one and
    decodes that one, or is trained on all and decodes ``test``. Responses are standardised by those to train on, and
    the penalty is chosen by leaving stimuli out among these.
    ``features/LAYER.npz`` holds what was decoded, ``decoded.csv`` one row per (layer, stimulus).

    Args:
        features_of: Returns the features of a layer, in the order of the responses and then of those to test, shape
            (stimuli, *feature_shape).
        layers: Layer names.
        responses: The responses.
        output: Output folder.
        test: Responses to decode; None decodes ``responses`` by fold.
        folds: Number of folds without ``test``.
        seed: Seed of the folds.

    Returns:
        One row per (layer, stimulus): ``feature_distance``, d_H between decoded and true feature; ``chance_distance``,
        that between the mean of the training features and the true one; and ``two_way``, the share of the other stimuli
        of the fold whose feature correlates less with the decoded one than the true one does, 0.5 by chance.

    Raises:
        ReadoutError: if there are too few stimuli, or ``test`` has other targets.
    """
    measured, names = responses.mean, list(responses.names)
    if test is None:
        parts = make_folds(len(names), folds, seed)
    else:
        _check_test(responses, test)
        parts = [(torch.arange(len(names)), torch.arange(len(test.names)) + len(names))]
        measured = torch.cat([measured, test.mean])
        names += test.names
    decoded_places = torch.cat([fold for _, fold in parts]).sort().values
    rows: list[dict[str, Any]] = []
    if (output / TABLE).exists():  # features of an earlier run may be of other layers, and `invert` would take them too
        for earlier in (output / FEATURES).glob("*.npz"):
            earlier.unlink()
    for layer in layers:
        features = features_of(layer)
        flat, decoded = features.flatten(1), torch.empty_like(features).flatten(1)
        for training, fold in parts:
            x = _standardised(measured, training)
            decoded[fold] = fit_linear_map(x[training], flat[training], shared=True)(x[fold])
            scores = _scores(decoded[fold], flat[fold], flat[training].mean(0))
            for place, *values in zip(fold.tolist(), *scores, strict=True):
                rows.append({"layer": layer, "sample": names[place], **dict(zip(MEANS, values, strict=True))})
        kept = decoded[decoded_places].view(-1, *features.shape[1:]).numpy()
        arrays = {layer: kept, "names": [names[place] for place in decoded_places.tolist()]}
        write_whole(own_path(output / FEATURES, layer, ".npz"), partial(save_arrays, arrays=arrays))
    table = pd.DataFrame(rows)
    write_whole(output / TABLE, lambda file: table.to_csv(file, index=False))
    return table


def tangent_sizes(extractor: FeatureExtractor, layers: Sequence[str], stimuli: Tensor) -> dict[str, float]:
    """Return the mean tangent size of each layer over the first stimuli, at most :data:`SIZED`."""
    shown = stimuli[:SIZED]
    return {layer: sum(tangent_size(extractor, layer, x) for x in shown) / len(shown) for layer in layers}


def summarise(decoded: pd.DataFrame, sizes: Mapping[str, float]) -> pd.DataFrame:
    """Return means over stimuli with bootstrap intervals, one row per layer.

    Args:
        decoded: Table of ``decode``.
        sizes: Tangent size by layer.

    Returns:
        Columns of ``decoded`` with ``…_low`` and ``…_high``, ``tangent_size``, and ``position``: whether the mean d_H
        lies ``inside`` or ``outside`` that size; or ``as the mean`` where it is not surely below ``chance_distance``,
        or ``two_way`` not surely above 0.5.
    """
    rows: list[dict[str, Any]] = []
    for layer, group in decoded.groupby("layer", sort=False):
        row: dict[str, Any] = {"layer": layer}
        for name in MEANS:
            found = bootstrap_interval(group[name])
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        size = sizes[str(layer)]
        gain = bootstrap_interval(group["chance_distance"] - group["feature_distance"])
        position = "inside" if row["feature_distance"] < size else "outside"
        # d_H alone falls below that of the mean by a trifle where test stimuli are of another kind
        surely = gain.low > 0 and row["two_way_low"] > 0.5
        rows.append({**row, "tangent_size": size, "position": position if surely else "as the mean"})
    return pd.DataFrame(rows)


def _scores(decoded: Tensor, true: Tensor, mean: Tensor) -> tuple[list[float], ...]:
    """Return the values of :data:`MEANS` for the stimuli of one fold."""
    unit_decoded, unit_true = (
        torch.nn.functional.normalize(each - each.mean(1, keepdim=True), dim=1).double() for each in (decoded, true)
    )
    near = unit_decoded @ unit_true.T
    own = near.diagonal().unsqueeze(1)
    farther = ((near < own).double() + (near == own).double() / 2).sum(1) - 0.5  # a stimulus is no rival of itself
    distances = correlation_distance(decoded, true), correlation_distance(mean.expand_as(true), true)
    return *(each.tolist() for each in distances), (farther / (len(true) - 1)).tolist()


def _standardised(measured: Tensor, training: Tensor) -> Tensor:
    """Return responses in units of the standard deviations of those to train on; targets constant there as 0."""
    known = measured[training]
    constant = known.amin(0) == known.amax(0)
    return ((measured - known.mean(0)) / known.std(0)).where(~constant, 0).float()


def _check_test(responses: Responses, test: Responses) -> None:
    own, others = test.trials.shape[2], responses.trials.shape[2]
    if own != others:
        raise ReadoutError(f"The responses to test have {own} targets, but the others {others}; give the same.")
    if len(test.names) < 2:
        raise ReadoutError("There is one stimulus to decode, which leaves none to confuse it with; give several.")
