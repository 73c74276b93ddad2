"""The base class of inversions: one training step is one optimisation step of every problem in the batch."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR

from readout.common.checks import check_max_steps, check_whole
from readout.common.errors import ReadoutError
from readout.data import Samples
from readout.extractors import FeatureExtractor
from readout.metrics import CorrelationDistance, SampleMetric
from readout.priors import Prior
from readout.problems.identity import describe
from readout.readouts.batch import Outcome, ProblemBatch
from readout.readouts.inversion.optimizers import (
    ALONE,
    TRIAL_STEPS,
    can_drop_rows,
    couples,
    describe_optimizer,
    fused,
    keep_rows,
    usable,
)
from readout.readouts.inversion.protocols import PaperProtocol, Protocol
from readout.readouts.inversion.resuming import Resumable
from readout.readouts.inversion.running import Running
from readout.readouts.inversion.schedules import ScheduleFactory, build_schedule, course, describe_schedule
from readout.readouts.inversion.step import Step, StepGraph
from readout.readouts.losses import FeatureLoss, MeanSquaredError
from readout.readouts.target import Target
from readout.readouts.trajectory import Trajectory

LEAVING_SHARE = 1 / 8
"""Least share of a batch that must be finished before it shrinks, because shrinking copies parameters and state."""

OptimizerFactory = Callable[..., Optimizer]


def paper_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return AdamW with a learning rate of 1e-4, as in the paper."""
    return AdamW(parameters, lr=1e-4)


