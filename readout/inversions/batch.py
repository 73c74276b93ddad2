"""What goes into one fit, and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from readout.common.padding import PADDING
from readout.inversions.trajectory import Trajectory
from readout.perturbations import Perturbation
from readout.priors.tokens import FREE


@dataclass(frozen=True)
class ProblemBatch:
    """Problems that are inverted side by side: one row each, all at one layer."""

    inputs: Tensor
    """True inputs x, shape (problems, *input_shape); token ids are padded by
    :func:`readout.common.padding.pad`. Unknown: NaN in images, :data:`readout.priors.tokens.FREE` in texts."""
    layer: str
    """A layer name of the extractor."""
    levels: Tensor
    """Target perturbation levels, shape (problems,)."""
    noise_seeds: Sequence[int]
    """Seed of each problem's noise."""
    prior_seeds: Sequence[int]
    """Seed of each problem's prior."""
    perturbation: Perturbation
    """How features are moved."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def known(self) -> Tensor:
        """Whose true input is known, shape (problems,): an image that is not NaN throughout, a text's every token."""
        if self.inputs.is_floating_point():
            return ~self.inputs.isnan().flatten(1).all(1)
        return (self.inputs != FREE).all(1)

    @property
    def mask(self) -> Tensor | None:
        """Where texts have tokens, shape (problems, positions); None for inputs that need no padding."""
        return None if self.inputs.is_floating_point() else self.inputs != PADDING


@dataclass(frozen=True)
class Outcome:
    """What came of a batch; every tensor is on the CPU, with one row a problem."""

    recovered: Tensor
    """Recovered inputs x̂, shape (problems, *input_shape)."""
    distance: Tensor
    """d_X(x, x̂)."""
    feature_distance: Tensor
    """Realised d_H(h', h)."""
    recovered_feature_distance: Tensor
    """d_H(f(x̂), h)."""
    loss: Tensor
    """L(x̂), without the prior's penalty."""
    floor: Tensor
    """L(x), the loss at the true input."""
    scale: Tensor
    """Loss between h and its own mean; for a squared error Var(h)."""
    steps: Tensor
    """Optimisation steps behind the scored iterate."""
    dead: Tensor
    """The prior collapsed, or a value was not finite."""
    best_distance: Tensor
    """Smallest d_X along the recorded trajectory, the scored iterate included."""
    best_step: Tensor
    """Where that was."""
    metrics: dict[str, Tensor]
    """Further metrics between x̂ and x."""
    trajectory: Trajectory
    """What was recorded along the way."""
    complete: bool
    """Every problem ran all of its steps, or arrived or died before; false if something else ended the fit."""
    feature_dim: Tensor
    """Dimensions of each feature, padding left out."""
    seconds: float
    """Wall time of the whole batch."""
    reasons: Mapping[int, str]
    """Why a problem has no target, by place; its scores mean nothing."""
