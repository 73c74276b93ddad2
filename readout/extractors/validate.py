"""Checks that a layer can be inverted, each with an error sentence that says what to change."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.extractors.base import TOO_SMALL, FeatureExtractor

TOLERANCE = 0.01
"""Largest difference between two runs, as a share of the feature's standard deviation.

Rounding stays below it: about 1e-6 in float32 and 1e-3 in TF32 (half precision has its own allowance,
:data:`ROUNDINGS`). A difference this large is a correlation distance of 5e-5, far below any perturbation level.
Rows that mix, and dropout, make a difference of tenths.
"""

ROUNDINGS = 8
"""Further difference allowed: machine epsilons of the coarser dtype (feature or weights) times the feature's norm."""


def validate(extractor: FeatureExtractor, layer: str, example: Tensor) -> None:
    """Check that a layer can be inverted: frozen, repeatable, one row per input, differentiable.

    The checks cost two forward passes of the batch, one of each input alone, and one backward pass.

    Args:
        extractor: The network.
        layer: A name in ``extractor.layers``.
        example: At least two inputs like those to be used, on the extractor's device, shape (batch, ...); one input
            can't show whether rows mix, and :func:`contrasting_pair` makes two of it.

    Raises:
        ReadoutError: for the first check that fails.
        ValueError: if there are fewer than two inputs.

    Examples:
        >>> from readout.extractors import OrthonormalLinear
        >>> extractor = OrthonormalLinear(input_shape=(3, 4, 4))
        >>> validate(extractor, "linear", torch.rand(2, 3, 4, 4))
        >>> extractor.requires_grad_(True)
        OrthonormalLinear(...)
        >>> validate(extractor, "linear", torch.rand(2, 3, 4, 4))
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: OrthonormalLinear is not frozen: ...
    """
    if len(example) < 2:
        raise ValueError("One input can't show whether rows mix; pass two or more.")
    trial = Trial(extractor, layer, example)
    for check in CHECKS:
        check(trial)


def contrasting_pair(x: Tensor) -> Tensor:
    """Stack an input and its mirror image at half the values, so that statistics of the two rows differ.

    Args:
        x: One input, shape (...).

    Returns:
        Both, shape (2, ...).
    """
    return torch.stack([x, x.flip(-1) / 2])


@dataclass(frozen=True)
class Trial:
    """A layer on an example, with each kind of run cached."""

    extractor: FeatureExtractor
    layer: str
    example: Tensor

    @cached_property
    def input(self) -> Tensor:
        """The example, as a leaf tensor that requires a gradient."""
        return self.example.detach().clone().requires_grad_()

    @cached_property
    def feature(self) -> Tensor:
        """Feature of the example, differentiable with respect to :attr:`input`."""
        with torch.enable_grad():
            return self.run(self.input)

    @cached_property
    def again(self) -> Tensor:
        """Feature of the example from a second run."""
        with torch.no_grad():
            return self.run(self.example)

    @cached_property
    def alone(self) -> list[Tensor]:
        """Feature of each input in a batch of its own."""
        with torch.no_grad():
            return [self.run(self.example[row : row + 1]) for row in range(len(self.example))]

    def run(self, x: Tensor) -> Tensor:
        """Extract the feature, turning any exception into an error sentence."""
        size = " × ".join(map(str, x.shape[1:]))
        too_small = f"can't be reached with inputs of {size}, which are too small for it; use larger inputs."
        try:
            feature = self.extractor.extract(x, self.layer)
        except ReadoutError:
            raise
        except Exception as error:
            if TOO_SMALL.search(str(error)):
                self.refuse(too_small, error)
            self.refuse(
                f"can't be reached with inputs of {size} ({first_line(error)}); check that the network accepts such "
                "inputs and what `preprocess` makes of them.",
                error,
            )
        if not feature.numel():
            self.refuse(too_small)
        return feature

    def same(self, other: Tensor) -> bool:
        """Return whether each row of ``other`` equals the feature's, up to rounding."""
        # a half-precision network rounds as such even if its feature is cast to float32 afterwards
        types = (self.feature.dtype, self.extractor.weights_type(self.example))
        rounding = ROUNDINGS * max(torch.finfo(one).eps for one in types)
        # sums of squares overflow in half precision
        wide = torch.promote_types(self.feature.dtype, torch.float32)
        rows = len(other)
        feature, other = self.feature.detach().to(wide).reshape(rows, -1), other.to(wide).reshape(rows, -1)
        spread = (feature - feature.mean(1, keepdim=True)).norm(dim=1)
        allowed = TOLERANCE * spread + rounding * feature.norm(dim=1)
        return bool(((feature - other).norm(dim=1) <= allowed).all())

    def refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        """Raise an error about this layer."""
        raise ReadoutError(f"Layer {self.layer!r} of {self.extractor.name} {reason}") from cause


