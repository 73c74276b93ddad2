"""Reconstructions: panels of true and recovered inputs by level."""

from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from readout.callbacks.base import LayerResults, SweepCallback
from readout.common.checks import check_whole
from readout.data.images import is_image, to_pixels
from readout.store import own_path


class Reconstructions(SweepCallback):
    """Logs one panel a sample: the true input, then what was recovered at each level; white where it was not inverted.

    W&B and TensorBoard show them; beside a ``metrics.csv`` they are ``reconstructions/SAMPLE.png``.

    Args:
        limit: At most so many samples.

    Raises:
        ReadoutError: if ``limit`` is below 1.
    """

    def __init__(self, limit: int = 8) -> None:
        self.limit = check_whole("limit", limit, 1)

    def on_layer_end(self, results: LayerResults) -> None:
        """Log the panels to loggers that show images, or keep files."""
        samples = [name for name, x in results.inputs.items() if is_image(x)][: self.limit]
        if not samples:
            return
        panels = {sample: Image.fromarray(panel(results, sample)) for sample in samples}
        for logger in results.loggers:
            if isinstance(logger, WandbLogger):
                captions = [caption(results, sample) for sample in samples]
                logger.log_image("reconstructions", [*panels.values()], caption=captions)
            elif isinstance(logger, TensorBoardLogger):
                for sample, image in panels.items():
                    logger.experiment.add_image(f"reconstructions/{sample}", np.asarray(image), dataformats="HWC")
            elif isinstance(logger, CSVLogger):
                folder = Path(logger.log_dir) / "reconstructions"
                folder.mkdir(parents=True, exist_ok=True)
                for sample, image in panels.items():
                    image.save(own_path(folder, sample, ".png"))


def panel(results: LayerResults, sample: str) -> np.ndarray:
    """True input and first-draw recoveries side by side, bytes of shape (height, width, 3).

    There is a tile a level of the layer, white where the sample was not inverted.
    """
    true, found = to_pixels(results.inputs[sample]), _by_level(results, sample)
    recovered = (
        to_pixels(results.recovered[found[level]]) if level in found else np.full_like(true, 255)
        for level in _levels(results)
    )
    return np.concatenate([true, *recovered], axis=1)


def caption(results: LayerResults, sample: str) -> str:
    """What a panel shows, from left to right."""
    found = _by_level(results, sample)
    gaps = [f"{level:g}" for level in _levels(results) if level not in found]
    shown = f"{sample}: true, then levels {', '.join(f'{level:g}' for level in _levels(results))}"
    return f"{shown}; white, not inverted: {', '.join(gaps)}" if gaps else shown


def _by_level(results: LayerResults, sample: str) -> dict[float, str]:
    """Level → key of a sample's first draw, where something was recovered."""
    rows = results.table[(results.table["sample"] == sample) & (results.table["draw"] == 0)]
    pairs = zip(rows["level"], rows["key"], strict=True)
    return {level: key for level, key in pairs if key in results.recovered}


def _levels(results: LayerResults) -> list[float]:
    return sorted(results.table["level"].unique())
