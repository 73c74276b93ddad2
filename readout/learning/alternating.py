"""Alternating sparse coding: codes for the atoms, then atoms for the codes, from several starts side by side."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from readout.codes import FISTA, Coder, Dictionary
from readout.codes.proximal import largest_step
from readout.common.checks import check_number, check_whole
from readout.learning.activations import Rows
from readout.learning.learner import DictionaryLearner

UNUSED = 1e-8
"""Sum of a latent's squared codes below which its atom is replaced."""


class AlternatingLearner(DictionaryLearner):
    """Minimises ½‖S D − H‖² + λ‖S‖₁ over codes and unit atoms, in turns, and keeps the start that ends lowest.

    A training step infers the codes of all rows by FISTA from where the last one ended, then fits one atom after
    another. Fewer starts end in bad minima if λ begins larger and falls, over the first half, to what is asked for. The
    start that is kept is chosen by the objective alone. With λ = 0 it is semi-nonnegative matrix factorisation (Ding et
    al., 2010). ``objective``, that of the best start, is logged.

    Args:
        latents: N.
        penalty_weight: λ, in units of standardised features.
        start_weight: λ of the first step; None for 4 λ.
        nonnegative: Whether codes can't be negative.
        restarts: Number of starts.
        iterations: FISTA's iterations per step.
        most_rows: Most rows that are used, all of them in every step.
        seed: Seed of the first atoms, which are rows.

    Raises:
        ReadoutError: if a number is out of range.
    """

    atoms: Tensor
    """Shape (starts, N, M)."""
    codes: Tensor
    """Shape (starts, rows, N)."""
    feature: Tensor
    """Standardised rows that are used, shape (rows, M)."""
    taken: Tensor
    """Steps taken."""

    def __init__(
        self,
        latents: int,
        penalty_weight: float = 0.05,
        start_weight: float | None = None,
        nonnegative: bool = True,
        restarts: int = 4,
        iterations: int = 30,
        most_rows: int = 10_000,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.latents = check_whole("model.latents", latents, 1)
        self.penalty_weight = check_number("model.penalty_weight", penalty_weight, 0)
        start = 4 * penalty_weight if start_weight is None else start_weight
        self.start_weight = check_number("model.start_weight", start, penalty_weight)
        self.nonnegative = nonnegative
        self.restarts = check_whole("model.restarts", restarts, 1)
        self.iterations = check_whole("model.iterations", iterations, 1)
        self.most_rows = check_whole("model.most_rows", most_rows, 1)
        self.automatic_optimization = False

    def begin(self, rows: Rows, steps: int) -> None:
        """See :class:`DictionaryLearner`."""
        self.rows, self.steps = rows, steps
        used = torch.randperm(len(rows.training), generator=self._generator("rows"))[: self.most_rows]
        self.register_buffer("feature", rows.standardised(rows.training, used), persistent=False)
        first = [self._first_atoms(start) for start in range(self.restarts)]
        self.register_buffer("atoms", torch.stack(first))
        self.register_buffer("codes", torch.zeros(self.restarts, len(used), self.latents))
        self.register_buffer("taken", torch.zeros((), dtype=torch.long))

    @property
    def steps_taken(self) -> int:
        """Number of steps taken."""
        return int(self.taken)

    def configure_optimizers(self) -> None:
        """Return None: steps are the alternation's own."""

    @torch.no_grad()
    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        """Infer codes and fit atoms once, for every start.

        Args:
            batch: Ignored.
            batch_idx: Ignored.
        """
        weight = self._weight(self.steps_taken)
        self.codes = self._infer(weight, self.iterations)
        self._fit_atoms()
        self.log("objective", self.objectives().min())
        self.taken += 1
        if self.steps_taken >= self.steps:
            self.trainer.should_stop = True

    @torch.no_grad()
    def objectives(self) -> Tensor:
        """Return the objective per row of each start at the λ that was asked for, shape (starts,)."""
        left = (self.codes @ self.atoms - self.feature).square().sum((1, 2)) / 2
        sums: Tensor = left + self.penalty_weight * self.codes.abs().sum((1, 2))
        return sums / len(self.feature)

    @torch.no_grad()
    def learnt(self) -> Dictionary:
        """See :class:`DictionaryLearner`; atoms of signed codes point to where most of their codes are positive."""
        best = int(self.objectives().argmin())
        signs = torch.where(self.codes[best].pow(3).sum(0) < 0, -1.0, 1.0).unsqueeze(1)
        return Dictionary((signs * self.atoms[best]).cpu(), self.rows.mean, self.rows.scale)

    def coder(self) -> Coder:
        """See :class:`DictionaryLearner`."""
        return FISTA(self.penalty_weight, nonnegative=self.nonnegative)

    def _first_atoms(self, start: int) -> Tensor:
        """Draw different rows as first atoms of a start, shape (N, M); random directions where there are too few."""
        generator = self._generator("atoms", start)
        shuffled = self.feature[torch.randperm(len(self.feature), generator=generator)]
        drawn = _different(shuffled[: self.latents])
        if len(drawn) < self.latents:
            drawn = _different(shuffled)[: self.latents]
        norms = drawn.norm(dim=1)
        drawn = drawn[norms > UNUSED * norms.max()]
        more = torch.randn(self.latents - len(drawn), drawn.shape[1], generator=generator)
        return normalize(torch.cat([drawn, more]), dim=1)

    def _weight(self, step: int) -> float:
        """Return λ of a step: geometrically falling over the first half, then as asked for."""
        share = min(1.0, 2 * step / self.steps)
        if not self.penalty_weight:
            return self.start_weight * (1 - share)
        return float(self.start_weight * (self.penalty_weight / self.start_weight) ** share)

    def _infer(self, weight: float, iterations: int) -> Tensor:
        """Return codes after FISTA's iterations, from where the last ones ended."""
        coder = FISTA(weight, nonnegative=self.nonnegative)
        coder.atoms, coder.feature = self.atoms, self.feature
        coder.step = largest_step(self.atoms).to(self.atoms).view(-1, 1, 1)
        coder.start(self.codes)
        for _ in range(iterations):
            coder.iterate()
        return coder.codes

    def _fit_atoms(self) -> None:
        """Minimise the squared error over one unit atom after another; unused ones become rows explained worst.

        Each has its minimum in closed form while the others stay (Mairal et al., "Online learning for matrix
        factorization and sparse coding", 2010).
        """
        gram, cross = self.codes.mT @ self.codes, self.codes.mT @ self.feature
        diagonal = gram.diagonal(dim1=1, dim2=2)
        atoms = self.atoms.clone()
        for latent in range(self.latents):
            towards = cross[:, latent] - (gram[:, latent].unsqueeze(1) @ atoms).squeeze(1)
            moved = atoms[:, latent] + towards / diagonal[:, latent, None].clamp_min(UNUSED)
            atoms[:, latent] = normalize(moved, dim=1)
        for start, latent in (diagonal < UNUSED).nonzero().tolist():
            left = self.feature - self.codes[start] @ atoms[start]
            worst = left.square().sum(1).argmax()
            atoms[start, latent] = normalize(left[worst], dim=0)
            self.codes[start, worst, latent] = left[worst].norm()
        self.atoms = atoms


def _different(rows: Tensor) -> Tensor:
    """Leave out rows that came before, because equal atoms would never separate."""
    _, places = np.unique(rows.numpy(force=True), axis=0, return_index=True)
    return rows[torch.from_numpy(np.sort(places))]
