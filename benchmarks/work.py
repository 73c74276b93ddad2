"""The work of all sides: the same photograph, network, layer, generator and optimiser."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from typing_extensions import Self

from readout.codes import GaussianDictionary, SparseCodes, Superposition
from readout.data import Photographs, SampleText, load_samples
from readout.extractors import BERT, VGG19, FeatureExtractor, LanguageModel
from readout.perturbations import GaussianPerturbation
from readout.readouts import ProblemBatch

FILTERS = (16, 32, 64, 128)
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
LEARNING_RATE = 1e-4
PENALTY = 0.1
"""λ of sparse codes."""


@dataclass(frozen=True)
class Work:
    """Work of one process."""

    side: str = "ours"
    """Name of the side; see :mod:`benchmarks.worker`."""
    layer: str = "conv2_1"
    size: int = 64
    """Side of the image in pixels."""
    problems: int = 1
    """Problems per batch; 0 for as many as a sweep would choose."""
    prior: str = "dip"
    """``dip`` or ``pixels``; of texts ``all tokens`` or ``shortlist``."""
    precision: str = "32-true"
    device: str = "cpu"
    weights: str = "normalized"
    """Weights of VGG19: ``normalized`` (fetched through pip) or ``random``."""
    without: tuple[str, ...] = ()
    """Fast paths of readout to switch off."""
    tokens: int = 32
    """Tokens per text."""
    coder: str = ""
    """Coder, or function of scikit-learn."""
    iterations: int = 0
    """Iterations of the coder; 0 for as many as it takes by itself."""
    atoms: int = 256
    """N, number of atoms that signals are sums of."""

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-like data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Undo :meth:`as_dict`."""
        return cls(**{**fields, "without": tuple(fields["without"])})


def network(work: Work) -> VGG19:
    """Build the frozen network."""
    return VGG19(work.weights)


def language_model() -> LanguageModel:
    """Load the frozen language model: a BERT of 6 blocks, fetched through pip."""
    return BERT("minilm")


def photograph(work: Work, extractor: FeatureExtractor) -> Tensor:
    """Return the true image, shape (3, size, size)."""
    (sample,) = load_samples(Photographs(names=["astronaut"], size=work.size), extractor).values()
    return sample.input


def text(work: Work, extractor: LanguageModel) -> Tensor:
    """Return the token ids of the true text, shape (tokens,)."""
    (sample,) = load_samples(SampleText(count=1, max_tokens=work.tokens), extractor).values()
    return sample.input


def problem_batch(work: Work, true: Tensor, count: int) -> ProblemBatch:
    """Return problems on one input, cycling through the paper's levels."""
    return ProblemBatch(
        inputs=true.expand(count, *true.shape).clone(),
        layer=work.layer,
        levels=torch.tensor([LEVELS[place % len(LEVELS)] for place in range(count)], dtype=torch.float64),
        noise_seeds=list(range(count)),
        prior_seeds=list(range(count)),
        perturbation=GaussianPerturbation(),
    )


def superposed(work: Work) -> tuple[Superposition, Tensor, int]:
    """Return atoms of N/4 dimensions, signals that are sums of N/32 of them, shape (problems, N/4), and N/32."""
    network, active = Superposition(GaussianDictionary(work.atoms, work.atoms // 4)), work.atoms // 32
    data = SparseCodes(work.problems, active, nonnegative=False)
    data.prepare_for(network)
    codes = torch.stack([sample.input for sample in data])
    return network, network.extract(codes, "superposition").detach(), active


def code_facts(work: Work, network: Superposition, feature: Tensor, codes: Tensor) -> dict[str, float]:
    """Return the mean objective of codes, with its penalty unless their number is fixed, and how many are active."""
    codes = codes.cpu().double()
    error = (codes @ network.dictionary.atoms.double() - feature).square().sum(1) / 2
    penalty = 0.0 if "orthogonal" in work.coder.lower() else PENALTY
    objective = float((error + penalty * codes.abs().sum(1)).mean())
    return {"objective": objective, "active": float((codes != 0).sum(1).double().mean())}


def optimizer(parameters: Iterable[nn.Parameter]) -> AdamW:
    """Build the paper's optimiser; every side leaves its implementation to the library."""
    return AdamW(parameters, lr=LEARNING_RATE)
