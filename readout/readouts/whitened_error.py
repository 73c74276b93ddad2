"""Squared error of a feature's principal components, each by how far it stands out of the noise."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data import InputData, Samples
from readout.decoders.layout import FeatureLayout
from readout.decoders.network import FULL_RANK, LOW_RANK
from readout.decoders.whitening import Whitening
from readout.extractors import FeatureExtractor
from readout.problems.identity import qualified_name
from readout.readouts.apart import load_apart
from readout.readouts.losses import Extract, FeatureLoss
from readout.readouts.one_pass import check_memory

ROWS = 16
"""Images whose features are computed together."""


class WhitenedError(FeatureLoss):
    """Mean squared error of whitened features, which makes deep layers quick to invert.

    A deep feature varies a hundred times more along some directions than along others, and a squared error sees the
    first alone. Here each principal component, at every position, is multiplied by √λ / (λ + σ²), with λ its variance
    over other images and σ² the noise that h′ shows by itself (:class:`readout.decoders.whitening.Whitening`): all that
    are far above the noise count alike.

    Args:
        images: Images to measure the components on, of the shape of those to be read. 100 are enough for a map;
            together they need a position per component.

    Raises:
        ReadoutError: if a loss is asked for before :meth:`prepare`.
    """

    least_images = 16
    """Fewest images."""

    def __init__(self, images: InputData) -> None:
        super().__init__()
        self.images = images
        self._digest: str | None = None
        self._measured: tuple[str, Whitening] | None = None  # no submodule, which a Trainer's precision would round
        self._weighted: tuple[Tensor, Tensor] | None = None

    def describe(self) -> dict[str, Any]:
        """Return plain data for keys; images go by their digests."""
        return {"class": qualified_name(type(self)), "images": self._digest}

    def meet(self, extractor: FeatureExtractor, samples: Samples, shape: Sequence[int] | None) -> None:
        """Load the images.

        Raises:
            ReadoutError: if inputs are texts, or the images can't be used; see
                :func:`readout.readouts.apart.load_apart`.
        """
        if shape is None:
            raise ReadoutError("WhitenedError is for images; choose another loss, such as MeanSquaredErrorAndCosine.")
        apart = load_apart(self.images, "loss.images", self.least_images, extractor, samples, shape)
        self._inputs, self._digest = apart
        self._measured = self._weighted = None

    @torch.no_grad()
    def prepare(self, extract: Extract, layer: str) -> None:
        """Measure the components of a layer's features.

        Raises:
            ReadoutError: if the images have fewer positions there than components, or their features don't fit the free
                memory.
        """
        if self._measured is not None and self._measured[0] == layer:
            return
        count, (first, *_) = len(self._inputs), extract(self._inputs[:1])
        check_memory(first, count, "images of the loss", layer, "a quarter")
        positions, size = _positions(first.unsqueeze(0)).shape[1:]
        rank = size if size <= FULL_RANK else LOW_RANK
        if count * positions < rank:  # errors along other directions would not be seen
            raise ReadoutError(
                f"loss.images has {count} inputs, too few for the {rank} components of layer {layer!r}; give at least "
                f"{-(-rank // positions)}, or choose another loss."
            )
        rows = _positions(torch.cat([extract(some) for some in torch.split(self._inputs, ROWS)]).float())
        whitening = Whitening(size, rank).to(rows.device)
        whitening.fit(rows, rows[..., :0])
        self._measured, self._weighted = (layer, whitening), None

    def forward(self, feature: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        """See :class:`FeatureLoss`; images have no mask."""
        with torch.autocast(feature.device.type, enabled=False):  # a small loss is a difference of large features
            error = _positions(feature - target) @ self._weights(target).to(feature)
            return error.square().flatten(1).mean(1)

    @torch.no_grad()
    def _weights(self, target: Tensor) -> Tensor:
        """Return each component times its factor, shape (problems, size, rank); computed once per target."""
        if self._measured is None:
            raise ReadoutError("WhitenedError is for inversions of one layer at a time; choose another loss.")
        if self._weighted is None or self._weighted[0] is not target:
            whitening = self._measured[1].to(target.device)
            directions, centred = whitening.directions.double(), _positions(target).double() - whitening.mean
            gain = whitening.gain(centred @ directions.T, centred)
            self._weighted = target, directions.T * gain.unsqueeze(1)
        return self._weighted[1]


def _positions(feature: Tensor) -> Tensor:
    """Return the vectors of a feature of shape (rows, ...), shape (rows, positions, size)."""
    shape = feature.shape[1:]
    return FeatureLayout(shape).positions(feature) if len(shape) == 3 else feature.reshape(len(feature), -1, shape[-1])
