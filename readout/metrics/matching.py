"""Scores of found codes and dictionaries against true ones.

Two metrics are called MCC (mean correlation coefficient) in the literature and differ: :class:`CodeMCC` correlates
latents over samples, :class:`DictionaryMCC` takes cosines of atoms. Neither is near 0 by chance, so compare them with
:func:`mcc_chance` and :func:`dictionary_mcc_chance`.
"""

from itertools import combinations

import torch
from torch import Tensor

from readout.codes.dictionary import Dictionary
from readout.common.checks import check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.metrics.dataset import DatasetMetric, check_rows

CONSTANT = 1e-12
"""Share of a second moment below which a variance is rounding."""

SALT = 0x5EED
"""Keeps random dictionaries apart from a true one that was drawn with the same seed."""


class CodeMCC(DatasetMetric):
    """Mean |Pearson correlation| of true latents with the found latents that are matched to them, in [0, 1].

    Each true latent is matched to at most one found latent, so that the sum of |correlations| over samples is largest
    (Hungarian algorithm). Constant latents correlate with none. The mean is over true latents; those without a match
    count as 0. Neither order nor sign nor scale of found latents matters.

    Examples:
        >>> true = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
        >>> metric = CodeMCC()
        >>> metric.update(true, -true.flip(1))
        >>> metric.compute(), metric.matching()
        (tensor(1.), tensor([1, 0]))
    """

    higher_is_better = True
    sums = ("count", "true_sum", "found_sum", "true_square", "found_square", "product")
    count: Tensor
    true_sum: Tensor
    found_sum: Tensor
    true_square: Tensor
    found_square: Tensor
    product: Tensor

    def update(self, true: Tensor, found: Tensor) -> None:
        """Add a batch of codes.

        Args:
            true: Shape (samples, N).
            found: Shape (samples, N').
        """
        check_rows(true=true, found=found)
        true, found = true.double(), found.double()
        self.add(count=len(true), true_sum=true.sum(0), found_sum=found.sum(0), product=true.T @ found)
        self.add(true_square=true.square().sum(0), found_square=found.square().sum(0))

    def correlations(self) -> Tensor:
        """Return all |correlations| of true with found latents, shape (N, N')."""
        covariance = self.product - torch.outer(self.true_sum, self.found_sum) / self.count
        true = _inverse_norm(self.true_square, self.true_sum, self.count)
        found = _inverse_norm(self.found_square, self.found_sum, self.count)
        return (covariance * torch.outer(true, found)).abs().clamp_max(1)

    def matching(self) -> Tensor:
        """Return the found latent that is matched to each true one, −1 for none, shape (N,)."""
        return match(self.correlations())[1]

    def compute(self) -> Tensor:
        """Return the mean over true latents."""
        return match(self.correlations())[0].mean().float()


def mcc_chance(codes: Tensor, features: Tensor, latents: int | None = None, encoders: int = 20, seed: int = 0) -> float:
    """Return the mean :class:`CodeMCC` of untrained encoders ReLU(W h) with Gaussian W: the level of nothing learnt.

    Codes in shuffled order would tell less: they have a correlation of 0 in large samples, whereas random projections
    of features know much about codes before anything is learnt, 0.49 for 3 of 16 half-normal latents in 8 dimensions.

    Args:
        codes: True codes, shape (samples, N).
        features: Their features h, shape (samples, M).
        latents: Number of latents of an encoder; None means N.
        encoders: Number of encoders.
        seed: Seed of the encoders.

    Raises:
        ReadoutError: if codes and features are not of the same samples, or a number is out of range.
    """
    check_rows(codes=codes, features=features)
    latents = codes.shape[1] if latents is None else check_whole("latents", latents, 1)
    generator = _generator(seed)
    values = []
    for _ in range(check_whole("encoders", encoders, 1)):
        weights = torch.randn(features.shape[1], latents, generator=generator).to(features)
        metric = CodeMCC().to(codes.device)
        metric.update(codes, (features @ weights).relu())
        values.append(float(metric.compute()))
    return sum(values) / len(values)


