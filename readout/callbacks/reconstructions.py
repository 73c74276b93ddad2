"""Reconstructions: panels of true and recovered inputs by level."""

import numpy as np

from readout.callbacks.base import LayerResults, SweepCallback
from readout.callbacks.loggers import adapter_for
from readout.common.checks import check_whole
from readout.data.images import to_pixels


class Reconstructions(SweepCallback):
    """Logs one panel per sample: the true image, then the recovered one at each level; white where there is none.

    W&B and TensorBoard show them; beside a ``metrics.csv`` they are ``reconstructions/SAMPLE.png``.

    Args:
        limit: Maximum number of samples.

    Raises:
        ReadoutError: if ``limit`` is below 1.
    """

    def __init__(self, limit: int = 8) -> None:
        self.limit = check_whole("limit", limit, 1)

    def on_layer_end(self, results: LayerResults) -> None:
        """Log the panels."""
        if not results.are_images:
            return
        samples = list(results.inputs)[: self.limit]
        panels = {sample: panel(results, sample) for sample in samples}
        captions = [caption(results, sample) for sample in samples]
        for logger in map(adapter_for, results.loggers):
            logger.log_images("reconstructions", panels, captions)


def panel(results: LayerResults, sample: str) -> np.ndarray:
    """Draw the true image and the first recovery of each level side by side, one tile each.

    Returns:
        Bytes of shape (height, width, 3); tiles are white where the sample was not inverted.
    """
    true, found = to_pixels(results.inputs[sample]), _by_level(results, sample)
    recovered = (
        to_pixels(results.recovered[found[level]]) if level in found else np.full_like(true, 255)
        for level in _levels(results)
    )
    return np.concatenate([true, *recovered], axis=1)


def caption(results: LayerResults, sample: str) -> str:
    """Name the tiles of a panel, from left to right."""
    found = _by_level(results, sample)
    gaps = [f"{level:g}" for level in _levels(results) if level not in found]
    shown = f"{sample}: true, then levels {', '.join(f'{level:g}' for level in _levels(results))}"
    return f"{shown}; white, not inverted: {', '.join(gaps)}" if gaps else shown


def _by_level(results: LayerResults, sample: str) -> dict[float, str]:
    """Map each level to the key of a sample's first draw and reading, if it was recovered."""
    first = (results.table["draw"] == 0) & (results.table["reading"] == 0)
    rows = results.table[(results.table["sample"] == sample) & first]
    pairs = zip(rows["level"], rows["key"], strict=True)
    return {level: key for level, key in pairs if key in results.recovered}


def _levels(results: LayerResults) -> list[float]:
    return sorted(results.table["level"].unique())
