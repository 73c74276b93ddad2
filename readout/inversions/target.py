"""What the features of a batch are driven towards, and how far from it they are."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from readout.common.errors import ReadoutError
from readout.common.padding import expand
from readout.inversions.batch import ProblemBatch
from readout.inversions.losses import FeatureLoss
from readout.metrics import correlation_distance
from readout.metrics.correlation import everywhere
from readout.perturbations import CONSTANT

Reasons = dict[int, str]
"""Why there is no target, by place in the batch; such a problem is marked, and the others go on."""

INFINITE = "values that are not finite"


@dataclass(frozen=True)
class Target:
    """Clean features h and perturbed features h', one row a problem, with what follows from them."""

    clean: Tensor
    perturbed: Tensor
    mask: Tensor | None
    """What features consist of, over leading dimensions; the rest is padding."""
    loss: FeatureLoss
    floor: Tensor
    """L(x), the loss at the true input, shape (problems,)."""
    scale: Tensor
    """Loss between h and its own mean; for a squared error Var(h). Shape (problems,)."""
    feature_distance: Tensor
    """Realised d_H(h', h), shape (problems,)."""

    @classmethod
    def make(cls, clean: Tensor, perturbed: Tensor, mask: Tensor | None, loss: FeatureLoss) -> Self:
        """The target of features of shape (problems, ...)."""
        # on the CPU: not every accelerator has float64
        wide = (perturbed.cpu().double(), clean.cpu().double(), None if mask is None else mask.cpu())
        return cls(
            clean,
            perturbed,
            mask,
            loss,
            floor=_losses(loss, clean, perturbed, mask),
            scale=loss.scale(clean, mask),
            feature_distance=correlation_distance(*wide),
        )

    def of(self, rows: Tensor) -> Self:
        """The target of these problems only."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        changes: dict[str, Any] = {name: value[rows] for name, value in values if isinstance(value, Tensor)}
        return replace(self, **changes)

    def losses(self, feature: Tensor) -> Tensor:
        """Loss of each feature against h', shape (problems,)."""
        return _losses(self.loss, feature, self.perturbed, self.mask)

    def distances(self, feature: Tensor) -> Tensor:
        """d_H of each feature to h, shape (problems,)."""
        return correlation_distance(feature, self.clean, self.mask)

    def dimensions(self) -> Tensor:
        """Dimensions of each feature, padding left out, shape (problems,)."""
        counts = torch.ones_like(self.clean, dtype=torch.bool) if self.mask is None else expand(self.mask, self.clean)
        return counts.flatten(1).sum(1)


def make_target(
    clean: Tensor, problems: ProblemBatch, mask: Tensor | None, loss: FeatureLoss
) -> tuple[Target, Reasons]:
    """Perturb features, and find the problems that have no target; zeros stand for the features of those.

    Args:
        clean: Features of the true inputs, shape (problems, ...).
        problems: What is perturbed, and how. Of a problem without a level the perturbed feature is given.
        mask: See :class:`Target`.
        loss: Between features.
    """
    known, leveled = problems.known.tolist(), (~problems.levels.isnan()).tolist()
    reasons = {
        place: reason
        for place, reason in unusable(clean, mask).items()
        if known[place] and (leveled[place] or INFINITE in reason)
    }
    perturbed = _perturbed(clean, problems, mask, reasons)
    moved = unusable(perturbed, mask)
    reasons |= {place: f"perturbed, {moved[place]}" for place in moved if leveled[place] and place not in reasons}
    target = Target.make(_blanked(clean, reasons), _blanked(perturbed, reasons), mask, loss)
    judged = (target.floor.isfinite() & target.scale.isfinite()).tolist()
    lost = [place for place in range(len(clean)) if known[place] and leveled[place] and not judged[place]]
    if lost:
        reasons |= dict.fromkeys(lost, "the loss at its true input is not finite")
        target = Target.make(_blanked(clean, reasons), _blanked(perturbed, reasons), mask, loss)
    return target, reasons


def unusable(feature: Tensor, mask: Tensor | None = None) -> Reasons:
    """Which features have no correlation distance, and why.

    Args:
        feature: Shape (problems, ...).
        mask: See :class:`Target`.
    """
    counts = None if mask is None else expand(mask, feature).flatten(1)
    flat = feature.reshape(len(feature), -1)
    finite, constant = everywhere(flat.isfinite(), counts), everywhere(flat == flat[:, :1], counts)
    found = zip(finite.tolist(), constant.tolist(), strict=True)
    said = [f"its feature has {CONSTANT if is_finite else INFINITE}" for is_finite, _ in found]
    return {place: said[place] for place in (constant | ~finite).nonzero().flatten().tolist()}


def _perturbed(clean: Tensor, problems: ProblemBatch, mask: Tensor | None, reasons: Reasons) -> Tensor:
    """Perturbed features, zeros where there is none; adds the reasons of a perturbation that refuses."""

    def perturb(rows: slice) -> Tensor:
        padded = () if mask is None else (mask[rows],)  # a perturbation for images need not know of masks
        return problems.perturbation(clean[rows], problems.levels[rows], problems.noise_seeds[rows], *padded)

    if not reasons:
        with suppress(ReadoutError):  # it does not say which row it is about
            return perturb(slice(None))
    perturbed = torch.zeros_like(clean)
    for place in range(len(clean)):
        if place not in reasons:
            try:
                perturbed[place] = perturb(slice(place, place + 1))[0]
            except ReadoutError as error:
                reasons[place] = str(error).rstrip(".")
    return perturbed


def _blanked(feature: Tensor, places: Collection[int]) -> Tensor:
    if not places:
        return feature
    return feature.index_fill(0, torch.tensor(list(places), device=feature.device), 0.0)


def _losses(loss: FeatureLoss, feature: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    # a loss for images need not know of masks
    losses: Tensor = loss(feature, target) if mask is None else loss(feature, target, mask)
    return losses
