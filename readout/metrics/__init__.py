"""Distances between inputs (d_X), between features (d_H) and between other signals, as torchmetrics classes.

:meth:`SampleMetric.per_sample` gives one value per sample; ``update`` and ``compute`` give the mean over samples.
"""

from readout.metrics.base import SampleMetric
from readout.metrics.codes import SupportDistance
from readout.metrics.correlation import CorrelationDistance, correlation_distance
from readout.metrics.images import DISTS, LPIPS, PSNR, SSIM
from readout.metrics.signals import ZeroOne
from readout.metrics.texts import EmbeddingCosine, ExactMatch, TokenErrorRate

__all__ = [
    "DISTS",
    "LPIPS",
    "PSNR",
    "SSIM",
    "CorrelationDistance",
    "EmbeddingCosine",
    "ExactMatch",
    "SampleMetric",
    "SupportDistance",
    "TokenErrorRate",
    "ZeroOne",
    "correlation_distance",
]
