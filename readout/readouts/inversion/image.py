"""Inversion of image features with the paper's defaults."""

from collections.abc import Sequence
from typing import Any

from readout.extractors import FeatureExtractor
from readout.metrics import PSNR, SSIM, SampleMetric
from readout.priors import DeepImagePrior, Prior
from readout.readouts.inversion.base import FeatureInversion


class ImageInversion(FeatureInversion):
    """Inversion by a Deep Image Prior and squared error, scored by the correlation distance of pixels.

    Args:
        extractor: Frozen network f.
        prior: Default: :class:`readout.priors.DeepImagePrior`.
        metrics: Default: :class:`readout.metrics.SSIM` and :class:`readout.metrics.PSNR`.
        kwargs: See :class:`FeatureInversion`.

    Examples:
        >>> from torch import nn
        >>> from readout.priors import Pixels
        >>> extractor = FeatureExtractor(nn.Sequential(nn.Conv2d(3, 4, 3)), layers={"conv": "0"})
        >>> described = ImageInversion(extractor, prior=Pixels()).describe(steps=100)
        >>> described["prior"]
        {'class': 'readout.Pixels', 'clamp': True, 'total_variation': 0.0, 'init_std': 0.01}
        >>> described["lr_schedule"]["class"], described["protocol"]
        ('torch.optim.lr_scheduler.PolynomialLR', {'class': 'readout.PaperProtocol'})
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
