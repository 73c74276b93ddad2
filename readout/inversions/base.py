"""The base class of inversions: one training step is one optimisation step of every problem in the batch."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR

from readout.common.checks import check_whole
from readout.common.errors import ReadoutError, reason
from readout.extractors import FeatureExtractor
from readout.inversions.batch import Outcome, ProblemBatch
from readout.inversions.losses import FeatureLoss, MeanSquaredError
from readout.inversions.optimizers import (
    ALONE,
    TRIAL_STEPS,
    can_drop_rows,
    couples,
    describe_optimizer,
    fused,
    keep_rows,
    usable,
)
from readout.inversions.protocols import PaperProtocol, Protocol
from readout.inversions.resuming import Resumable
from readout.inversions.running import Running
from readout.inversions.schedules import ScheduleFactory, build_schedule, course, describe_schedule
from readout.inversions.step import Step, StepGraph
from readout.inversions.target import make_target
from readout.inversions.trajectory import Trajectory
from readout.metrics import CorrelationDistance, SampleMetric
from readout.priors import Prior
from readout.problems.identity import describe

LEAVING_SHARE = 1 / 8
"""Least share of a batch that must be finished before it shrinks, because shrinking copies parameters and state."""

OptimizerFactory = Callable[..., Optimizer]


def paper_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return AdamW with a learning rate of 1e-4, as in the paper."""
    return AdamW(parameters, lr=1e-4)


