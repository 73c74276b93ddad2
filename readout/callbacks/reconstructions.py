"""Reconstructions: panels of true and recovered inputs by level."""

import numpy as np
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from readout.callbacks.base import LayerResults, SweepCallback
from readout.data.images import is_image, to_pixels


class Reconstructions(SweepCallback):
    """Logs one panel a sample: the true input, then what was recovered at each level.

    Args:
        limit: At most so many samples.
    """

    def __init__(self, limit: int = 8) -> None:
        self.limit = limit

    def on_layer_end(self, results: LayerResults) -> None:
        """Log the panels to loggers that show images."""
        samples = [name for name, x in results.inputs.items() if is_image(x)][: self.limit]
        if not samples:
            return
        panels = [Image.fromarray(panel(results, sample)) for sample in samples]
        captions = [f"{sample}: true, then levels {_levels(results)}" for sample in samples]
        for logger in results.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("reconstructions", panels, caption=captions)


def panel(results: LayerResults, sample: str) -> np.ndarray:
    """True input and first-draw recoveries side by side, bytes of shape (height, width, 3)."""
    rows = results.table[(results.table["sample"] == sample) & (results.table["draw"] == 0)].sort_values("level")
    images: list[Tensor] = [results.inputs[sample], *(results.recovered[key] for key in rows["key"])]
    return np.concatenate([to_pixels(image) for image in images], axis=1)


def _levels(results: LayerResults) -> str:
    return ", ".join(f"{level:g}" for level in sorted(results.table["level"].unique()))
