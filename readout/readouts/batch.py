"""Input and output of one fit: a batch of problems and its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from readout.common.padding import PADDING
from readout.perturbations import Perturbation
from readout.priors.tokens import FREE
from readout.readouts.trajectory import Trajectory


@dataclass(frozen=True)
class ProblemBatch:
    """Problems of one layer that are inverted together, one row per problem."""

    inputs: Tensor
    """True inputs x, shape (problems, *input_shape); token ids are padded by
    :func:`readout.common.padding.pad`. Unknown images are NaN, unknown tokens :data:`readout.priors.tokens.FREE`."""
    layer: str
    """Layer name of the extractor."""
    levels: Tensor
    """Target perturbation levels, shape (problems,)."""
    noise_seeds: Sequence[int]
    """Seed per problem of its noise."""
    prior_seeds: Sequence[int]
    """Seed per problem of its prior."""
    perturbation: Perturbation
    """Rule that moves features."""
    names: Sequence[str] = ()
    """Sample name of each input, as far as a readout needs them."""
    others: Mapping[str, Tensor] = field(default_factory=dict)
    """Further inputs by sample name; see :meth:`readout.perturbations.Perturbation.others`."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def known(self) -> Tensor:
        """Whether each true input is known, shape (problems,): no image of NaN only, no text with an unknown token."""
        if self.inputs.is_floating_point():
            return ~self.inputs.isnan().flatten(1).all(1)
        return (self.inputs != FREE).all(1)

    @property
    def mask(self) -> Tensor | None:
        """Where texts have tokens, shape (problems, positions); None for inputs that need no padding."""
        return None if self.inputs.is_floating_point() else self.inputs != PADDING


@dataclass(frozen=True)
class Outcome:
    """Results of a batch; tensors are on the CPU, with one row per problem."""

    recovered: Tensor
    """Recovered signals ŝ, shape (problems, *signal_shape); of an inversion, inputs x̂."""
    distance: Tensor
    """d_S(s, ŝ); of an inversion, d_X(x, x̂)."""
    feature_distance: Tensor
    """Realised d_H(h', h)."""
    recovered_feature_distance: Tensor
    """d_H(f(x̂), h); NaN if the signal is not an input, or its feature was not computed."""
    loss: Tensor
    """L(x̂), without the prior's penalty; NaN for a readout without a loss, as are floor and scale."""
    floor: Tensor
    """L(x), the loss at the true input."""
    scale: Tensor
    """Loss between h and its mean; Var(h) for a squared error."""
    steps: Tensor
    """Optimisation steps before the scored iterate."""
    dead: Tensor
    """Whether the prior collapsed or the loss was not finite."""
    best_distance: Tensor
    """Smallest d_X among the recorded steps and the scored iterate."""
    best_step: Tensor
    """Step of the smallest d_X."""
    metrics: dict[str, Tensor]
    """Further scores by name."""
    trajectory: Trajectory
    """Recorded steps."""
    complete: bool
    """Whether every problem ran all steps, stopped by the protocol or died; False if something else ended the fit."""
    feature_dim: Tensor
    """Dimensions of each feature, without padding."""
    seconds: float
    """Wall time of the whole batch."""
    reasons: Mapping[int, str]
    """Reason per problem without a target, by its index in the batch; the scores of such a problem are void."""
