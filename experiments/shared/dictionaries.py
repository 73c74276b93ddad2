"""Shared parts of experiments with dictionaries: codes, their scores, and hierarchical sources."""

import torch
from torch import Tensor

from readout.codes import Coder, Dictionary, Superposition
from readout.common.checks import check_number, check_seed, check_whole
from readout.data import InputData, Sample
from readout.metrics import DictionaryMCC

ITERATIONS = 200
"""Most iterations of a coder."""


class Tree(InputData):
    """Hierarchical codes: a child is active only with its parent, and at most one child of a parent is.

    Latents are the parents, then the first parent's children, the second's, and so on. All active latents are 1.

    Args:
        count: Number of codes.
        parents: Number of parents.
        children: Number of children of each parent.
        active: Number of active parents of each code.
        share: Probability that an active parent has an active child.
        seed: Seed of the codes.

    Raises:
        ReadoutError: if a number is out of range.
    """

    def __init__(
        self, count: int, parents: int, children: int, active: int = 1, share: float = 0.5, seed: int = 0
    ) -> None:
        super().__init__()
        self.count, self.parents = check_whole("count", count, 1), check_whole("parents", parents, 1)
        self.children, self.active = check_whole("children", children, 1), check_whole("active", active, 1, parents)
        self.share = check_number("share", share, 0, 1)
        generator = torch.Generator().manual_seed(check_seed("seed", seed))
        chosen = torch.rand(count, parents, generator=generator).argsort(1)[:, :active]
        which = parents + chosen * children + torch.randint(children, chosen.shape, generator=generator)
        with_child = (torch.rand(chosen.shape, generator=generator) < share).float()
        codes = torch.zeros(count, parents * (1 + children))
        self.codes = codes.scatter(1, chosen, 1).scatter(1, which, with_child)

    @property
    def parent_of(self) -> list[int]:
        """Parent of each latent, −1 for the parents."""
        return [-1] * self.parents + [parent for parent in range(self.parents) for _ in range(self.children)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"code_{index:06d}", self.codes[index])


def infer(dictionary: Dictionary, coder: Coder, features: Tensor) -> Tensor:
    """Return the codes of features, in units of standardised ones, shape (rows, N).

    Args:
        dictionary: The dictionary.
        coder: Infers codes.
        features: Shape (rows, M).
    """
    coder.prepare_for(Superposition(dictionary))
    return coder.infer(dictionary.standardise(features), ITERATIONS)


def dictionary_mcc(true: Tensor, found: Tensor) -> float:
    """Return :class:`readout.metrics.DictionaryMCC` of one pair of dictionaries, shapes (N, M) and (N', M)."""
    metric = DictionaryMCC()
    metric.update(true, found)
    return float(metric.compute())
