"""Small stand-ins that the tests share."""

import torch
from torch import nn

from readout.extractors import FeatureExtractor


class TinyNet(FeatureExtractor):
    """Three convolutions with seeded random weights; fast enough to invert in a test."""

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(8, 16, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, padding=1),
            )
        super().__init__(network, layers={"early": "0", "middle": "2", "late": "4"})
        self.seed = seed


class Identity(FeatureExtractor):
    """f(x) = x: d_X and d_H are the same thing."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Identity()), layers={"identity": "0"})
