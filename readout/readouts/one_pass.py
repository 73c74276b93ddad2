"""The base class of readouts in one pass, in which nothing is optimised for a problem."""

import time
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import psutil
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.metrics import SampleMetric
from readout.problems.identity import describe
from readout.readouts.base import Readout
from readout.readouts.batch import Outcome
from readout.readouts.trajectory import Trajectory

SHARES = {"half": 0.5, "a quarter": 0.25}
"""Shares of the free memory that features of many inputs may take."""


class OnePassReadout(Readout):
    """A readout that maps features to signals in one pass.

    A subclass implements :meth:`read`, and :meth:`Readout.signal` if the signal is not the input.

    Args:
        extractor: Frozen network f.
        metric: Distance d_S.
        metrics: Further metrics to report.

    Examples:
        The sign of every dimension of a feature, read from the moved one:

        >>> from readout import measure
        >>> from readout.extractors import OrthonormalLinear
        >>> from readout.metrics import CorrelationDistance
        >>> class Signs(OnePassReadout):
        ...     signal_kind = "signs"
        ...     def signal(self, inputs):
        ...         return self._target.clean.sign()
        ...     def read(self, feature):
        ...         return feature.sign()
        >>> signs = Signs(OrthonormalLinear(), CorrelationDistance())
        >>> images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> measured = measure(None, images, levels=[0, 0.01, 0.5], readout=signs, progress=False)
        >>> measured.problems[["level", "verdict"]]
           level      verdict
        0   0.00    recovered
        1   0.01    recovered
        2   0.50  unrecovered
    """

    iterative = False
    batch_limit: ClassVar = {"cpu": 256, "cuda": 1024}

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """See :class:`Readout`; the class and the arguments of its constructor."""
        described: dict[str, Any] = describe(self, skip=("extractor",))
        return described

    def steps(self, trainer: Trainer, inputs: Iterable[Tensor]) -> int:
        """Return 1."""
        return 1

    def check_scores(self, x: Tensor) -> None:
        """See :class:`Readout`; where the signal is not the input, scores show in the first probe."""
        if type(self).signal is Readout.signal:
            super().check_scores(x)

    @abstractmethod
    def read(self, feature: Tensor) -> Tensor:
        """Read a signal from each feature, and from nothing else.

        Args:
            feature: Perturbed features h' at the layer ``self.problems.layer``, shape (problems, ...).

        Returns:
            Signals ŝ, shape (problems, *signal_shape).
        """

    def scores(self, recovered: Tensor) -> dict[str, Tensor]:
        """Return further columns, shape (problems,) each; by default the further metrics.

        Args:
            recovered: What :meth:`read` returned.
        """
        metrics = (each for each in self.metrics if isinstance(each, SampleMetric))
        return {metric.name: self._measure(metric, recovered) for metric in metrics}

    def run(self, trainer: Trainer, checkpoint: str | None = None) -> None:
        """Call ``Trainer.predict`` on the one batch; see :class:`Readout`."""
        trainer.predict(self, [0], return_predictions=False)

    @torch.no_grad()
    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Perturb the features of the batch, read them and score what was read; return d_S."""
        self._begin()
        target, problems = self._target, len(self.problems)
        with self.trainer.precision_plugin.forward_context():
            recovered = self.read(target.perturbed.to(self._type))
        unknown = torch.full((problems,), torch.nan)
        excluded = torch.tensor([place in self._reasons for place in range(problems)])
        distance = self._measure(self.metric, recovered)
        self.outcome = Outcome(
            recovered=recovered.cpu(),
            distance=distance.cpu(),
            feature_distance=target.feature_distance.cpu(),
            recovered_feature_distance=unknown,
            loss=unknown,
            floor=unknown,
            scale=unknown,
            steps=torch.zeros(problems, dtype=torch.long),
            dead=~distance.isfinite().cpu() & self.problems.known | excluded,
            best_distance=distance.cpu(),
            best_step=torch.zeros(problems, dtype=torch.long),
            metrics={name: values.cpu() for name, values in self.scores(recovered).items()},
            trajectory=Trajectory(),
            complete=True,
            feature_dim=target.dimensions().cpu(),
            seconds=time.perf_counter() - self._started,
            reasons=self._reasons,
        )
        return distance

    def _clean_features(self) -> Tensor:
        """Return h, computed once for each input of the batch."""
        first, rows = distinct(self.problems.names or range(len(self.problems)))
        return self._extract(self.embed(self._inputs[first]))[rows]


def check_memory(feature: Tensor, count: int, called: str, layer: str, share: Literal["half", "a quarter"]) -> None:
    """Check that the features of many inputs fit a share of the free memory.

    Args:
        feature: One of them.
        count: How many there are.
        called: What the inputs are, in the plural.
        layer: Layer name.
        share: The share.

    Raises:
        ReadoutError: if they don't.
    """
    needed, free = feature.nbytes * count, psutil.virtual_memory().available
    if needed > SHARES[share] * free:
        raise ReadoutError(
            f"Features of {count:,} {called} at layer {layer!r} take {needed / 2**30:.1f} GiB, more than {share} of "
            f"the free memory; give fewer {called}."
        )


def distinct(names: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Return the place of the first occurrence of each name, and for every name its index among those.

    Examples:
        >>> distinct(["cat", "cat", "dog"])
        ([0, 2], [0, 0, 1])
    """
    first: dict[Hashable, int] = {}
    for place, name in enumerate(names):
        first.setdefault(name, place)
    index = {name: place for place, name in enumerate(first)}
    return list(first.values()), [index[name] for name in names]