def first_line(error: Exception) -> str:
    """Return the class and the first line of an exception."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *(line.strip().rstrip(".") for line in lines[:1])])


def check_mode(trial: Trial) -> None:
    """Check that no module is in training mode."""
    for path, module in trial.extractor.named_modules():
        if module.training:
            raise ReadoutError(
                f"{trial.extractor.name} is in training mode (at {path or 'the top'!r}), where dropout and batch norm "
                "change features; call its `eval()`."
            )


def check_frozen(trial: Trial) -> None:
    """Check that no parameter requires a gradient."""
    for path, parameter in trial.extractor.named_parameters():
        if parameter.requires_grad:
            raise ReadoutError(
                f"{trial.extractor.name} is not frozen: {path!r} requires a gradient; call its `requires_grad_(False)`."
            )


def check_type(trial: Trial) -> None:
    """Check that the feature holds real numbers."""
    if not trial.feature.is_floating_point():
        kind = str(trial.feature.dtype).removeprefix("torch.")
        trial.refuse(f"returns {kind} values, which can't be perturbed or inverted; choose one with real numbers.")


def check_finite(trial: Trial) -> None:
    """Check that the feature is finite."""
    if not trial.feature.isfinite().all():
        trial.refuse("returns values that are not finite; check the weights, the inputs and the precision.")


def check_layout(trial: Trial) -> None:
    """Check that the batch is the first dimension, and a feature more than one number."""
    batch, feature = len(trial.example), trial.feature
    if feature.shape[:1] != (batch,) or any(one.shape != (1, *feature.shape[1:]) for one in trial.alone):
        trial.refuse(
            f"returns shape {tuple(feature.shape)} for {batch} inputs and {tuple(trial.alone[0].shape)} for one, so "
            "its rows are not the inputs; override `feature` to move the batch first."
        )
    if feature.numel() == batch:
        trial.refuse("returns one number per input, which has no correlation distance; choose an earlier layer.")


def check_repeatable(trial: Trial) -> None:
    """Check that a second run gives the same feature."""
    if not trial.same(trial.again):
        trial.refuse("returns a different feature when it runs again; remove dropout and other randomness.")


def check_rows(trial: Trial) -> None:
    """Check that an input has the same feature alone as in a batch."""
    if not trial.same(torch.cat(trial.alone)):
        trial.refuse(
            "returns a different feature for an input in a batch than alone, so inputs would mix; remove what joins "
            "rows (batch statistics, attention over the batch), or override `feature` to move the batch first."
        )


def check_gradient(trial: Trial) -> None:
    """Check that a gradient reaches the input."""
    advice = "remove `torch.no_grad`, `detach` and rounding before it, or choose another layer."
    if not trial.feature.requires_grad:
        trial.refuse(f"passes no gradient to its input; {advice}")
    # a random direction: after a softmax, say, the plain sum has no gradient
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(trial.feature.shape, generator=generator).to(trial.feature)
    try:
        (gradient,) = torch.autograd.grad(trial.feature, trial.input, direction, allow_unused=True)
    except RuntimeError as error:
        trial.refuse(f"has no gradient ({first_line(error)}); {advice}", error)
    if gradient is None or not gradient.any():
        trial.refuse(f"passes no gradient to its input; {advice}")


CHECKS: tuple[Callable[[Trial], None], ...] = (
    check_mode,
    check_frozen,
    check_type,
    check_finite,
    check_layout,
    check_repeatable,
    check_rows,
    check_gradient,
)
"""Checks in order: a cause that would fail later checks too comes first."""