class FeatureInversion(Resumable):
    """Recovery of inputs from perturbed features of a frozen network, by optimising a prior's parameters.

    Call :meth:`load` with a batch of problems, pass the module to ``Trainer.fit`` with ``range(max_steps)`` as its
    data, and read :attr:`outcome`. :class:`readout.sweep.Sweep` does so for all problems of a configuration.

    Problems are independent: losses are summed, so each problem has the gradient that it would have alone, and its
    random numbers come from its own seeds.

    Args:
        extractor: Frozen network f.
        prior: Parametrisation of the inputs.
        optimizer: Optimiser factory, called with the prior's parameters. Default: :func:`paper_optimizer`.
        lr_schedule: Learning-rate schedule: a class, a partial of one, or a function of the optimiser and the number of
            steps; None for a constant rate. Omitted step counts
            (:data:`readout.readouts.inversion.schedules.STEP_COUNTS`) are the run's. Default: linear decay to 0.
        loss: Loss between f(x̂) and h'. Default: :class:`MeanSquaredError`.
        metric: Distance d_X between inputs. Default: :class:`readout.metrics.CorrelationDistance`.
        metrics: Further metrics to report.
        protocol: Stopping rule. Default: :class:`PaperProtocol`.
        record_every: Steps between records of the trajectory.
        max_restarts: Most restarts of a dead run, each from a fresh seed.
        cuda_graph: On a GPU, launch each step as one CUDA graph. Values are the same; network, prior and loss must be
            :attr:`~readout.priors.Prior.capturable`.

    Raises:
        ReadoutError: if ``metric`` is not a distance, a number is out of range, or a part can't be captured.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        prior: Prior,
        optimizer: OptimizerFactory | None = None,
        lr_schedule: ScheduleFactory | None = PolynomialLR,
        loss: FeatureLoss | None = None,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] = (),
        protocol: Protocol | None = None,
        record_every: int = 10,
        max_restarts: int = 3,
        cuda_graph: bool = False,
    ) -> None:
        super().__init__(extractor, metric or CorrelationDistance(), metrics)
        self.prior = prior
        self.optimizer = optimizer or paper_optimizer
        self.lr_schedule = lr_schedule
        self.loss = loss or MeanSquaredError()
        self.protocol = protocol or PaperProtocol()
        self.record_every = check_whole("record_every", record_every, 1)
        self.max_restarts = check_whole("max_restarts", max_restarts, 0)
        self.cuda_graph = cuda_graph
        for part in (self.extractor, self.prior, self.loss):
            if cuda_graph and not part.capturable:
                raise ReadoutError(f"{type(part).__name__} can't run in a CUDA graph; leave out cuda_graph.")
        self.prior.prepare_for(extractor)

    iterative = True
    transient = Resumable.transient | {"trajectory", "resumed", "_running", "_active_target", "_active", "_graph"}
    batch_limit: ClassVar = {"cpu": 16, "cuda": 256}
    loss: FeatureLoss

    @property
    def title(self) -> str:
        """See :class:`Readout`."""
        return f"{self.prior_name} · {self.protocol_name} protocol"

    @property
    def prior_name(self) -> str:
        """Class of the prior."""
        return type(self.prior).__name__

    @property
    def protocol_name(self) -> str:
        """Name of the protocol."""
        return self.protocol.name

    @property
    def needs_true_input(self) -> bool:
        """Whether the protocol uses the loss at the true input."""
        return self.protocol.needs_true_input

    def meet(self, samples: Samples, shape: Sequence[int] | None) -> None:
        """See :class:`Readout`."""
        self.loss.meet(self.extractor, samples, shape)

    def steps(self, trainer: Trainer, inputs: Iterable[Tensor]) -> int:
        """Return the number of optimisation steps.

        Raises:
            ReadoutError: if ``trainer.max_steps`` is not set.
        """
        return check_max_steps(trainer.max_steps, "optimisation")

    def run(self, trainer: Trainer, checkpoint: str | None = None) -> None:
        """Call ``Trainer.fit``, whose every step is one step of every problem; see :class:`Readout`."""
        trainer.fit(self, range(trainer.max_steps), ckpt_path=checkpoint)

    def load(self, problems: ProblemBatch) -> None:
        """Set the batch of problems that the next fit solves."""
        super().load(problems)
        self.trajectory = Trajectory()
        self.resumed = None
        self._initialise(problems)

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """Return everything about the readout that decides its answers, as plain data for keys.

        Args:
            steps: Optimisation steps of the fit.

        Raises:
            ReadoutError: if the optimiser or the schedule can't be used.
        """
        described = self._described()
        optimizer, _ = self._build_optimizer([nn.Parameter(torch.zeros(1, 1))], None)
        described["optimizer"] = describe_optimizer(optimizer)
        course(optimizer)  # refuses invalid numbers
        optimizer, schedule = self._build_optimizer([nn.Parameter(torch.zeros(1, 1))], steps)
        if schedule is not None:
            with usable(self.lr_schedule):
                described["lr_schedule"] = describe_schedule(optimizer, schedule, steps)
        # with and without the schedule, whose rates may hide a coupling, such as a warm-up from 0
        constant, scheduled = (partial(self._build_optimizer, steps=count) for count in (None, steps))
        if couples(constant) or (schedule is not None and couples(scheduled, min(steps, TRIAL_STEPS))):
            described["optimizer"][ALONE] = True
        return described

    def _described(self) -> dict[str, Any]:
        """Describe everything but the optimiser and its schedule."""
        described: dict[str, Any] = describe(self, skip=("extractor", "optimizer", "lr_schedule", "cuda_graph"))
        return {**described, "prior_fingerprint": self.prior.fingerprint()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser of the prior's parameters, and a schedule that advances with every step."""
        parameters = [parameter for parameter in self.prior.parameters() if parameter.requires_grad]
        optimizer, schedule = self._build_optimizer(parameters, self.steps(self.trainer, ()))
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Compute h, h' and the loss at the true input; problems without a target end here.

        Raises:
            ReadoutError: if gradients are accumulated.
        """
        if self.trainer.accumulate_grad_batches != 1:
            raise ReadoutError("accumulate_grad_batches has no meaning for inversions; leave it at 1.")
        self.prior.lay_out(self.device)
        self._begin()
        self._running, self._active_target = Running(self._inputs), self._target
        excluded = torch.tensor([place in self._reasons for place in range(len(self.problems))], device=self.device)
        self._running.end(torch.zeros_like(excluded), excluded, 0, torch.zeros_like(self._inputs))
        self._graph: StepGraph | None = None
        self._observed = -1
        self._active: Tensor | None = None
        self.resume()
        if self._reasons and self.resumed is None:
            self._drop_finished(self._running.active())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the sum of losses; a mean would scale each problem's gradient by the size of the batch."""
        step = self._next_step()
        if self._observed != self.steps_taken:  # optimisers such as LBFGS evaluate several times per step
            self._observed = self.steps_taken
            self._observe(self._observed, step.inputs.detach(), step.feature.detach(), step.losses.detach())
        return step.total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Drop finished problems, if this step recorded them."""
        if self._active is not None:
            self._drop_finished(self._active)

    def on_train_end(self) -> None:
        """Score the iterate that the protocol selects."""
        self._graph = None
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            last = self.prior().to(self._score_type)
            feature = self._extract(last)
            self._observe(self.steps_taken, last, feature, self._objective(last, feature, self._active_target), True)
            self.outcome = self._score(self._running.scatter(self.prior.read_out(last), 0))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Refuse clipping, whose norm over the batch would couple its problems.

        Raises:
            ReadoutError: if ``gradient_clip_val`` is set.
        """
        if gradient_clip_val:
            raise ReadoutError("gradient_clip_val would couple the problems of a batch; leave it out.")

    def _begin(self) -> None:
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            self.loss.prepare(lambda inputs: self._extract(inputs.to(self.device)), self.problems.layer)
        super()._begin()

    def _initialise(self, problems: ProblemBatch) -> None:
        self.prior.initialise(problems.prior_seeds, problems.inputs.shape[1:])

    def _build_optimizer(
        self, parameters: list[nn.Parameter], steps: int | None
    ) -> tuple[Optimizer, LRScheduler | None]:
        """Build the optimiser, and its schedule over ``steps`` steps unless the rate is constant or steps are None."""
        with usable(self.optimizer):
            optimizer = fused(self.optimizer(parameters))
        if self.lr_schedule is None or steps is None:
            return optimizer, None
        with usable(self.lr_schedule):
            return optimizer, build_schedule(self.lr_schedule, optimizer, steps)

    def _next_step(self) -> Step:
        if not self.cuda_graph or self.device.type != "cuda":
            return self._step()
        if self._graph is None:
            self.prior.captured = True
            self._graph = StepGraph(self._step, [each for each in self.prior.parameters() if each.requires_grad])
        return self._graph()

    def _step(self) -> Step:
        inputs = self.prior().to(self._score_type)
        feature = self._extract(inputs)
        losses = self._active_target.losses(feature)
        return Step(inputs, feature, losses, total=(losses + self.prior.penalty(inputs)).sum())

    def _observe(self, step: int, inputs: Tensor, feature: Tensor, losses: Tensor, final: bool = False) -> None:
        """Record a step, and keep the iterates of problems that finish; must not wait for the device."""
        self._active = None
        reached = self.protocol.reached(losses, self._active_target.floor)
        recording = final or step % self.record_every == 0
        if reached is None and not recording:
            return
        running = self._running
        before = running.ended >= 0
        recovered = self.prior.read_out(inputs)
        never = torch.zeros_like(losses, dtype=torch.bool)
        died = self.prior.is_dead(recovered) | ~losses.isfinite() if recording else never
        recovered, losses = running.scatter(recovered, 0), running.scatter(losses, math.nan)
        arrived = running.scatter(never if reached is None else reached, False)
        running.end(arrived, running.scatter(died, False), step, recovered)
        if not recording:
            return
        # a finished problem is no longer recorded, whether or not others keep its batch running
        gone = before | running.dead
        distances = running.scatter(self._active_target.distances(feature), math.nan)
        self.trajectory.add(
            step,
            loss=losses.masked_fill(gone, math.nan),
            distance=self._measure(self.metric, recovered).masked_fill(gone, math.nan),
            recovered_feature_distance=distances.masked_fill(gone, math.nan),
        )
        if not final:
            self._active = running.active()
            self.trainer.should_stop |= not len(self._active)

    def _all_done(self) -> bool:
        return bool((self._running.ended >= 0).all())

    def _drop_finished(self, active: Tensor) -> None:
        """Shrink the batch to its active problems, if enough have finished, and prior and optimiser permit."""
        running = self._running
        leaving = len(running.rows) - len(active)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        if not len(active) or leaving < LEAVING_SHARE * len(running.rows) or not can_drop_rows(optimizer):
            return
        with keep_rows(optimizer, active):
            if not self.prior.keep(active):
                return
            self.prior.lay_out(self.device)
        running.rows, self._active_target = running.rows[active], self._active_target.of(active)
        self._graph = None  # a captured graph reads the parameters' old memory

    def _objective(self, inputs: Tensor, feature: Tensor, target: Target) -> Tensor:
        """Return what verdicts compare with the same at the true input, shape (problems,): the loss.

        The penalty of a prior does not count: it was made for the optimiser, and may be large at the true input.
        """
        return target.losses(feature)

    def _score(self, last: Tensor) -> Outcome:
        recovered = self._running.iterates(last)
        feature = self._extract(self.embed(recovered))
        distance = self._measure(self.metric, recovered)
        steps = self._running.steps(self.steps_taken)
        best_distance, best_step = self.trajectory.best(distance.cpu(), steps.cpu())
        target = self._target
        return Outcome(
            recovered=recovered.cpu(),
            distance=distance.cpu(),
            feature_distance=target.feature_distance.cpu(),
            recovered_feature_distance=self._target.distances(feature).cpu(),
            loss=self._objective(recovered, feature, target).cpu(),
            floor=target.floor.cpu(),
            scale=target.scale.cpu(),
            steps=steps.cpu(),
            dead=self._running.dead.cpu(),
            best_distance=best_distance,
            best_step=best_step,
            metrics={
                metric.name: self._measure(metric, recovered).cpu()
                for metric in self.metrics
                if isinstance(metric, SampleMetric)
            },
            trajectory=self.trajectory,
            complete=self.steps_taken >= self.trainer.max_steps or self._all_done(),
            feature_dim=target.dimensions().cpu(),
            seconds=time.perf_counter() - self._started,
            reasons=self._reasons,
        )
