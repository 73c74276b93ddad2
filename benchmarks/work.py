"""The work that every side does: one photograph, one network, one layer, one generator, one optimiser."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from typing_extensions import Self

from readout.data import Photographs, SampleText, load_samples
from readout.extractors import BERT, VGG19, FeatureExtractor, LanguageModel
from readout.inversions import ProblemBatch
from readout.perturbations import GaussianPerturbation

FILTERS = (16, 32, 64, 128)
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Work:
    """What one process is to do."""

    side: str = "ours"
    """Who does it; see :mod:`benchmarks.worker`."""
    layer: str = "conv2_1"
    size: int = 64
    """Pixels a side."""
    problems: int = 1
    """Side by side; 0 for as many as a sweep would choose."""
    prior: str = "dip"
    """``dip`` or ``pixels``."""
    precision: str = "32-true"
    device: str = "cpu"
    weights: str = "normalized"
    """Of VGG19: ``normalized`` (fetched through pip) or ``random``."""
    without: tuple[str, ...] = ()
    """What of ours is switched off."""
    tokens: int = 32
    """Length of a text."""

    def but(self, **changes: Any) -> Self:
        """The same work, changed in these respects."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """As JSON-like data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What :meth:`as_dict` gave."""
        return cls(**{**fields, "without": tuple(fields["without"])})


def network(work: Work) -> VGG19:
    """The frozen network."""
    return VGG19(work.weights)


def language_model() -> LanguageModel:
    """The frozen language model: a BERT of 6 blocks, fetched through pip."""
    return BERT("minilm")


def photograph(work: Work, extractor: FeatureExtractor) -> Tensor:
    """The true input, shape (3, size, size)."""
    (sample,) = load_samples(Photographs(names=["astronaut"], size=work.size), extractor).values()
    return sample.input


def text(work: Work, extractor: LanguageModel) -> Tensor:
    """Token ids of the true text, shape (tokens,)."""
    (sample,) = load_samples(SampleText(count=1, max_tokens=work.tokens), extractor).values()
    return sample.input


def problem_batch(work: Work, true: Tensor, count: int) -> ProblemBatch:
    """Problems on one input, all levels of the paper in turn."""
    return ProblemBatch(
        inputs=true.expand(count, *true.shape).clone(),
        layer=work.layer,
        levels=torch.tensor([LEVELS[place % len(LEVELS)] for place in range(count)], dtype=torch.float64),
        noise_seeds=list(range(count)),
        prior_seeds=list(range(count)),
        perturbation=GaussianPerturbation(),
    )


def optimizer(parameters: Iterable[nn.Parameter]) -> AdamW:
    """The paper's; every side leaves the choice of implementation to its library."""
    return AdamW(parameters, lr=LEARNING_RATE)
