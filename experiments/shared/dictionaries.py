"""Shared parts of experiments with dictionaries: codes, their scores and sizes, and hierarchical sources."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from experiments.shared.curves import crossing
from experiments.shared.harness import Experiment
from readout.codes import Coder, Dictionary, SparseCodes, Superposition
from readout.common.checks import check_number, check_seed, check_whole
from readout.data import InputData, Sample
from readout.metrics import CodeMCC, DictionaryMCC
from readout.readouts import CodeReadout

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


def drawn(data: SparseCodes, network: Superposition) -> Tensor:
    """Return the codes of a network's latents, shape (codes, N)."""
    data.prepare_for(network)
    return torch.stack([sample.input for sample in data])


def infer(dictionary: Dictionary, coder: Coder, features: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Return the codes of features, in units of standardised ones, shape (rows, N).

    Args:
        dictionary: The dictionary.
        coder: Infers codes.
        features: Shape (rows, M).
        iterations: Most iterations of the coder.
    """
    coder.prepare_for(Superposition(dictionary))
    return coder.infer(dictionary.standardise(features), iterations)


def code_mcc(true: Tensor, found: Tensor) -> float:
    """Return :class:`readout.metrics.CodeMCC` of codes, shapes (samples, N) and (samples, N')."""
    metric = CodeMCC()
    metric.update(true, found)
    return float(metric.compute())


def dictionary_mcc(true: Tensor, found: Tensor) -> float:
    """Return :class:`readout.metrics.DictionaryMCC` of one pair of dictionaries, shapes (N, M) and (N', M)."""
    metric = DictionaryMCC()
    metric.update(true, found)
    return float(metric.compute())


def size_of_codes(
    experiment: Experiment[Any],
    name: str,
    dictionary: Dictionary,
    coder: Coder,
    steps: int,
    codes: SparseCodes,
    levels: Sequence[float],
    seed: int,
) -> tuple[float, float]:
    """Run or resume a sweep of codes.

    Args:
        experiment: Runs it.
        name: Sub-folder of the sweep.
        dictionary: Of the network, and of the coder.
        coder: Reads codes.
        steps: Its iterations.
        codes: The true codes.
        levels: Perturbation levels, 0 among them.
        seed: Seed of the noise.

    Returns:
        Level at which half of the codes are not recovered, and share that is at level 0.
    """
    readout = CodeReadout(Superposition(dictionary), coder, record_every=steps)
    results = experiment.sweep(name, readout, codes, steps=steps, layers="all", levels=levels, seed=seed)
    lost = (results["verdict"] != "recovered").groupby(results["level"]).mean()
    return crossing(lost.index.tolist(), lost.tolist(), 0.5), 1 - lost.loc[0]