class DictionaryMCC(DatasetMetric):
    """Mean |cosine| of true atoms with the found atoms that are matched to them, in [0, 1].

    Atoms are matched as latents are in :class:`CodeMCC`; true atoms without a match count as 0. An update adds a pair
    of dictionaries, and the metric is the mean over pairs.

    Examples:
        >>> metric = DictionaryMCC()
        >>> metric.update(torch.eye(3), -torch.eye(3).flip(0))
        >>> metric.compute()
        tensor(1.)
    """

    higher_is_better = True
    sums = ("total", "count")
    total: Tensor
    count: Tensor

    def update(self, true: Tensor, found: Tensor) -> None:
        """Add a pair of dictionaries.

        Args:
            true: Shape (N, M).
            found: Shape (N', M).
        """
        self.add(total=_mean_cosine(Dictionary(true).atoms, Dictionary(found).atoms), count=1)

    def compute(self) -> Tensor:
        """Return the mean over pairs."""
        return (self.total / self.count).float()


def dictionary_mcc_chance(atoms: Tensor, found: int | None = None, draws: int = 20, seed: int = 0) -> float:
    """Return the mean :class:`DictionaryMCC` of random dictionaries: 0.63 for 16 random atoms of 8 dimensions.

    Args:
        atoms: True atoms, shape (N, M).
        found: Number of atoms of a random dictionary; None means N.
        draws: Number of random dictionaries.
        seed: Seed of the dictionaries.

    Raises:
        ReadoutError: if the atoms are no dictionary, or a number is out of range.
    """
    found = len(atoms) if found is None else check_whole("found", found, 1)
    generator = _generator(seed)
    metric = DictionaryMCC().to(atoms.device)
    for _ in range(check_whole("draws", draws, 1)):
        metric.update(atoms, torch.randn(found, atoms.shape[1], generator=generator).to(atoms))
    return float(metric.compute())


class PWMCC(DatasetMetric):
    """Consistency of dictionaries over seeds: mean :class:`DictionaryMCC` of all pairs, in [0, 1].

    An update adds the dictionary of a seed. Source: Song et al., arXiv 2505.20254.
    """

    higher_is_better = True
    tables = ("dictionaries",)

    def update(self, atoms: Tensor) -> None:
        """Add a dictionary of shape (N, M), the same for all."""
        self.keep(dictionaries=Dictionary(atoms).atoms.unsqueeze(0))

    def compute(self) -> Tensor:
        """Return the mean over pairs.

        Raises:
            ReadoutError: if there are fewer than two dictionaries.
        """
        dictionaries = self.kept("dictionaries")
        if len(dictionaries) < 2:
            raise ReadoutError("PWMCC compares dictionaries, but has only one; update it with one per seed.")
        return torch.stack([_mean_cosine(one, other) for one, other in combinations(dictionaries, 2)]).mean().float()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(check_seed("seed", seed) ^ SALT)


def match(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the similarity of each row to the column matched to it, and that column; 0 and −1 where there is none."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = map(torch.from_numpy, linear_sum_assignment(similarity.cpu().numpy(), maximize=True))
    rows, columns = rows.to(similarity.device), columns.to(similarity.device)
    values = similarity.new_zeros(len(similarity))
    values[rows] = similarity[rows, columns]
    matching = torch.full_like(values, -1, dtype=torch.long)
    matching[rows] = columns
    return values, matching.where(values > 0, -1)


def _mean_cosine(true: Tensor, found: Tensor) -> Tensor:
    if true.shape[1] != found.shape[1]:
        raise ReadoutError(
            f"Atoms have {true.shape[1]} and {found.shape[1]} dimensions; compare dictionaries of the same features."
        )
    return match((true @ found.T).abs())[0].mean()


def _inverse_norm(square: Tensor, total: Tensor, count: Tensor) -> Tensor:
    """Return 1 / √(Σ(x − mean)²) of each latent; 0 for constant ones, which therefore correlate with none."""
    spread = square - total.square() / count
    return spread.rsqrt().where(spread > CONSTANT * square, 0)
