"""Disentanglement of latents: whether each stands for one true latent, or for one class."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from readout.codes.dictionary import Dictionary
from readout.common.checks import check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.metrics.codes import LEAST_SHARE, active_latents
from readout.metrics.dataset import DatasetMetric, check_rows, halves
from readout.metrics.matching import CodeMCC


class DCI(DatasetMetric):
    """Disentanglement, completeness and informativeness of found latents, with gradient-boosted trees.

    Trees predict each true latent from all found ones. Disentanglement is 1 if every found latent matters to one true
    latent only, completeness if every true latent needs one found latent only: both are 1 − entropy of importances,
    normalised, and averaged by importance. Informativeness is the mean R² on the half of samples that trees were not
    fitted on; Eastwood and Williams report an error in its place. Constant true latents are left out.

    Source: Eastwood & Williams, "A framework for the quantitative evaluation of disentangled representations", 2018.

    Args:
        trees: Number of trees per true latent.
        seed: Seed of the split and of the trees.
        kwargs: Those of ``torchmetrics.Metric``.
    """

    higher_is_better = True
    tables = ("true", "found")

    def __init__(self, trees: int = 100, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trees = check_whole("trees", trees, 1)
        self.seed = check_seed("seed", seed)

    def update(self, true: Tensor, found: Tensor) -> None:
        """Add a batch of codes.

        Args:
            true: Shape (samples, N).
            found: Shape (samples, N').
        """
        check_rows(true=true, found=found)
        self.keep(true=true, found=found)

    def compute(self) -> dict[str, Tensor]:
        """Return ``disentanglement``, ``completeness`` and ``informativeness``.

        Raises:
            ReadoutError: if there are fewer than four samples, or no true latent varies.
        """
        from sklearn.ensemble import GradientBoostingRegressor

        true, found = self.kept("true").double().cpu(), self.kept("found").cpu().numpy()
        fit, test = halves(len(true), 2, self.seed)
        varies = (true[fit].std(0) > 0) & (true[test].std(0) > 0)
        if not varies.any():
            raise ReadoutError("No true latent varies in both halves of the samples; give more samples.")
        importances, scores = [], []
        for latent in true.T[varies].numpy():
            model = GradientBoostingRegressor(n_estimators=self.trees, random_state=self.seed)
            model.fit(found[fit], latent[fit])
            importances.append(torch.from_numpy(model.feature_importances_))
            scores.append(model.score(found[test], latent[test]))
        importance = torch.stack(importances)
        return {
            "disentanglement": _concentration(importance.T).float(),
            "completeness": _concentration(importance).float(),
            "informativeness": torch.tensor(scores).mean(),
        }


class MIG(DatasetMetric):
    """Mutual information gap of sparse latents, in [0, 1].

    Of each true latent: how much more the most informative found latent tells about it than the second, as a share of
    its entropy; then the mean, without true latents that are always or never active. Latents are binary here, active
    or not (see :class:`SupportDistance`), so that mutual information is a matter of counting. Estimators for
    continuous variables fail on latents that are mostly 0, and bins would be another choice to make.

    Source: Chen et al., "Isolating sources of disentanglement in variational autoencoders", 2018.
    """

    higher_is_better = True
    sums = ("count", "true_active", "found_active", "both_active")
    count: Tensor
    true_active: Tensor
    found_active: Tensor
    both_active: Tensor

    def update(self, true: Tensor, found: Tensor) -> None:
        """Add a batch of codes.

        Args:
            true: Shape (samples, N).
            found: Shape (samples, N').
        """
        check_rows(true=true, found=found)
        one, other = active_latents(true).double(), active_latents(found).double()
        self.add(count=len(true), true_active=one.sum(0), found_active=other.sum(0), both_active=one.T @ other)

    def compute(self) -> Tensor:
        """Return the mean over true latents; NaN if none is active in some samples only."""
        true, found, both = self.true_active.unsqueeze(1), self.found_active, self.both_active
        cells = [
            (both, true, found),
            (true - both, true, self.count - found),
            (found - both, self.count - true, found),
            (self.count - true - found + both, self.count - true, self.count - found),
        ]
        # of counts, which are exact: log(both · count / (true · found)), weighted by both / count
        information = sum(torch.xlogy(n, n * self.count) - torch.xlogy(n, a * b) for n, a, b in cells) / self.count
        share = self.true_active / self.count
        entropy = -torch.xlogy(share, share) - torch.xlogy(1 - share, 1 - share)
        # a second found latent that tells nothing, in case there is one only
        best = torch.nn.functional.pad(information, (0, 1)).topk(2, dim=1).values
        varies = (self.true_active > 0) & (self.true_active < self.count)
        return ((best[:, 0] - best[:, 1]) / entropy)[varies].mean().float()


def k_sparse_probe(codes: Tensor, labels: Tensor, k: int, seed: int = 0) -> float:
    """Return the accuracy of logistic regression on the k latents that tell classes apart best.

    Latents are ranked by the share of their variance that is between classes. Ranking and regression use half of the
    samples, accuracy the others.

    Args:
        codes: Shape (samples, N).
        labels: Classes, whole numbers, shape (samples,).
        k: Number of latents.
        seed: Seed of the split.

    Raises:
        ReadoutError: if labels don't fit the codes, there are fewer than k latents, or there is one class only.
    """
    from sklearn.linear_model import LogisticRegression

    check_rows(codes=codes, labels=labels.reshape(-1, 1))
    check_whole("k", k, 1, codes.shape[1])
    codes, labels = codes.double().cpu(), labels.cpu()
    fit, test = halves(len(codes), 2, seed)
    members = (labels[fit].unsqueeze(1) == torch.unique(labels[fit])).double()
    if members.shape[1] < 2:
        raise ReadoutError("The samples to fit have one class only; give more samples of the others.")
    mean, deviation = codes[fit].mean(0), codes[fit].std(0)
    codes = ((codes - mean) / deviation).where(deviation > 0, 0)
    between = ((members.T @ codes[fit]).square() / members.sum(0).unsqueeze(1)).sum(0)
    chosen = between.topk(k).indices
    probe = LogisticRegression(max_iter=1000).fit(codes[fit][:, chosen].numpy(), labels[fit].numpy())
    return float(probe.score(codes[test][:, chosen].numpy(), labels[test].numpy()))


def absorption(true: Tensor, found: Tensor, atoms: Tensor, found_atoms: Tensor, parents: Sequence[int]) -> Tensor:
    """Return how often children absorb each parent, in hierarchical codes where a child is active with its parent only.

    It is the share of a parent's firings in which the found latent matched to it is silent, while a found latent
    matched to one of its children fires and adds to the feature along the parent's true atom, with a cosine above
    1/1000. Found latents are matched as in :class:`CodeMCC`; a parent without a match is silent.

    Source: after Chanin et al., "A is for absorption", arXiv 2409.14507.

    Args:
        true: True codes, shape (samples, N).
        found: Found codes, shape (samples, N').
        atoms: True atoms, shape (N, M).
        found_atoms: Shape (N', M).
        parents: The parent of each of the N latents, −1 for none.

    Returns:
        Shares in [0, 1], shape (N,); NaN for latents without children or without firings.

    Raises:
        ReadoutError: if codes, atoms and parents don't fit together.
    """
    metric = CodeMCC().to(true.device)
    metric.update(true, found)
    if (true.shape[1], found.shape[1], true.shape[1]) != (len(atoms), len(found_atoms), len(parents)):
        raise ReadoutError(
            f"There are {true.shape[1]} true and {found.shape[1]} found latents, but {len(atoms)} and "
            f"{len(found_atoms)} atoms and {len(parents)} parents; give an atom for each latent, and a parent for each "
            "true one."
        )
    matching = metric.matching()
    cosines = Dictionary(atoms).atoms @ Dictionary(found_atoms).atoms.T
    fires, speaks = active_latents(true), active_latents(found)
    shares = true.new_full((len(parents),), torch.nan, dtype=torch.float32)
    for parent in set(parents) - {-1}:
        own = matching[parent]
        children = [int(matching[child]) for child, its in enumerate(parents) if its == parent and matching[child] >= 0]
        along = found[:, children].sign() * cosines[parent, children] > LEAST_SHARE
        absorbed = (speaks[:, children] & along).any(1) & ~(speaks[:, own] & (own >= 0))
        shares[parent] = absorbed[fires[:, parent]].float().mean()
    return shares


def _concentration(importance: Tensor) -> Tensor:
    """Return 1 − entropy of each row over its largest possible one, averaged by the sums of rows."""
    totals = importance.sum(1, keepdim=True)
    shares = importance / totals.clamp_min(torch.finfo(totals.dtype).tiny)
    entropy = -torch.xlogy(shares, shares).sum(1) / math.log(max(2, importance.shape[1]))
    return (1 - entropy) @ totals.squeeze(1) / totals.sum()
