"""FeatureInversion: one training step is one optimisation step of every problem in the batch."""

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
    couples,
    describe_optimizer,
    fused,
    keep_rows,
    rows_can_go,
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
"""Problems that are done leave their batch once they are such a share of it: each departure lays memory out anew."""

OptimizerFactory = Callable[..., Optimizer]


def paper_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """AdamW at a learning rate of 1e-4, as in the paper."""
    return AdamW(parameters, lr=1e-4)


def optimisation_steps(trainer: Trainer) -> int:
    """The number of steps of a fit.

    Raises:
        ReadoutError: if the trainer was given none.
    """
    if trainer.max_steps < 1:
        raise ReadoutError("trainer.max_steps is the number of optimisation steps; set it to 1 or more.")
    return trainer.max_steps


class FeatureInversion(Resumable):
    """Recover inputs from perturbed features of a frozen network, by optimising a prior's parameters.

    Call :meth:`load` with a batch of problems, hand the module to ``Trainer.fit`` with
    ``range(max_steps)`` as its data, and read :attr:`outcome`. :class:`readout.sweep.Sweep` does that.

    Problems never touch each other: losses are summed, so every problem's gradient is what it would be
    alone, and each problem's random numbers come from its own seeds.

    Args:
        extractor: The frozen network f.
        prior: What inputs are parameterised by.
        optimizer: Optimiser factory, given the prior's parameters. Default: :func:`paper_optimizer`.
        lr_schedule: Learning-rate schedule: a class, a partial of one, or a function of the optimiser and the number of
            steps; None for a constant rate. Step counts that are left out (:data:`readout.inversions.STEP_COUNTS`)
            are the run's. Default: linear decay to zero.
        loss: Loss between f(x̂) and h'.
        metric: d_X, a distance.
        metrics: Further metrics to report.
        protocol: When an inversion ends and which iterate counts.
        record_every: Record the trajectory every so many steps.
        max_restarts: How often a dead run starts again from a fresh seed.
        cuda_graph: On a GPU, launch each step as one graph. Values are the same; only a network, a prior and a loss
            that are :attr:`~readout.priors.Prior.capturable` can be taken into one.

    Raises:
        ReadoutError: if ``metric`` is not a distance, a number is out of range, or something can't be captured.
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
            raise ReadoutError(f"{self.metric.name} grows with likeness, so it can't be d_X; choose a distance.")
        for part in (self.extractor, self.prior, self.loss):
            if cuda_graph and not part.capturable:
                raise ReadoutError(f"{type(part).__name__} can't be taken into a CUDA graph; leave out cuda_graph.")
        self.outcome: Outcome | None = None
        self.prior.prepare_for(extractor)
        for scored in (self.metric, *metrics):
            scored.prepare_for(extractor)

    def embed(self, inputs: Tensor) -> Tensor:
        """Inputs as the extractor takes them; the same by default.

        Args:
            inputs: True or recovered inputs, shape (problems, *input_shape).

        Raises:
            ReadoutError: if they are token ids, and the inversion is not for texts.
        """
        if not inputs.is_floating_point():
            raise ReadoutError(f"{type(self).__name__} can't invert texts; set the model to TextInversion.")
        return inputs

    def scored(self, inputs: Tensor) -> Tensor:
        """What of the true inputs metrics look at; everything by default."""
        return inputs

    def check_scores(self, x: Tensor) -> None:
        """Find out whether all metrics can score inputs like this one, by scoring it against itself.

        Args:
            x: An input, shape (*input_shape).

        Raises:
            ReadoutError: if one can't, or gives no value.
        """
        scored = self.scored(x.unsqueeze(0))
        for metric in (self.metric, *self.metrics):
            assert isinstance(metric, SampleMetric)
            why = "it gives no value"
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
                    f"{type(metric).__name__} can't score inputs of {' × '.join(map(str, x.shape))} ({why}); give "
                    "larger ones, or choose other metrics."
                )

    def describe_recovered(self, true: Tensor, recovered: Tensor) -> dict[str, Any]:
        """Further columns of one problem's results, such as texts in words; none by default.

        Args:
            true: True input, shape (*input_shape).
            recovered: What was recovered of it, the same shape.
        """
        return {}

    def steps(self, max_steps: int, inputs: Iterable[Tensor]) -> int:
        """Steps of a fit at most; ``trainer.max_steps`` by default."""
        return max_steps

    def load(self, problems: ProblemBatch) -> None:
        """Take on a batch of problems; the next ``Trainer.fit`` solves it."""
        self.problems = problems
        self.outcome = None
        self.trajectory = Trajectory()
        self.resumed = None
        self._initialise(problems)

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """Everything about the readout that decides an answer, as JSON-like data.

        Args:
            steps: Of the fit.

        Raises:
            ReadoutError: if the optimiser or the schedule can't be used.
        """
        described: dict[str, Any] = describe(self, skip=("extractor", "optimizer", "lr_schedule", "cuda_graph"))
        described["prior_fingerprint"] = self.prior.fingerprint()
        optimizer, _ = self._build_optimizer([nn.Parameter(torch.zeros(1, 1))], None)
        described["optimizer"] = describe_optimizer(optimizer)
        course(optimizer)
        optimizer, schedule = self._build_optimizer([nn.Parameter(torch.zeros(1, 1))], steps)
        if schedule is not None:
            with usable(self.lr_schedule):
                described["lr_schedule"] = describe_schedule(optimizer, schedule, steps)
        constant, scheduled = (partial(self._build_optimizer, steps=count) for count in (None, steps))
        if couples(constant) or (schedule is not None and couples(scheduled, min(steps, TRIAL_STEPS))):
            described["optimizer"][ALONE] = True
        return described

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimiser over the prior's parameters; the schedule steps with every optimisation step."""
        parameters = [parameter for parameter in self.prior.parameters() if parameter.requires_grad]
        optimizer, schedule = self._build_optimizer(parameters, optimisation_steps(self.trainer))
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Compute the targets: h, h', and the loss at the true input; problems that have none end here.

        Raises:
            ReadoutError: if gradients are accumulated.
        """
        if self.trainer.accumulate_grad_batches != 1:
            raise ReadoutError("accumulate_grad_batches means nothing here; leave it at 1.")
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
        self._running, self._present = Running(self._inputs), self._target
        excluded = torch.tensor([place in self._reasons for place in range(len(inputs))], device=self.device)
        self._running.end(torch.zeros_like(excluded), excluded, 0, torch.zeros_like(self._inputs))
        self._graph: StepGraph | None = None
        self._observed = -1
        self._staying: Tensor | None = None
        self.resume()
        if self._reasons and self.resumed is None:
            self._let_go(self._running.staying())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One optimisation step; the loss is a sum, so that no problem scales another's gradient."""
        step = self._next_step()
        if self._observed != self.trainer.global_step:  # an optimiser may ask for several evaluations a step
            self._observed = self.trainer.global_step
            self._observe(self._observed, step.inputs.detach(), step.feature.detach(), step.losses.detach())
        return step.total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let problems go that are done, whenever their number has just been looked at."""
        if self._staying is not None:
            self._let_go(self._staying)

    def on_train_end(self) -> None:
        """Score the iterate that the protocol says counts."""
        self._graph = None
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            last = self.prior().to(self._score_type)
            feature = self._extract(last)
            self._observe(self.trainer.global_step, last, feature, self._present.losses(feature), True)
            self.outcome = self._score(self._running.spread(self.prior.read_out(last), 0))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Refuse: a norm over the batch would couple its problems.

        Raises:
            ReadoutError: if clipping is asked for.
        """
        if gradient_clip_val:
            raise ReadoutError(
                "gradient_clip_val would let the problems of a batch scale each other's gradients; leave it out."
            )

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
        """Optimiser, and its schedule over so many steps; at a constant rate if None."""
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
        losses = self._present.losses(feature)
        return Step(inputs, feature, losses, total=(losses + self.prior.penalty(inputs)).sum())

    def _extract(self, inputs: Tensor) -> Tensor:
        # autocast or half precision may lower a feature; distances and losses are taken in float32 at least
        return self._feature(inputs.to(self._type)).to(self._score_type)

    def _feature(self, inputs: Tensor) -> Tensor:
        return self.extractor.extract(inputs, self.problems.layer)

    def _observe(self, step: int, inputs: Tensor, feature: Tensor, losses: Tensor, final: bool = False) -> None:
        """Record, and keep the iterates of problems that are done; nothing here waits for the device."""
        self._staying = None
        reached = self.protocol.reached(losses, self._present.floor)
        recording = final or step % self.record_every == 0
        if reached is None and not recording:
            return
        running = self._running
        before = running.ended >= 0
        recovered = self.prior.read_out(inputs)
        never = torch.zeros_like(losses, dtype=torch.bool)
        died = self.prior.is_dead(recovered) | ~losses.isfinite() if recording else never
        recovered, losses = running.spread(recovered, 0), running.spread(losses, math.nan)
        arrived = running.spread(never if reached is None else reached, False)
        running.end(arrived, running.spread(died, False), step, recovered)
        if not recording:
            return
        # A problem that has arrived leaves the record, as it would alone.
        gone = before | running.dead
        distances = running.spread(self._present.distances(feature), math.nan)
        self.trajectory.add(
            step,
            loss=losses.masked_fill(gone, math.nan),
            distance=self._measured(self.metric, recovered).masked_fill(gone, math.nan),
            recovered_feature_distance=distances.masked_fill(gone, math.nan),
        )
        if not final:
            self._staying = running.staying()
            self.trainer.should_stop |= not len(self._staying)

    def _measured(self, metric: SampleMetric, recovered: Tensor) -> Tensor:
        """A metric between recovered and true inputs, shape (problems,); NaN where the true one is not known."""
        return metric.per_sample(recovered, self._scored).masked_fill(self._unknown, math.nan)

    def _all_done(self) -> bool:
        return bool((self._running.ended >= 0).all())

    def _let_go(self, staying: Tensor) -> None:
        """Go on with these places of the batch only, where prior and optimiser permit, and enough have left."""
        running = self._running
        leaving = len(running.rows) - len(staying)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        if not len(staying) or leaving < LEAVING_SHARE * len(running.rows) or not rows_can_go(optimizer):
            return
        with keep_rows(optimizer, staying):
            if not self.prior.keep(staying):
                return
            self.prior.lay_out(self.device)
        running.rows, self._present = running.rows[staying], self._present.of(staying)
        self._graph = None  # parameters have moved

    def _score(self, last: Tensor) -> Outcome:
        recovered = self._running.iterates(last)
        feature = self._extract(self.embed(recovered))
        distance = self._measured(self.metric, recovered)
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
                metric.name: self._measured(metric, recovered).cpu()
                for metric in self.metrics
                if isinstance(metric, SampleMetric)
            },
            trajectory=self.trajectory,
            complete=self.trainer.global_step >= self.trainer.max_steps or self._all_done(),
            feature_dim=target.dimensions().cpu(),
            seconds=time.perf_counter() - self._started,
            reasons=self._reasons,
        )
