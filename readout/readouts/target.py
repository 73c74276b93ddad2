"""The targets of a batch: perturbed features, with the losses and distances relative to them."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from readout.common.errors import ReadoutError
from readout.common.padding import expand
from readout.metrics import correlation_distance
from readout.metrics.correlation import extremes
from readout.perturbations import CONSTANT, Origin, Perturbation, RowPerturbation
from readout.readouts.batch import ProblemBatch
from readout.readouts.losses import FeatureLoss

Reasons = dict[int, str]
"""Reason per problem without a target, by its index in the batch."""

INFINITE = "values that are not finite"

ROWS = 16
"""Features whose distances are computed together."""


@dataclass(frozen=True)
class Target:
    """Clean features h and perturbed features h', one row per problem, with reference losses and distances."""

    clean: Tensor
    perturbed: Tensor
    mask: Tensor | None
    """True where a text has a token, shape (problems, positions); None for images."""
    loss: FeatureLoss | None
    """None for a readout without a loss, whose floors and scales are NaN."""
    floor: Tensor
    """L(x), the loss at the true input, shape (problems,)."""
    scale: Tensor
    """Loss between h and its mean, shape (problems,); Var(h) for a squared error."""
    feature_distance: Tensor
    """Realised d_H(h', h), shape (problems,)."""

    @classmethod
    def make(cls, clean: Tensor, perturbed: Tensor, mask: Tensor | None, loss: FeatureLoss | None) -> Self:
        """Build the target of features of shape (problems, ...)."""
        unknown = clean.new_full((len(clean),), torch.nan)
        return cls(
            clean,
            perturbed,
            mask,
            loss,
            floor=unknown if loss is None else _losses(loss, clean, perturbed, mask),
            scale=unknown if loss is None else loss.scale(clean, mask),
            feature_distance=_realised(clean.cpu(), perturbed.cpu(), None if mask is None else mask.cpu()),
        )

    def denoised(self, perturbed: Tensor) -> Self:
        """Replace the features to explain, whatever moved them; d_H stays what it was."""
        if self.loss is None:
            return replace(self, perturbed=perturbed)
        floor = _losses(self.loss, self.clean, perturbed, self.mask)
        return replace(self, perturbed=perturbed, floor=floor)

    def of(self, rows: Tensor) -> Self:
        """Select problems."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        changes: dict[str, Any] = {name: value[rows] for name, value in values if isinstance(value, Tensor)}
        return replace(self, **changes)

    def losses(self, feature: Tensor) -> Tensor:
        """Return the loss of each feature against h', shape (problems,)."""
        assert self.loss is not None
        return _losses(self.loss, feature, self.perturbed, self.mask)

    def distances(self, feature: Tensor) -> Tensor:
        """Return d_H between each feature and h, shape (problems,)."""
        return correlation_distance(feature, self.clean, self.mask)

    def dimensions(self) -> Tensor:
        """Count the dimensions of each feature, without padding, shape (problems,)."""
        counts = torch.ones_like(self.clean, dtype=torch.bool) if self.mask is None else expand(self.mask, self.clean)
        return counts.flatten(1).sum(1)


def make_target(
    clean: Tensor, problems: ProblemBatch, mask: Tensor | None, loss: FeatureLoss | None, origin: Origin | None
) -> tuple[Target, Reasons]:
    """Perturb features, and find problems without a target, whose features are set to 0.

    A problem of external features has level NaN, and its perturbation returns the feature from the file.

    Args:
        clean: Features of the true inputs, shape (problems, ...).
        problems: Batch with levels, seeds and perturbation.
        mask: See :class:`Target`.
        loss: Loss between features, if the readout has one.
        origin: Where the features come from, if the perturbation needs that.

    Returns:
        Target of the batch, and a reason per problem without one.
    """
    known, leveled = problems.known.tolist(), (~problems.levels.isnan()).tolist()
    reasons = {
        place: reason
        for place, reason in unusable(clean, mask).items()
        if known[place] and (leveled[place] or INFINITE in reason)
    }
    perturbed = _perturbed(clean, problems, mask, origin, reasons)
    moved = unusable(perturbed, mask)
    reasons |= {place: f"perturbed, {moved[place]}" for place in moved if leveled[place] and place not in reasons}
    target = Target.make(_zeroed(clean, reasons), _zeroed(perturbed, reasons), mask, loss)
    if loss is None:
        return target, reasons
    judged = (target.floor.isfinite() & target.scale.isfinite()).tolist()
    lost = [place for place in range(len(clean)) if known[place] and leveled[place] and not judged[place]]
    if lost:
        reasons |= dict.fromkeys(lost, "the loss at its true input is not finite")
        target = Target.make(_zeroed(clean, reasons), _zeroed(perturbed, reasons), mask, loss)
    return target, reasons


