"""Subsets of a layer's channels, which vary only the dimension of a feature."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from readout.extractors import FeatureExtractor


class ChannelSubsets(FeatureExtractor):
    """A network whose layers are nested subsets of one layer's channels: ``conv1_2:4`` has four of them.

    Args:
        extractor: The network.
        layer: The layer.
        counts: Numbers of channels.
        seed: Seed of the order in which channels are added.
    """

    order: Tensor

    def __init__(self, extractor: FeatureExtractor, layer: str, counts: Sequence[int], seed: int = 0) -> None:
        layers = {f"{layer}:{count}": extractor.layers[layer] for count in counts}
        mean, std = (values.flatten().tolist() for values in (extractor.mean, extractor.std))
        super().__init__(extractor.network, layers, mean, std)
        self.base = (extractor, layer)  # a tuple hides the module from PyTorch, so that weights are not counted twice
        self.weights = f"{extractor.weights_name}, channels {seed}"
        with torch.no_grad():
            channels = extractor.extract(extractor.example(32), layer).shape[1]
        # part of the fingerprint, and so of every problem's key
        self.register_buffer("order", torch.randperm(channels, generator=torch.Generator().manual_seed(seed)))

    def run_to(self, x: Tensor, layer: str, *more: Any) -> Tensor:
        """See :meth:`FeatureExtractor.run_to`."""
        extractor, whole = self.base
        return self.feature(extractor.run_to(x, whole, *more), layer)

    def feature(self, output: Any, layer: str) -> Tensor:
        """Return the chosen channels of the layer's feature."""
        count = int(layer.rpartition(":")[2])
        return super().feature(output, layer)[:, self.order[:count].sort().values]
