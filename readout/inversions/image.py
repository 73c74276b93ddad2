"""Inversion of image features, as the paper sets it."""

from collections.abc import Sequence
from typing import Any

from readout.extractors import FeatureExtractor
from readout.inversions.base import FeatureInversion
from readout.metrics import PSNR, SSIM, SampleMetric
from readout.priors import DeepImagePrior, Prior


class ImageInversion(FeatureInversion):
    """A Deep Image Prior against a squared error, scored by pixel correlation distance.

    Args:
        extractor: The frozen network f.
        prior: Default: :class:`readout.priors.DeepImagePrior`.
        metrics: Default: :class:`readout.metrics.SSIM` and :class:`readout.metrics.PSNR`.
        kwargs: As for :class:`FeatureInversion`.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        prior: Prior | None = None,
        metrics: Sequence[SampleMetric] | None = None,
        **kwargs: Any,
    ) -> None:
        metrics = [SSIM(), PSNR()] if metrics is None else metrics
        super().__init__(extractor=extractor, prior=prior or DeepImagePrior(), metrics=metrics, **kwargs)
