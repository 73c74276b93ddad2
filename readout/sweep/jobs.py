"""The jobs of a sweep, and what all of them need: nothing here reads or writes results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.loggers import Logger
from torch import Tensor

from readout.executors import Desk, Job
from readout.perturbations import Perturbation
from readout.problems import Problem
from readout.readouts import ProblemBatch, Readout
from readout.readouts.run import Row, read
from readout.sweep.checkpoints import BatchCheckpoint, file_name
from readout.sweep.claims import FILE as CLAIM
from readout.sweep.claims import is_seen
from readout.sweep.independence import check_independent
from readout.sweep.probe import BatchSize, Cost, probe
from readout.sweep.reporter import Reporter
from readout.sweep.runtime import Runtime
from readout.sweep.schedule import Batch
from readout.sweep.training import TrainingCheckpoint, rehearse, train

Inputs = Mapping[str, Tensor]
"""True inputs by sample name."""

Example = Callable[[Sequence[Problem], Inputs], ProblemBatch]
"""Makes a batch that costs as much as these problems, with known true inputs."""

Label = Callable[[list[Row], list[Tensor], Inputs], pd.DataFrame]
"""Makes the table of a batch from its rows, its recovered inputs and its true inputs."""


@dataclass
class Work:
    """The parts of a sweep that every job needs; they are sent to workers, so they hold no inputs."""

    readout: Readout
    perturbation: Perturbation
    runtime: Runtime
    example: Example
    label: Label
    checkpoints: Path
    """Folder of checkpoints."""
    minutes: float | None
    """Time between checkpoints."""
    claim: str = ""
    """Text of the driver's claim, which tells a worker whether it sees the same folder."""
    using: object = field(default=None, repr=False)
    """Weights that the readout uses."""
    told: bool = False
    """Whether a failure to write a checkpoint was printed."""

    def path(self, name: str) -> Path | None:
        """Return the path of a checkpoint; None if this process does not see the folder."""
        return self.checkpoints / name if is_seen(self.checkpoints / CLAIM, self.claim) else None


@dataclass
class ProbeJob(Job):
    """Check of a layer, and measurement of the cost of a step there."""

    layer: str
    problems: Sequence[Problem]
    """Candidates; see :func:`readout.sweep.probe.candidates`."""
    count: int
    """Problems that the layer has left."""
    inputs: Inputs
    size: BatchSize
    couples: Problem | None = None
    """Problem with which to check that problems don't change each other; None leaves the check out."""
    shared: str | None = None

    def __post_init__(self) -> None:
        self.name = f"probe of {self.layer}"

    def do(self, work: Work, desk: Desk, shared: Mapping[str, Tensor] | None) -> "Probed":
        """See :class:`Job`; ``shared`` are kept weights of the readout, if there are any."""
        readout, steps, seconds = work.readout, 0, 0.0
        work.using = None
        if shared is not None:
            assert readout.trained is not None
            readout.trained.use(self.layer, shared)
        elif readout.trained is not None:
            steps, seconds = rehearse(readout.trained, self.layer, work.runtime)

        def example(problems: Sequence[Problem]) -> ProblemBatch:
            return work.example(problems, self.inputs)

        known = (self.size, work.runtime, self.count, desk.free_memory)
        cost, size = probe(readout, self.problems, example, *known)
        if self.couples is not None:
            check_independent(readout, example([self.couples]), work.runtime)
        return Probed(cost, size, steps, seconds)


@dataclass(frozen=True)
class Probed:
    """Result of a probe."""

    cost: Cost
    batch_size: int
    training_steps: int
    training_step_seconds: float


@dataclass
class TrainJob(Job):
    """Training of the readout at a layer."""

    layer: str
    key: str
    """See :meth:`readout.readouts.TrainedReadout.weights_key`."""
    recorded: bool
    """Whether to record what is logged, where there are no loggers."""

    def __post_init__(self) -> None:
        self.name = self.key

    def do(self, work: Work, desk: Desk, shared: None) -> "Trained":
        """See :class:`Job`."""
        assert work.readout.trained is not None
        work.using = None
        recorder = Recorder()
        if self.recorded and not desk.loggers:
            desk = replace(desk, loggers=[recorder])
        path = work.path(f"{self.key}.ckpt")
        checkpoint = TrainingCheckpoint(path, work.minutes, desk.stop, desk.say)
        training = work.readout.trained.make_training(self.layer)
        weights = train(training, self.layer, checkpoint, work.runtime, desk, self.name)
        return Trained(weights, recorder.logged)


@dataclass(frozen=True)
class Trained:
    """Result of a training."""

    weights: dict[str, Tensor]
    logged: list[tuple[dict[str, float], int | None]]
    """Metrics and step, as far as they are to be logged still."""


@dataclass
class ReadJob(Job):
    """Reading of one batch."""

    batch: Batch
    inputs: Inputs
    shared: str | None = None

    def __post_init__(self) -> None:
        self.name, self.layer = self.batch.name, self.batch.layer

    def do(self, work: Work, desk: Desk, shared: Mapping[str, Tensor] | None) -> tuple[pd.DataFrame, list[Tensor]]:
        """See :class:`Job`; ``shared`` are the weights of the readout, if it has any."""
        readout, problems = work.readout, self.batch.problems
        if shared is not work.using:
            assert readout.trained is not None
            assert shared is not None
            readout.trained.use(self.layer, shared)
            work.using = shared
        path = work.path(file_name(problems[0].setting, self.name))
        checkpoint = BatchCheckpoint(path, [problem.key for problem in problems], work.minutes, desk)
        checkpoint.told = work.told

        def run(readout: Readout) -> None:
            checkpoint.run(work.runtime.make_trainer(desk.loggers, Reporter(desk, self.name), checkpoint), readout)

        rows, recovered = read(readout, problems, self.inputs, work.perturbation, run, checkpoint.attempt)
        work.told = checkpoint.told
        return work.label(rows, recovered, self.inputs), recovered


class Recorder(Logger):
    """Keeps what is logged, for the process that holds the loggers."""

    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int | None]] = []

    @property
    def name(self) -> str:
        """See Lightning."""
        return "recorder"

    @property
    def version(self) -> int:
        """See Lightning."""
        return 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """See Lightning."""
        self.logged.append((dict(metrics), step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """See Lightning; the driver's loggers have them."""