def optimisation_steps(trainer: Trainer) -> int:
    """Return the number of steps of a fit.

    Raises:
        ReadoutError: if ``trainer.max_steps`` is not set.
    """
    if trainer.max_steps < 1:
        raise ReadoutError("trainer.max_steps, the number of optimisation steps, is not set; set it to 1 or more.")
    return trainer.max_steps


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
            steps; None for a constant rate. Omitted step counts (:data:`readout.inversions.schedules.STEP_COUNTS`)
            are the run's. Default: linear decay to 0.
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
        super().__init__()
        self.extractor = extractor
        self.prior = prior
        self.optimizer = optimizer or paper_optimizer
        self.lr_schedule = lr_schedule
        self.loss = loss or MeanSquaredError()
        self.metric = metric or CorrelationDistance()
        self.metrics = nn.ModuleList(metrics)
        self.protocol = protocol or PaperProtocol()
        self.record_every = check_whole("record_every", record_every, 1)
        self.max_restarts = check_whole("max_restarts", max_restarts, 0)
        self.cuda_graph = cuda_graph
        if self.metric.higher_is_better is not False:
            raise ReadoutError(f"{self.metric.name} is a similarity and can't serve as d_X; choose a distance.")
        for part in (self.extractor, self.prior, self.loss):
            if cuda_graph and not part.capturable:
                raise ReadoutError(f"{type(part).__name__} can't run in a CUDA graph; leave out cuda_graph.")
        self.outcome: Outcome | None = None
        self.prior.prepare_for(extractor)
        for scored in (self.metric, *metrics):
            scored.prepare_for(extractor)

    def embed(self, inputs: Tensor) -> Tensor:
        """Convert inputs to the extractor's form; by default they have it.

        Args:
            inputs: True or recovered inputs, shape (problems, *input_shape).

        Raises:
            ReadoutError: if the inputs are token ids, and the inversion is not for texts.
        """
        if not inputs.is_floating_point():
            raise ReadoutError(f"{type(self).__name__} can't invert texts; set the model to TextInversion.")
        return inputs

    def scored(self, inputs: Tensor) -> Tensor:
        """Mark the parts of true inputs that metrics ignore; by default none."""
        return inputs

    def check_scores(self, x: Tensor) -> None:
        """Check that every metric can score inputs like this one, by scoring it against itself.

        Args:
            x: An input, shape (*input_shape).

        Raises:
            ReadoutError: if a metric fails or returns no value.
        """
        scored = self.scored(x.unsqueeze(0))
        for metric in (self.metric, *self.metrics):
            assert isinstance(metric, SampleMetric)
            why = "it returns no value"
            try:
                with torch.no_grad():
                    values = metric.per_sample(scored.to(metric.device), scored.to(metric.device))
                good = values.shape == (1,) and not values.isnan().any()
            except ReadoutError:
                raise
            except Exception as error:
                good, why = False, reason(error)
            if not good:
                raise ReadoutError(
                    f"{type(metric).__name__} can't score inputs of {' × '.join(map(str, x.shape))} ({why}); use "
                    "larger ones, or choose other metrics."
                )

    def describe_recovered(self, true: Tensor, recovered: Tensor) -> dict[str, Any]:
        """Return further columns of one problem's results, such as decoded texts; by default none.

        Args:
            true: True input, shape (*input_shape).
            recovered: Recovered input, same shape.
        """
        return {}

    def steps(self, max_steps: int, inputs: Iterable[Tensor]) -> int:
        """Return the most steps that a fit of these inputs takes; by default ``max_steps``."""
        return max_steps

    def load(self, problems: ProblemBatch) -> None:
        """Set the batch of problems that the next ``Trainer.fit`` solves."""
        self.problems = problems
        self.outcome = None
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
        described: dict[str, Any] = describe(self, skip=("extractor", "optimizer", "lr_schedule", "cuda_graph"))
        described["prior_fingerprint"] = self.prior.fingerprint()
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

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser of the prior's parameters, and a schedule that advances with every step."""
        parameters = [parameter for parameter in self.prior.parameters() if parameter.requires_grad]
        optimizer, schedule = self._build_optimizer(parameters, optimisation_steps(self.trainer))
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
        self._started = time.perf_counter()
        self.extractor.lay_out(self.device)
        self.prior.lay_out(self.device)
        inputs = self.problems.inputs.to(self.device)
        self._inputs = inputs.to(self._score_type) if inputs.is_floating_point() else inputs
        self._scored = self.scored(self._inputs)
        self._unknown = ~self.problems.known.to(self.device)
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            clean = self._extract(self.embed(self._inputs))
            mask = None if self.problems.mask is None else self.problems.mask.to(self.device)
            self._target, self._reasons = make_target(clean, self.problems, mask, self.loss)
        self._running, self._active_target = Running(self._inputs), self._target
        excluded = torch.tensor([place in self._reasons for place in range(len(inputs))], device=self.device)
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
        if self._observed != self.trainer.global_step:  # optimisers such as LBFGS evaluate several times per step
            self._observed = self.trainer.global_step
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
            self._observe(self.trainer.global_step, last, feature, self._active_target.losses(feature), True)
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

    @property
    def _type(self) -> torch.dtype:
        assert isinstance(self.dtype, torch.dtype)
        return self.dtype

    @property
    def _score_type(self) -> torch.dtype:
        return torch.promote_types(self._type, torch.float32)

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

    def _extract(self, inputs: Tensor) -> Tensor:
        # autocast or half precision may give a half-precision feature; losses and distances need float32 at least
        return self._feature(inputs.to(self._type)).to(self._score_type)

    def _feature(self, inputs: Tensor) -> Tensor:
        return self.extractor.extract(inputs, self.problems.layer)

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

    def _measure(self, metric: SampleMetric, recovered: Tensor) -> Tensor:
        """Score recovered inputs, shape (problems,); NaN where the true input is unknown."""
        return metric.per_sample(recovered, self._scored).masked_fill(self._unknown, math.nan)

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

    def _score(self, last: Tensor) -> Outcome:
        recovered = self._running.iterates(last)
        feature = self._extract(self.embed(recovered))
        distance = self._measure(self.metric, recovered)
        steps = self._running.steps(self.trainer.global_step)
        best_distance, best_step = self.trajectory.best(distance.cpu(), steps.cpu())
        target = self._target
        return Outcome(
            recovered=recovered.cpu(),
            distance=distance.cpu(),
            feature_distance=target.feature_distance.cpu(),
            recovered_feature_distance=self._target.distances(feature).cpu(),
            loss=self._target.losses(feature).cpu(),
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
            complete=self.trainer.global_step >= self.trainer.max_steps or self._all_done(),
            feature_dim=target.dimensions().cpu(),
            seconds=time.perf_counter() - self._started,
            reasons=self._reasons,
        )
