"""Checks of a layer before anything is spent on it, each with a sentence that says what to change."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.extractors.base import TOO_SMALL, FeatureExtractor

TOLERANCE = 0.01
"""Share of a feature's standard deviation by which it may differ from run to run.

Rounding stays below it: about 1e-6 in float32, and 1e-3 where a device multiplies in TF32 (half precision has an
allowance of its own, :data:`ROUNDINGS`). A feature that moves by this much lies at a correlation distance of 5e-5,
which no perturbation level notices. Rows that mix, and dropout, move it by tenths.
"""

ROUNDINGS = 8
"""Units of rounding of the feature's own type that are allowed on top, relative to the feature's size."""


def validate(extractor: FeatureExtractor, layer: str, example: Tensor) -> None:
    """Check that a layer can be inverted: frozen, repeatable, one row an input, differentiable.

    It costs three forward passes and one backward pass.

    Args:
        extractor: The network.
        layer: A name out of ``extractor.layers``.
        example: Inputs as they will be used, on the extractor's device and of its type, shape (batch, ...).
            At least two, or mixed rows go unseen; :func:`contrasting_pair` makes two out of one.

    Raises:
        ReadoutError: one sentence about the first thing that is wrong.
        ValueError: if there are fewer than two inputs.
    """
    if len(example) < 2:
        raise ValueError("One input can't show whether rows mix; give two or more.")
    trial = Trial(extractor, layer, example)
    for check in CHECKS:
        check(trial)


def contrasting_pair(x: Tensor) -> Tensor:
    """An input and its mirror image at half the contrast: rows that no statistic confuses.

    Args:
        x: One input, shape (...).

    Returns:
        Both, shape (2, ...).
    """
    return torch.stack([x, x.flip(-1) / 2])


@dataclass(frozen=True)
class Trial:
    """A layer run on an example, each way at most once."""

    extractor: FeatureExtractor
    layer: str
    example: Tensor

    @cached_property
    def input(self) -> Tensor:
        """The example as a leaf that gradients can reach."""
        return self.example.detach().clone().requires_grad_()

    @cached_property
    def feature(self) -> Tensor:
        """The example's feature, with the graph to :attr:`input`."""
        with torch.enable_grad():
            return self.run(self.input)

    @cached_property
    def again(self) -> Tensor:
        """The same once more."""
        with torch.no_grad():
            return self.run(self.example)

    @cached_property
    def alone(self) -> list[Tensor]:
        """The feature of each input in a batch of its own."""
        with torch.no_grad():
            return [self.run(self.example[row : row + 1]) for row in range(len(self.example))]

    def run(self, x: Tensor) -> Tensor:
        """Extract, and turn whatever goes wrong into a sentence."""
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
                f"can't be reached with inputs of {size} ({first_line(error)}); check that the network takes such "
                "inputs, and what `preprocess` makes of them.",
                error,
            )
        if not feature.numel():
            self.refuse(too_small)
        return feature

    def same(self, other: Tensor) -> bool:
        """Whether each row of ``other`` is that of the feature but for rounding."""
        # a network of half precision rounds like that, whatever type its feature is then turned to
        types = (self.feature.dtype, self.extractor.weights_type(self.example))
        rounding = ROUNDINGS * max(torch.finfo(one).eps for one in types)
        # half precision can't hold its own sums of squares
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
    """Class and first line of an exception."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *(line.strip().rstrip(".") for line in lines[:1])])


def check_mode(trial: Trial) -> None:
    """Nothing is in training mode."""
    for path, module in trial.extractor.named_modules():
        if module.training:
            raise ReadoutError(
                f"{trial.extractor.name} is in training mode (at {path or 'the top'!r}), where dropout and batch norm "
                "change features; call its `eval()`."
            )


def check_frozen(trial: Trial) -> None:
    """No parameter wants a gradient."""
    for path, parameter in trial.extractor.named_parameters():
        if parameter.requires_grad:
            raise ReadoutError(
                f"{trial.extractor.name} is not frozen: {path!r} requires a gradient; call its `requires_grad_(False)`."
            )


def check_type(trial: Trial) -> None:
    """The feature is made of real numbers."""
    if not trial.feature.is_floating_point():
        kind = str(trial.feature.dtype).removeprefix("torch.")
        trial.refuse(f"gives {kind} values, which can't be perturbed or inverted; choose one that gives real numbers.")


def check_finite(trial: Trial) -> None:
    """The feature is finite."""
    if not trial.feature.isfinite().all():
        trial.refuse("gives values that are not finite; check the weights, the inputs and the precision.")


def check_layout(trial: Trial) -> None:
    """The batch is the first dimension, whatever its size."""
    batch, feature = len(trial.example), trial.feature
    if feature.shape[:1] != (batch,) or any(one.shape != (1, *feature.shape[1:]) for one in trial.alone):
        trial.refuse(
            f"gives shape {tuple(feature.shape)} for {batch} inputs and {tuple(trial.alone[0].shape)} for one, so its "
            "rows are not the inputs; bring the batch first by overriding `feature`."
        )
    if feature.numel() == batch:
        trial.refuse("gives one number per input, which has no correlation distance; choose an earlier layer.")


def check_repeatable(trial: Trial) -> None:
    """The same inputs give the same feature."""
    if not trial.same(trial.again):
        trial.refuse("gives another feature when it runs again; take out dropout and other randomness.")


def check_rows(trial: Trial) -> None:
    """An input has the same feature alone as in a batch."""
    if not trial.same(torch.cat(trial.alone)):
        trial.refuse(
            "gives an input another feature in a batch than alone, so inputs would mix; take out what joins rows "
            "(batch statistics, attention over the batch), or bring the batch first by overriding `feature`."
        )


def check_gradient(trial: Trial) -> None:
    """A gradient arrives at the input."""
    advice = "take out `torch.no_grad`, `detach` and rounding before it, or choose another layer."
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
"""In this order: what would make a later one fail comes first."""
