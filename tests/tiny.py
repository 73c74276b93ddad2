"""Small stand-ins that the tests share, and a walk over the package's classes."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import readout
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


class TinyClassifier(FeatureExtractor):
    """A linear head with two classes on images of 8 × 8 pixels."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            head = nn.Linear(3 * 8 * 8, 2)
        super().__init__(nn.Sequential(nn.Flatten(), head), layers={"image": "0"})


class Identity(FeatureExtractor):
    """f(x) = x: d_X and d_H are the same thing."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Identity()), layers={"identity": "0"})


class Vocabulary(FeatureExtractor):
    """Ten tokens whose embeddings point in ten directions."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Identity()), layers={"identity": "0"})
        self.embedding = nn.Embedding(10, 10, _weight=2 * torch.eye(10)).requires_grad_(False)


def concrete_classes(kind: type) -> set[type]:
    """Return every class of the package below ``kind``, itself included, that can be made.

    A class that an example in a docstring defines has its module's name, but is no part of it.
    """
    for module in pkgutil.walk_packages(readout.__path__, "readout."):
        if ".cuda" not in module.name:
            importlib.import_module(module.name)
    return {each for each in _below(kind) if _is_ours(each) and not inspect.isabstract(each)}


def _is_ours(kind: type) -> bool:
    ours = kind.__module__.startswith("readout.")
    return ours and getattr(importlib.import_module(kind.__module__), kind.__name__, None) is kind


def _below(kind: Any) -> Iterator[type]:
    yield kind
    for child in kind.__subclasses__():
        yield from _below(child)