def unusable(feature: Tensor, mask: Tensor | None = None) -> Reasons:
    """Find features without a correlation distance: constant or not finite.

    Args:
        feature: Shape (problems, ...).
        mask: See :class:`Target`.

    Returns:
        Reason per such feature, by its index.

    Examples:
        >>> unusable(torch.tensor([[1.0, 2.0], [1.0, float("inf")]]))
        {1: 'its feature has values that are not finite'}
    """
    counts = None if mask is None else expand(mask, feature).flatten(1)
    low, high = extremes(feature.reshape(len(feature), -1), counts)
    finite, constant = low.isfinite() & high.isfinite(), low == high
    found = zip(finite.tolist(), constant.tolist(), strict=True)
    said = [f"its feature has {CONSTANT if is_finite else INFINITE}" for is_finite, _ in found]
    return {place: said[place] for place in (constant | ~finite).nonzero().flatten().tolist()}


def _perturbed(
    clean: Tensor, problems: ProblemBatch, mask: Tensor | None, origin: Origin | None, reasons: Reasons
) -> Tensor:
    """Perturb features; a failure sets the row to 0 and adds the perturbation's own reason to ``reasons``."""

    def perturb(rows: slice) -> Tensor:
        own = problems.levels[rows], problems.noise_seeds[rows], None if mask is None else mask[rows]
        return perturb_rows(problems.perturbation, clean[rows], *own, origin and origin.of(rows))

    if not reasons:
        with suppress(ReadoutError):  # the error does not name its row, so go on row by row
            return perturb(slice(None))
    perturbed = torch.zeros_like(clean)
    for place in range(len(clean)):
        if place not in reasons:
            try:
                perturbed[place] = perturb(slice(place, place + 1))[0]
            except ReadoutError as error:
                reasons[place] = str(error).rstrip(".")
    return perturbed


def perturb_rows(
    perturbation: Perturbation,
    feature: Tensor,
    levels: Tensor,
    seeds: Sequence[int],
    mask: Tensor | None,
    origin: Origin | None,
) -> Tensor:
    """Call a perturbation with the arguments that it takes; see :class:`readout.perturbations.Perturbation`."""
    if origin is not None:
        assert isinstance(perturbation, RowPerturbation)
        return perturbation.from_origin(feature, levels, seeds, mask, origin)
    padded = () if mask is None else (mask,)  # a perturbation for images may omit the argument
    return perturbation(feature, levels, seeds, *padded)


def _zeroed(feature: Tensor, places: Collection[int]) -> Tensor:
    if not places:
        return feature
    return feature.index_fill(0, torch.tensor(list(places), device=feature.device), 0.0)


def _realised(clean: Tensor, perturbed: Tensor, mask: Tensor | None) -> Tensor:
    """Return the d_H that is reported, in float64, which not every accelerator has."""
    # few rows at a time, whose intermediate results stay in the processor's cache
    groups = (slice(start, start + ROWS) for start in range(0, len(clean), ROWS))
    return torch.cat(
        [
            correlation_distance(perturbed[rows].double(), clean[rows].double(), None if mask is None else mask[rows])
            for rows in groups
        ]
    )


def _losses(loss: FeatureLoss, feature: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    # a loss for images may omit the argument
    losses: Tensor = loss(feature, target) if mask is None else loss(feature, target, mask)
    return losses
