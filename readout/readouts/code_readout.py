"""Readout of sparse codes: inversion of a dictionary."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from lightning.pytorch import Trainer
from torch import Tensor

from readout.codes import Coder, Superposition
from readout.common.errors import ReadoutError
from readout.data import Samples
from readout.metrics import CorrelationDistance, SampleMetric, SupportDistance
from readout.problems.identity import describe
from readout.readouts.inversion.protocols import LastIteration
from readout.readouts.inversion.without_optimizer import WithoutOptimizer
from readout.readouts.losses import MeanSquaredError
from readout.readouts.target import Target


class CodeReadout(WithoutOptimizer):
    """The sparse code of which a feature is a sum of atoms.

    Feature inversion, whose network is a dictionary, f(s) = D s, whose input is a code s, and whose prior is sparsity.
    A coder takes the optimiser's place: one step of the Trainer is one of its iterations, so the trajectory shows what
    iterating gains over one pass. A verdict counts the coder's penalty, so it is ``not_converged`` if the true code
    explains h' better than the code that was found, and ``unrecovered`` if another explains it as well.

    Args:
        extractor: The dictionary.
        coder: The algorithm.
        metric: Distance d_S between codes. Default: :class:`readout.metrics.SupportDistance`.
        metrics: Further metrics to report. Default: :class:`readout.metrics.CorrelationDistance`.
        record_every: Iterations between records of the trajectory.

    Examples:
        >>> from readout import measure
        >>> from readout.codes import GaussianDictionary, OnePass, OrthogonalMatchingPursuit, SparseCodes
        >>> network, codes = Superposition(GaussianDictionary(atoms=64, dimensions=32)), SparseCodes(50, active=3)
        >>> for coder in (OnePass(active=3), OrthogonalMatchingPursuit(active=3)):
        ...     readout = CodeReadout(network, coder)
        ...     measured = measure(None, codes, "all", levels=[0], readout=readout, steps=3, progress=False)
        ...     print(type(coder).__name__, (measured.problems["verdict"] == "recovered").mean())
        OnePass 0.2
        OrthogonalMatchingPursuit 1.0
    """

    extractor: Superposition
    prior: Coder
    signal_kind = "code"
    batch_limit: ClassVar = {"cpu": 1024, "cuda": 16384}

    def __init__(
        self,
        extractor: Superposition,
        coder: Coder,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] | None = None,
        record_every: int = 1,
    ) -> None:
        super().__init__(
            extractor,
            coder,
            lr_schedule=None,
            loss=MeanSquaredError(),
            metric=metric or SupportDistance(),
            metrics=[CorrelationDistance()] if metrics is None else metrics,
            protocol=LastIteration(),
            record_every=record_every,
            max_restarts=0,
        )

    @property
    def coder(self) -> Coder:
        """The algorithm."""
        return self.prior

    @property
    def title(self) -> str:
        """See :class:`Readout`."""
        return type(self.coder).__name__

    @property
    def protocol_name(self) -> str | None:  # type: ignore[override]
        """Name of the protocol; None for a coder in one pass."""
        return None if self.coder.one_pass else self.protocol.name

    def meet(self, samples: Samples, shape: Sequence[int] | None) -> None:
        """Check that inputs are codes.

        Raises:
            ReadoutError: if their shape is another.
        """
        latents = len(self.extractor.dictionary)
        for x in [*samples.shapes.values()][:1]:  # all have one shape
            if not x.is_floating_point() or x.shape != (latents,):
                given = " × ".join(map(str, x.shape)) if x.is_floating_point() else "texts"
                raise ReadoutError(f"Inputs are {given}, but a code has {latents} latents; set data to SparseCodes.")

    def check_layer(self, layer: str, example: Tensor) -> None:
        """See :class:`Readout`; checks the coder."""
        self.coder.check(self.extractor.extract(example, layer))

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """See :class:`Readout`."""
        described: dict[str, Any] = describe(self, skip=("extractor",))
        return described

    def steps(self, trainer: Trainer, inputs: Iterable[Tensor]) -> int:
        """Return the number of the coder's iterations, at most ``trainer.max_steps``."""
        return self.coder.steps(super().steps(trainer, inputs))

    def on_train_start(self) -> None:
        """See :class:`FeatureInversion`."""
        super().on_train_start()
        self.coder.aim(self._target.perturbed)

    def take_step(self, step: int) -> None:
        """Improve every code by one iteration."""
        codes = self.coder()
        feature = self._extract(codes)
        self._observe(step, codes, feature, self._objective(codes, feature, self._target))
        self.coder.iterate()

    def _begin(self) -> None:
        super()._begin()
        floor = self._target.floor + self.coder.penalty(self._inputs)
        self._target = replace(self._target, floor=floor)

    def _objective(self, inputs: Tensor, feature: Tensor, target: Target) -> Tensor:
        return super()._objective(inputs, feature, target) + self.coder.penalty(inputs)

    def _all_done(self) -> bool:
        return self.steps_taken >= self.steps(self.trainer, ())
