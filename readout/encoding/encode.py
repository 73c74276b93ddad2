"""Encode: responses predicted from the features of a layer, with noise ceilings and scores by cross-validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import cosine_similarity

from readout.common.files import write_whole
from readout.decoders.linear_map import fit_linear_map
from readout.encoding.model import LAYER, NAME, store
from readout.encoding.responses import Responses
from readout.encoding.stimuli import make_folds
from readout.extractors import FeatureExtractor

RESIDUALS = "residuals.npz"
"""Name of the file with trial-to-trial residuals, for :class:`readout.perturbations.ResidualPerturbation`."""


def encode(
    extractor: FeatureExtractor,
    layer: str,
    features: Tensor,
    responses: Responses,
    output: Path,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit an encoding model, score it on stimuli that it was not fitted to, and write both.

    Targets are standardised over stimuli. Each has a ridge regression with its own penalty, chosen by leaving stimuli
    out among those that are fitted. ``encoding.safetensors`` is the fit to all stimuli.

    Args:
        extractor: The network.
        layer: Layer name.
        features: Of the layer, in the order of the responses, shape (stimuli, ...).
        responses: The responses; the mean of repeats is fitted.
        output: Output folder.
        folds: Number of folds.
        seed: Seed of the folds.

    Returns:
        One row per target: ``score``, the correlation of predicted and measured responses, a mean over folds; its 95 %
        interval ``low`` to ``high`` (Fisher's z, widened by √2, which is right where there is nothing to predict, and
        wide elsewhere); the noise ``ceiling``; ``normalised``, score divided by ceiling; and ``penalty``. Ceilings are
        NaN without repeats.

    Raises:
        ReadoutError: if there are too few stimuli, or a target responds to all alike.
    """
    parts = make_folds(len(responses.names), folds, seed)
    features = features.flatten(1)
    responses = responses.standardised()
    measured = responses.mean.float()
    scores = []
    for training, fold in parts:
        predicted = fit_linear_map(features[training], measured[training])(features[fold])
        found, true = (each.double() - each.double().mean(0) for each in (predicted, measured[fold]))
        scores.append(cosine_similarity(found, true, dim=0))
    fitted = fit_linear_map(features, measured)
    # a correlation over all folds at once would be below 0 where there is nothing to predict
    score = torch.stack(scores).mean(0).numpy()
    # Where there is nothing to predict, every pair of stimuli counts twice, once in either's fold, which doubles the
    # variance; a mean is taken off within each fold.
    reach = stats.norm.ppf(0.975) * (2 / max(len(measured) - folds - 2, 1)) ** 0.5
    ceiling = responses.ceiling.numpy()
    table = pd.DataFrame(
        {
            "target": range(len(score)),
            "score": score,
            "low": np.tanh(np.arctanh(score) - reach),
            "high": np.tanh(np.arctanh(score) + reach),
            "ceiling": ceiling,
            "normalised": np.divide(score, ceiling, where=ceiling > 0, out=np.full_like(score, np.nan)),
            "penalty": fitted.penalties.numpy(),
        }
    )
    store(fitted, output / NAME, extractor, layer)
    write_whole(output / "scores.csv", lambda file: table.to_csv(file, index=False))
    (output / RESIDUALS).unlink(missing_ok=True)  # of an earlier run, in units of other responses
    if responses.trials.shape[1] > 1:
        residuals = {LAYER: responses.residuals().float().numpy()}
        write_whole(output / RESIDUALS, lambda file: save_arrays(file, residuals))
    return table


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as ``.npz``, whatever the path ends in."""
    with path.open("wb") as file:
        np.savez(file, **arrays)


def in_words(table: pd.DataFrame, responses: Responses) -> list[str]:
    """Say how well responses are predicted, and how noisy they are."""
    above = int((table["low"] > 0).sum())
    said = [
        f"Mean correlation {table['score'].mean():.3f} over {len(table):,} targets, of which {above:,} have an "
        "interval above 0."
    ]
    repeats = responses.trials.shape[1]
    if repeats == 1:
        return [*said, "Without repeats there is no noise ceiling."]
    known = table[table["ceiling"] > 0]
    standardised = responses.standardised()
    one, mean = (standardised.noise_distance(count) for count in (1, repeats))
    return [
        *said,
        f"Mean noise ceiling {table['ceiling'].mean():.3f}, mean correlation / ceiling "
        f"{known['normalised'].mean():.3f}.",
        f"Noise moves a single response by d_H {one:.2f} on average, the mean of {repeats} repeats by {mean:.2f}.",
    ]
