"""Scores of latents: linear R², dimensionality, activity, unexplained variance and recovered loss."""

from typing import Any

import torch
from torch import Tensor

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.metrics.codes import active_latents
from readout.metrics.dataset import DatasetMetric, check_rows, halves


def feature_dimensionality(atoms: Tensor) -> Tensor:
    """Return the share of a dimension that each atom has to itself: D_i = ‖W_i‖² / Σ_j (Ŵ_i · W_j)², in [0, 1].

    Source: Elhage et al., "Toy models of superposition", 2022. Atoms keep their norms; a zero atom has 0.

    Args:
        atoms: W, shape (N, M).

    Returns:
        Shape (N,).

    Raises:
        ReadoutError: if the atoms are no matrix of finite numbers.

    Examples:
        >>> feature_dimensionality(torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, -2.0]]))
        tensor([1.0000, 0.5000, 0.5000])
    """
    check_rows(atoms=atoms)
    gram = atoms @ atoms.T
    share: Tensor = gram.diagonal().square() / gram.square().sum(1)
    return share.masked_fill(share.isnan(), 0)


class LinearR2(DatasetMetric):
    """R² of least squares from features to latents, in (−∞, 1]: fitted on half of the samples, tested on the others.

    The mean is over latents; those that are constant in the tested half are left out.

    Args:
        seed: Seed of the split.
        kwargs: Those of ``torchmetrics.Metric``.
    """

    higher_is_better = True
    tables = ("features", "latents")

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = check_seed("seed", seed)

    def update(self, features: Tensor, latents: Tensor) -> None:
        """Add a batch.

        Args:
            features: Shape (samples, M).
            latents: Shape (samples, N).
        """
        check_rows(features=features, latents=latents)
        self.keep(features=features, latents=latents)

    def compute(self) -> Tensor:
        """Return the mean over latents.

        Raises:
            ReadoutError: if there are no more samples to fit than coefficients of a latent.
        """
        features, latents = self.kept("features").double().cpu(), self.kept("latents").double().cpu()
        features = torch.cat([features, torch.ones_like(features[:, :1])], 1)
        fit, test = halves(len(features), features.shape[1] + 1, self.seed)
        # gelsd: features may be of low rank
        weights: Tensor = torch.linalg.lstsq(features[fit], latents[fit], driver="gelsd").solution
        error = (features[test] @ weights - latents[test]).square().sum(0)
        varies = latents[test].amin(0) < latents[test].amax(0)
        spread = (latents[test] - latents[test].mean(0)).square().sum(0)
        return (1 - error[varies] / spread[varies]).mean().float()


class L0(DatasetMetric):
    """Mean number of active latents per code; see :class:`SupportDistance` for what is active."""

    higher_is_better = False
    sums = ("total", "count")
    total: Tensor
    count: Tensor

    def update(self, codes: Tensor) -> None:
        """Add codes of shape (samples, N)."""
        check_rows(codes=codes)
        self.add(total=active_latents(codes).sum(), count=len(codes))

    def compute(self) -> Tensor:
        """Return the mean over codes."""
        return (self.total / self.count).float()


class DeadLatents(DatasetMetric):
    """Share of latents that are active in no code, in [0, 1]; see :class:`SupportDistance` for what is active."""

    higher_is_better = False
    sums = ("firings",)
    firings: Tensor

    def update(self, codes: Tensor) -> None:
        """Add codes of shape (samples, N)."""
        check_rows(codes=codes)
        self.add(firings=active_latents(codes).sum(0))

    def compute(self) -> Tensor:
        """Return the share of latents."""
        return (self.firings == 0).float().mean()


class FVU(DatasetMetric):
    """Fraction of the features' variance that reconstructions leave unexplained, in [0, ∞).

    Explained variance is 1 − FVU. Reconstructing every feature as the mean feature gives 1.

    Examples:
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
        >>> metric = FVU()
        >>> metric.update(features, features + 0.5)
        >>> metric.compute()
        tensor(0.5000)
    """

    higher_is_better = False
    sums = ("error", "square", "total", "count")
    error: Tensor
    square: Tensor
    total: Tensor
    count: Tensor

    def update(self, features: Tensor, reconstructed: Tensor) -> None:
        """Add a batch, both of shape (samples, M)."""
        check_rows(features=features, reconstructed=reconstructed)
        if features.shape != reconstructed.shape:
            raise ReadoutError(
                f"Features have {features.shape[1]} dimensions and reconstructions {reconstructed.shape[1]}; give both "
                "of the same layer."
            )
        features = features.double()
        self.add(error=(features - reconstructed).square().sum(), square=features.square().sum())
        self.add(total=features.sum(0), count=len(features))

    def compute(self) -> Tensor:
        """Return the fraction; NaN or infinite if features don't vary."""
        return (self.error / (self.square - self.total.square().sum() / self.count)).float()


class LossRecovered(DatasetMetric):
    """Share of a network's loss that replaced features recover: 1 for the features themselves, 0 for ablated ones.

    It is (ablated − replaced) / (ablated − clean) of the losses summed over samples.

    Examples:
        >>> metric = LossRecovered()
        >>> metric.update(clean=torch.tensor(1.0), replaced=torch.tensor(1.5), ablated=torch.tensor(3.0))
        >>> metric.compute()
        tensor(0.7500)
    """

    higher_is_better = True
    sums = ("clean", "replaced", "ablated")
    clean: Tensor
    replaced: Tensor
    ablated: Tensor

    def update(self, clean: Tensor, replaced: Tensor, ablated: Tensor) -> None:
        """Add the losses of a batch: one per sample, shape (samples,), or their sum.

        Args:
            clean: Losses of the network as it is.
            replaced: With features replaced, such as by reconstructions.
            ablated: With features ablated, such as by their mean.
        """
        losses = {"clean": clean, "replaced": replaced, "ablated": ablated}
        check_rows(**{name: loss.reshape(-1, 1) for name, loss in losses.items()})
        self.add(**{name: loss.double().sum() for name, loss in losses.items()})

    def compute(self) -> Tensor:
        """Return the share; NaN or infinite if ablation doesn't change the loss."""
        return ((self.ablated - self.replaced) / (self.ablated - self.clean)).float()
