"""A feature that is given stands where otherwise a perturbation moves one to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from readout.perturbations import Perturbation
from readout.problems import Problem
from readout.problems.identity import digest


@dataclass(frozen=True)
class ExternalProblem(Problem):
    """One feature that is given, to be inverted; it has no level (NaN), and its digest stands for the input's.

    Seeds follow from the feature alone, so what is recovered does not depend on whether the true input is known.
    """

    true_digest: str = ""
    """Of the true input, against which it is scored; empty where that is not known."""

    @cached_property
    def key(self) -> str:
        """See :class:`readout.problems.Problem`; the true input decides the scores."""
        return digest([super().key, self.true_digest])[:32]


class ExternalFeatures(Perturbation):
    """Moves every feature to where it was found, whatever the true one is.

    Args:
        features: Layer → feature of each problem, under its :attr:`readout.problems.Problem.noise_seed`. Several layers
            are concatenated as in :class:`readout.external.JoinedLayers`, or at each position of a text as in
            :class:`readout.external.JoinedTextLayers`.
    """

    def __init__(self, features: Mapping[int, Mapping[str, Tensor]]) -> None:
        self.features = features

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """See :class:`readout.perturbations.Perturbation`."""
        if mask is None:
            given = [torch.cat([part.flatten() for part in self.features[seed].values()]) for seed in seeds]
            return torch.stack(given).view(feature.shape).to(feature)
        moved = torch.zeros_like(feature)  # not what was there: of an unknown text padding is not a number either
        for row, seed in enumerate(seeds):
            moved[row, mask[row]] = torch.cat([*self.features[seed].values()], -1).to(feature)
        return moved


def unknown(input_shape: Sequence[int]) -> Tensor:
    """What stands for a true input that is not known: NaN, and so is all that would be measured against it."""
    return torch.full(tuple(input_shape), torch.nan)
