"""Inversion of image features, as the paper sets it."""

from collections.abc import Sequence

from torch.optim.lr_scheduler import PolynomialLR

from readout.extractors import FeatureExtractor
from readout.inversions.base import FeatureInversion, OptimizerFactory, ScheduleFactory
from readout.inversions.losses import FeatureLoss
from readout.inversions.protocols import Protocol
from readout.metrics import PSNR, SSIM, SampleMetric
from readout.priors import DeepImagePrior, Prior


class ImageInversion(FeatureInversion):
    """A Deep Image Prior against a squared error, scored by pixel correlation distance.

    Every argument is :class:`FeatureInversion`'s; only the defaults are the paper's for images.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        prior: Prior | None = None,
        optimizer: OptimizerFactory | None = None,
        lr_schedule: ScheduleFactory | None = PolynomialLR,
        loss: FeatureLoss | None = None,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] | None = None,
        protocol: Protocol | None = None,
        record_every: int = 10,
        max_restarts: int = 3,
    ) -> None:
        super().__init__(
            extractor=extractor,
            prior=prior or DeepImagePrior(),
            optimizer=optimizer,
            lr_schedule=lr_schedule,
            loss=loss,
            metric=metric,
            metrics=[SSIM(), PSNR()] if metrics is None else metrics,
            protocol=protocol,
            record_every=record_every,
            max_restarts=max_restarts,
        )
