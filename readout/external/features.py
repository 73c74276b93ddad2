"""External features as problems and as a perturbation."""

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
    """An external feature to invert; its level is NaN, and its digest stands in for the input's.

    Seeds derive from the feature alone, so the recovered input does not depend on whether the true one is known.
    """

    true_digest: str = ""
    """Digest of the true input that scores are computed against; empty if it is unknown."""

    @cached_property
    def key(self) -> str:
        """See :class:`readout.problems.Problem`; includes the true input, on which the scores depend."""
        return digest([super().key, self.true_digest])[:32]


class ExternalFeatures(Perturbation):
    """A perturbation that replaces every feature by an external one.

    Args:
        features: Noise seed of a problem (:attr:`readout.problems.Problem.noise_seed`) → layer → feature. Several
            layers are concatenated as in :class:`readout.external.JoinedLayers`, or at each position of a text as in
            :class:`readout.external.JoinedTextLayers`.

    Examples:
        >>> external = ExternalFeatures({7: {"early": torch.ones(2), "late": torch.zeros(1)}})
        >>> external(torch.rand(1, 3), levels=torch.tensor([torch.nan]), seeds=[7])
        tensor([[1., 1., 0.]])
    """

    def __init__(self, features: Mapping[int, Mapping[str, Tensor]]) -> None:
        self.features = features

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """See :class:`readout.perturbations.Perturbation`."""
        if mask is None:
            rows = [torch.cat([part.flatten() for part in self.features[seed].values()]) for seed in seeds]
            return torch.stack(rows).view(feature.shape).to(feature)
        moved = torch.zeros_like(feature)  # zeros in the padding, because an unknown text is NaN there too
        for row, seed in enumerate(seeds):
            moved[row, mask[row]] = torch.cat([*self.features[seed].values()], -1).to(feature)
        return moved


def unknown(input_shape: Sequence[int]) -> Tensor:
    """Return a placeholder for an unknown true input: NaN, so that every measure against it is NaN."""
    return torch.full(tuple(input_shape), torch.nan)
