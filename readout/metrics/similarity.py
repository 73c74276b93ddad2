"""Similarity of two representations of the same inputs: layers, models or responses."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.metrics.dataset import DatasetMetric, check_rows
from readout.metrics.matching import CONSTANT, match

LEAST = 4
"""Fewest inputs; with three, the debiased estimator divides by 0."""


class Similarity(DatasetMetric):
    """Similarity of two matrices with one row per input and one column per unit; 1 if they are the same.

    A measure is a subclass with :meth:`represent`, of which the default :meth:`between` takes the inner product.
    """

    higher_is_better = True
    tables = ("x", "y")

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add a batch of inputs.

        Args:
            x: Shape (inputs, units).
            y: Another representation of the same inputs, shape (inputs, other units).
        """
        check_rows(x=x, y=y)
        self.keep(x=x, y=y)

    def compute(self) -> Tensor:
        """Return the similarity.

        Raises:
            ReadoutError: if there are fewer than :data:`LEAST` inputs, or one side is constant.
        """
        x, y = self.kept("x"), self.kept("y")
        self.check(x=x, y=y)
        return self.between(*(self.represent(self.reduce(side)) for side in (x, y))).float()

    def check(self, **sides: Tensor) -> None:
        """Check that the measure is defined for these matrices.

        Args:
            sides: By the name that the user knows them by.

        Raises:
            ReadoutError: if it is not.
        """
        check_rows(**sides)
        for name, x in sides.items():
            if len(x) < LEAST:
                raise ReadoutError(f"{type(self).__name__} got {len(x)} inputs; give at least {LEAST}.")
            if (x == x[0]).all():
                raise ReadoutError(f"{name} is the same for all inputs, so it is similar to nothing; leave it out.")

    def reduce(self, x: Tensor) -> Tensor:
        """Return all that the measure depends on, in no more columns than inputs where that is possible.

        By default, rows are replaced by shorter ones with the same inner products, which takes time once and saves it
        wherever rows are then permuted or left out.
        """
        return _shorter(x.double())

    @abstractmethod
    def represent(self, rows: Tensor) -> Tensor:
        """Return what is compared, from (some) rows of :meth:`reduce`."""

    def between(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the similarity of two results of :meth:`represent`."""
        return (x * y).sum()


class CKA(Similarity):
    """Linear centred kernel alignment: 1 for the same representation, and by default about 0 for independent ones.

    The biased estimate approaches 1 when there are many more units than inputs, whatever they respond to. Rotation,
    scale and offset of either side do not matter.

    Source: Kornblith et al., "Similarity of neural network representations revisited", 2019; debiased by the unbiased
    estimator of HSIC of Song et al., "Feature selection via dependence maximization", 2012, as in Nguyen et al., "Do
    wide and deep networks learn the same things?", 2021. That estimator is the inner product of U-centred matrices
    (Székely and Rizzo, 2014), as which it is computed here; it may fall below 0.

    Args:
        debiased: Whether to debias.
        kwargs: Those of ``torchmetrics.Metric``.

    Examples:
        >>> x, y = torch.randn(2, 64, 1000, generator=torch.Generator().manual_seed(0))
        >>> CKA()(x, y), CKA(debiased=False)(x, y)
        (tensor(-0.0223), tensor(0.9376))
    """

    def __init__(self, debiased: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.debiased = debiased

    def represent(self, rows: Tensor) -> Tensor:
        """Return the centred matrix of inner products between inputs, of norm 1."""
        centred = rows - rows.mean(0)
        products = centred @ centred.T
        if self.debiased:
            products.fill_diagonal_(0)
            sums = products.sum(0) / (len(rows) - 2)
            products = products - sums - sums.unsqueeze(1) + sums.sum() / (len(rows) - 1)
            products.fill_diagonal_(0)
        return unit(products)


class RSA(Similarity):
    """Representational similarity analysis: correlation of the dissimilarities of all pairs of inputs, in [−1, 1].

    The dissimilarity of two inputs is the correlation distance of their rows. Rotation does not preserve it, because it
    depends on the mean over units; permutation of units and scale do.

    Source: Kriegeskorte et al., "Representational similarity analysis", 2008.

    Args:
        correlation: ``rank`` (Spearman's) or ``pearson``, between dissimilarities.
        kwargs: Those of ``torchmetrics.Metric``.
    """

    def __init__(self, correlation: Literal["rank", "pearson"] = "rank", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("correlation", correlation, ["rank", "pearson"])
        self.correlation = correlation

    def check(self, **sides: Tensor) -> None:
        """See :class:`Similarity`; rows that are constant have no correlation distance."""
        super().check(**sides)
        for name, x in sides.items():
            if (x == x[:, :1]).all(1).any():
                raise ReadoutError(
                    f"{name} has an input with the same value at all units, which correlates with nothing; leave that "
                    "input out, or choose CKA."
                )

    def reduce(self, x: Tensor) -> Tensor:
        """Return rows whose inner products are the correlations between inputs."""
        centred = x.double() - x.double().mean(1, keepdim=True)
        return _shorter(torch.nn.functional.normalize(centred, eps=torch.finfo(torch.float64).tiny))

    def represent(self, rows: Tensor) -> Tensor:
        """Return the dissimilarities of pairs, or their ranks, centred and of norm 1."""
        from scipy.stats import rankdata

        one, other = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
        pairs = 1 - (rows @ rows.T)[one, other]
        if self.correlation == "rank":
            pairs = torch.from_numpy(rankdata(pairs.cpu().numpy())).to(rows)
        return unit(pairs - pairs.mean())


class Procrustes(Similarity):
    """Cosine of the angle between two shapes after the best rotation, in [0, 1].

    With X and Y centred and scaled to a norm of 1, it is the nuclear norm of XᵀY, or 1 − d²/2 of the Procrustes
    distance d = min ‖X − YQ‖ over orthogonal Q. Its arccosine is the angular shape metric. Rotation, scale and offset
    of either side do not matter; missing units count as constant ones. Like biased CKA, it is large by chance where
    there are more units than inputs: compare it with the permutation null.

    Source: Williams et al., "Generalized shape metrics on neural representations", 2021.
    """

    def represent(self, rows: Tensor) -> Tensor:
        """Return the rows, centred and scaled to a norm of 1 in all."""
        return unit(_shorter(rows - rows.mean(0)))

    def between(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the nuclear norm."""
        similarity: Tensor = torch.linalg.matrix_norm(x.T @ y, "nuc")
        return similarity


class OneToOne(Similarity):
    """Mean correlation of units with the units matched to them one to one, in [−1, 1].

    Units are matched so that the sum of their correlations over inputs is largest (Hungarian algorithm), as many as the
    narrower side has. Permutation of units does not matter, nor do scale and offset of each unit; rotation does.
    Constant units correlate with none and count as 0. With few inputs the best match is good by chance: compare it with
    the permutation null.

    Source: Li et al., "Convergent learning: do different neural networks learn the same representations?", 2015.

    Examples:
        >>> x = torch.randn(100, 6)
        >>> OneToOne()(x, 3 * x[:, [2, 0, 5, 1, 3, 4]])
        tensor(1.)
    """

    most_units: ClassVar[int] = 5000
    """Most units of a side; matching takes time with their cube."""

    def check(self, **sides: Tensor) -> None:
        """See :class:`Similarity`; refuses more units than :attr:`most_units`."""
        super().check(**sides)
        for name, x in sides.items():
            if x.shape[1] > self.most_units:
                raise ReadoutError(
                    f"{name} has {x.shape[1]:,} units, and matching takes time with their cube; draw at most "
                    f"{self.most_units:,} of them."
                )

    def reduce(self, x: Tensor) -> Tensor:
        """Return all units, since each counts by itself."""
        return x.double()

    def represent(self, rows: Tensor) -> Tensor:
        """Return the units, each centred and of norm 1; constant ones as 0."""
        centred, square = rows - rows.mean(0), rows.square().sum(0)
        spread = centred.square().sum(0)
        return centred * spread.rsqrt().where(spread > CONSTANT * square, 0)

    def between(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean correlation of matched units."""
        similarity: Tensor = match(x.T @ y)[0].sum() / min(x.shape[1], y.shape[1])
        return similarity


def unit(x: Tensor) -> Tensor:
    """Scale a tensor to a norm of 1."""
    scaled: Tensor = x / x.norm()
    return scaled


def _shorter(x: Tensor) -> Tensor:
    """Return rows with the same inner products, shape (inputs, at most as many)."""
    if x.shape[1] <= len(x):
        return x
    triangle: Tensor = torch.linalg.qr(x.T, mode="r").R
    return triangle.T
