"""Interpretability of latents: whether the images that activate one are alike."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from readout.common.checks import check_number, check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.metrics.dataset import DatasetMetric, check_rows


class Monosemanticity(DatasetMetric):
    """Monosemanticity of each latent: mean cosine between images that activate it, in [−1, 1].

    Each pair of different images weighs by the product of their activations, from which the latent's least is
    subtracted. One pass over the images is enough: with unit embeddings e and activations a, it is
    (‖Σ a e‖² − Σ a²) / ((Σ a)² − Σ a²), which does not depend on the scale of a. Embeddings are those of another
    network. A latent that is active at random has about the mean cosine of all images.

    Source: Pach et al., arXiv 2504.02821.

    Examples:
        >>> metric = Monosemanticity()
        >>> activations = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> metric.update(activations, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        >>> metric.compute()
        tensor([1., 0.])
    """

    higher_is_better = True
    sums = ("count", "weight", "square", "weighted", "embedding")
    count: Tensor
    weight: Tensor
    square: Tensor
    weighted: Tensor
    embedding: Tensor
    least: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("least", torch.tensor(math.inf, dtype=torch.float64), dist_reduce_fx="min")

    def update(self, activations: Tensor, embeddings: Tensor) -> None:
        """Add a batch of images.

        Args:
            activations: Shape (images, N).
            embeddings: Shape (images, dimensions); they are scaled to unit norm.
        """
        check_rows(activations=activations, embeddings=embeddings)
        activations, embeddings = activations.double(), _unit(embeddings.double())
        self.add(count=len(activations), weight=activations.sum(0), square=activations.square().sum(0))
        self.add(weighted=activations.T @ embeddings, embedding=embeddings.sum(0))
        self.least = torch.minimum(self.least, activations.amin(0))

    def compute(self) -> Tensor:
        """Return one value per latent, shape (N,); NaN for latents that no two images activate."""
        weight = self.weight - self.count * self.least
        square = self.square - 2 * self.least * self.weight + self.count * self.least.square()
        weighted = self.weighted - torch.outer(self.least, self.embedding)
        pairs = weight.square() - square
        values = (weighted.square().sum(1) - square) / pairs
        return values.where(pairs > 1e-9 * self.weight.square(), torch.nan).float()


class MachineInterpretability(DatasetMetric):
    """Machine interpretability score (MIS) of each latent, in [0, 1]: 0.5 is chance.

    A task asks which of two images activates the latent. It draws ``explanations`` + 1 images from the quantile of
    strongest and from that of weakest activations; in both the most extreme ones explain, and the last is the query.
    With s the mean similarity of a query to explanations, Δ(q) = s(q, strong) − s(q, weak), and the task is solved
    if Δ is larger for the strong query. The score is the share of tasks solved, or the mean of σ(α (Δ⁺ − Δ⁻)).

    Source: Zimmermann, Klindt & Brendel, "Measuring mechanistic interpretability at scale without humans", 2024.

    Args:
        explanations: K, number of images that explain each side.
        tasks: Number of tasks per latent.
        quantile: Share of images on either side.
        sharpness: α; None counts solved tasks.
        seed: Seed of the tasks.
        kwargs: Those of ``torchmetrics.Metric``.
    """

    higher_is_better = True
    tables = ("activations", "embeddings")

    def __init__(
        self,
        explanations: int = 9,
        tasks: int = 100,
        quantile: float = 0.25,
        sharpness: float | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.explanations = check_whole("explanations", explanations, 1)
        self.tasks = check_whole("tasks", tasks, 1)
        self.quantile = check_number("quantile", quantile, 0, 0.5)
        self.sharpness = None if sharpness is None else check_number("sharpness", sharpness, above=0)
        self.seed = check_seed("seed", seed)

    def update(self, activations: Tensor, embeddings: Tensor) -> None:
        """Add a batch of images, whose similarity is the cosine of their embeddings.

        Args:
            activations: Shape (images, N).
            embeddings: Shape (images, dimensions).
        """
        check_rows(activations=activations, embeddings=embeddings)
        self.keep(activations=activations, embeddings=embeddings)

    def compute(self) -> Tensor:
        """Return one value per latent, shape (N,).

        Raises:
            ReadoutError: if a quantile has too few images for a task.
        """
        unit = _unit(self.kept("embeddings"))
        return self._score(self.kept("activations"), lambda one, other: (unit[one] * unit[other].mean(1)).sum(1))

    def score(self, activations: Tensor, similarity: Tensor) -> Tensor:
        """Return the scores by any similarity of images, shape (N,), without ``update``.

        Args:
            activations: Shape (images, N).
            similarity: Shape (images, images).

        Raises:
            ReadoutError: if shapes don't fit, or a quantile has too few images for a task.
        """
        check_rows(activations=activations, similarity=similarity)
        if similarity.shape[1] != len(similarity):
            raise ReadoutError(f"similarity has shape {tuple(similarity.shape)}; give one row and column per image.")
        return self._score(activations, lambda one, other: similarity[one.unsqueeze(1), other].mean(1))

    def _score(self, activations: Tensor, similar: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Score latents by the mean similarity of images, shape (tasks,), to sets of images, shape (tasks, K)."""
        size = math.ceil(self.quantile * len(activations))
        if size <= self.explanations:
            raise ReadoutError(
                f"A quantile of {self.quantile:g} has {size} of {len(activations)} images, but a task takes "
                f"{self.explanations + 1}; give more images, or lower explanations."
            )
        generator = torch.Generator().manual_seed(self.seed)
        # in random order, so that ties such as zeros fall to any image
        shuffled = torch.randperm(len(activations), generator=generator).to(activations.device)
        scores = []
        for latent in activations.T:
            order = shuffled[latent[shuffled].argsort()]
            # places in the quantile, the most extreme first
            draws = torch.rand(2, self.tasks, size, generator=generator).topk(self.explanations + 1, dim=2).indices
            places = draws.sort(2).values.to(order.device)
            strong, weak = order.flip(0)[places[0]], order[places[1]]
            queries, for_strong, for_weak = (strong[:, -1], weak[:, -1]), strong[:, :-1], weak[:, :-1]
            above, below = (similar(query, for_strong) - similar(query, for_weak) for query in queries)
            gap = above - below
            solved = gap > 0 if self.sharpness is None else (self.sharpness * gap).sigmoid()
            scores.append(solved.float().mean())
        return torch.stack(scores)


def _unit(embeddings: Tensor) -> Tensor:
    return torch.nn.functional.normalize(embeddings, dim=1)
