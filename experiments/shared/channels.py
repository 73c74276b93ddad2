"""A layer with some of its channels only, so that a feature's dimension varies and nothing else."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from readout.extractors import FeatureExtractor


class ChannelSubsets(FeatureExtractor):
    """One layer of a network as many layers, each with so many of its channels: ``conv1_2:4`` and so on.

    Smaller sets lie within larger ones.

    Args:
        extractor: The network.
        layer: The layer.
        counts: Numbers of channels.
        seed: Seed of which channels.
    """

    order: Tensor

    def __init__(self, extractor: FeatureExtractor, layer: str, counts: Sequence[int], seed: int = 0) -> None:
        layers = {f"{layer}:{count}": extractor.layers[layer] for count in counts}
        mean, std = (values.flatten().tolist() for values in (extractor.mean, extractor.std))
        super().__init__(extractor.network, layers, mean, std)
        self.base = (extractor, layer)  # a tuple, so that its weights are not counted twice
        self.weights = f"{extractor.weights_name}, channels {seed}"
        with torch.no_grad():
            channels = extractor.extract(extractor.example(32), layer).shape[1]
        # in the fingerprint, and so in every problem's key
        self.register_buffer("order", torch.randperm(channels, generator=torch.Generator().manual_seed(seed)))

    def run_to(self, x: Tensor, layer: str, *more: Any) -> Tensor:
        """See :meth:`FeatureExtractor.run_to`."""
        extractor, whole = self.base
        return self.feature(extractor.run_to(x, whole, *more), layer)

    def feature(self, output: Any, layer: str) -> Tensor:
        """The chosen channels."""
        count = int(layer.rpartition(":")[2])
        return super().feature(output, layer)[:, self.order[:count].sort().values]
