"""The base class of metrics."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from readout.extractors import FeatureExtractor


class SampleMetric(Metric, ABC):
    """A metric with one value per sample, averaged over samples.

    A subclass sets ``name``, its column in the results, and ``higher_is_better``; only a distance, for which smaller
    is better, can serve as d_X.
    """

    full_state_update = False
    name: ClassVar[str]
    threshold: ClassVar[float | None] = None
    """Recovery threshold t of the paper, for metrics that it uses as d_X."""
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Take what scoring needs from the network, such as its vocabulary; by default nothing."""

    @abstractmethod
    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """Score each sample.

        Args:
            recovered: Recovered inputs, shape (samples, ...).
            true: True inputs, same shape; negative token ids mark positions that are not scored.

        Returns:
            Values of shape (samples,).
        """

    def update(self, recovered: Tensor, true: Tensor) -> None:
        """Add a batch of samples."""
        values = self.per_sample(recovered, true)
        self.total = self.total + values.sum()
        self.count = self.count + len(values)

    def compute(self) -> Tensor:
        """Return the mean over all samples added."""
        return self.total / self.count
