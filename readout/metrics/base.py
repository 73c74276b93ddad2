"""SampleMetric: one value a sample."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from readout.extractors import FeatureExtractor


class SampleMetric(Metric, ABC):
    """A metric with one value a sample, averaged over samples.

    A subclass names its column and says whether larger is better; only a distance (smaller is better)
    can serve as d_X.
    """

    full_state_update = False
    name: ClassVar[str]
    threshold: ClassVar[float | None] = None
    """The paper's t, where it serves as d_X there."""
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Learn from the network what scoring needs, such as its vocabulary; nothing by default."""

    @abstractmethod
    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """One value a sample.

        Args:
            recovered: Recovered inputs, shape (samples, ...).
            true: True inputs, the same shape; of tokens, negative where a position is not scored.

        Returns:
            Shape (samples,).
        """

    def update(self, recovered: Tensor, true: Tensor) -> None:
        """Add a batch of samples."""
        values = self.per_sample(recovered, true)
        self.total = self.total + values.sum()
        self.count = self.count + len(values)

    def compute(self) -> Tensor:
        """Mean over the samples seen."""
        return self.total / self.count
