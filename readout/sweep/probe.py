"""Probe: the time and memory of a step or a pass at one layer, measured on a few real ones."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from readout.common.errors import ReadoutError, reason
from readout.common.signals import handlers, set_handlers
from readout.extractors.validate import Trial, contrasting_pair, validate
from readout.readouts import FeatureInversion, ProblemBatch, Readout
from readout.readouts.target import unusable
from readout.sweep.runtime import Runtime

MEMORY_SHARE = 0.5
"""Share of the free memory that a batch of automatic size may take."""

FEW = 4
"""Problems in the first measurement, from which the number that fits the memory follows."""

COPIES = 12
"""Tensors of a feature's size that a pass holds at once, roughly: clean, perturbed, noise, some of them in float64."""

PASS_SHARE = 1 / 16
"""Share of the problems that are read to time a pass."""

LONG_STEP = 5.0
"""Seconds per step above which a full batch is not timed."""

BatchSize = int | Literal["auto"]
"""Problems side by side; ``auto`` fits the free memory."""

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Cost of a step at one layer: a fixed part and a part per problem; and of what comes before the first."""

    fixed_seconds: float = 0.0
    problem_seconds: float = 0.0
    problem_bytes: int = 0
    device: str = "cpu"
    setup_seconds: float = 0.0
    """Per problem, before the first step; for some perturbations it takes many passes to find a direction."""

    def seconds(self, problems: int) -> float:
        """Return the seconds of a step of ``problems`` side by side; 0 for none."""
        return self.fixed_seconds + problems * self.problem_seconds if problems else 0.0


def candidates(wanted: Sequence[T], limit: int) -> Sequence[T]:
    """Choose the problems that a probe may run: the largest, and those in the middle.

    Args:
        wanted: Problems of a layer, largest input first.
        limit: Largest batch.
    """
    start = (len(wanted) - limit) // 2
    return wanted if start <= FEW else [*wanted[:FEW], *wanted[start : start + limit]]


def probe(
    readout: Readout,
    wanted: Sequence[T],
    batch: Callable[[Sequence[T]], ProblemBatch],
    size: BatchSize,
    runtime: Runtime,
    count: int | None = None,
    free_memory: int | None = None,
) -> tuple[Cost, int]:
    """Check a layer and time a step, or the pass, of a few problems and of a full batch.

    Two sizes, because on parallel hardware the cost of a step hardly grows with the number of problems.

    Args:
        readout: The readout.
        wanted: From :func:`candidates`, largest input first: memory is measured on the largest, time on a batch of
            middling ones.
        batch: Makes a batch of some of them.
        size: Problems side by side, or ``auto``.
        runtime: Makes a Trainer with the user's accelerator and precision.
        count: Problems from which they were chosen; None if these are all.
        free_memory: Bytes that a batch of automatic size shares; None for what is free here.

    Returns:
        The cost, and the number of problems that run side by side.

    Raises:
        ReadoutError: if the layer can't be inverted; see :func:`readout.extractors.validate.validate`.
    """
    count = count or len(wanted)
    few = min(FEW, len(wanted)) if size == "auto" else min(FEW, len(wanted), size)
    examples = (batch([one]).inputs for one in wanted)
    timer = _timed(readout, batch(wanted[:few]), runtime, _Validation(examples))
    if not readout.iterative:  # what a readout prepares once for a layer is no part of a pass
        timer = _timed(readout, batch(wanted[:few]), runtime)
    cost = Cost(0.0, timer.quiet() / few, timer.bytes // few, str(timer.device), timer.setup_seconds / few)
    if size == "auto":
        size = automatic_batch_size(cost.problem_bytes, cost.device, readout.batch_limit, free_memory)
    # a pass does the work of its problems, so what is timed is kept to a small share of them
    many = min(size, count if readout.iterative else max(few, round(PASS_SHARE * count)))
    if many == few or many * cost.problem_seconds > LONG_STEP:
        return cost, size
    first = 0 if len(wanted) == count else FEW  # those in the middle follow
    middle = first + (len(wanted) - first - many) // 2
    timed = _timed(readout, batch(wanted[middle : middle + many]), runtime)
    together, setup = timed.quiet(), timed.setup_seconds / many
    # the line through both measurements; through the larger alone where noise would give it a negative slope
    each = min(max((together - timer.quiet()) / (many - few), 0.0), together / many)
    return replace(cost, fixed_seconds=together - many * each, problem_seconds=each, setup_seconds=setup), size


def automatic_batch_size(
    problem_bytes: int, device: str, limit: Mapping[str, int], free_memory: int | None = None
) -> int:
    """Return the largest power of two that fits the free memory, up to a limit.

    Powers of two keep the batches of a rerun the same on a slightly busier machine.

    Args:
        problem_bytes: Memory of one problem.
        device: Where they run.
        limit: See :attr:`readout.readouts.Readout.batch_limit`.
        free_memory: Bytes; None for what is free here.
    """
    on_cuda = device.startswith("cuda")
    free = free_memory
    if free is None:
        free = torch.cuda.mem_get_info(device)[0] if on_cuda else psutil.virtual_memory().available
    size = limit["cuda" if on_cuda else "cpu"]
    while size > 1 and size * problem_bytes > MEMORY_SHARE * free:
        size //= 2
    return size


def _timed(readout: Readout, problems: ProblemBatch, runtime: Runtime, *more: Callback) -> "_StepTimer | _PassTimer":
    """Run a few steps, or one pass."""
    timer = _StepTimer() if readout.iterative else _PassTimer()
    trainer = runtime.make_bare_trainer(*more, timer, max_steps=_StepTimer.most_steps)
    try:
        readout.load(problems)
        readout.run(trainer)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise ReadoutError(
            f"A step of {len(problems)} problems at layer {problems.layer!r} does not fit the memory "
            f"({reason(error)}); give smaller inputs or a smaller prior, or lower sweep.batch_size."
        ) from error
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt from None
        raise
    return timer


class _Validation(Callback):
    """Check of a layer on the device and in the precision that it will run in, before the first step.

    Args:
        examples: Inputs, shape (1, ...). The first whose feature can be perturbed is used. If there is none, nothing is
            checked: every problem of the layer will be marked as not invertible.
    """

    def __init__(self, examples: Iterable[torch.Tensor]) -> None:
        self.examples = examples

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Readout)
        extractor, layer = pl_module.extractor, pl_module.problems.layer
        before = None
        for x in self.examples:
            if before is not None and torch.equal(x, before):  # another level of the same input
                continue
            before, example = x, pl_module.embed(x.to(pl_module.device))[0]
            with torch.enable_grad(), trainer.precision_plugin.forward_context():
                pair = contrasting_pair(example).to(extractor.mean)
                feature = Trial(extractor, layer, pair).again[:1]
                if feature.numel() < 2 or not unusable(feature):
                    validate(extractor, layer, pair)
                    pl_module.check_layer(layer, example.unsqueeze(0))
                    if pl_module.denoiser is not None:
                        feature = pl_module.extractor.extract(example.unsqueeze(0), layer)
                        pl_module.denoiser.check_layer(pl_module.extractor, layer, feature)
                    return

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_start(trainer, pl_module)


def undisturbed(times: Sequence[float]) -> float:
    """Return the lower quartile of the times of steps, without the first, which sets things up."""
    warm = sorted(times[1:] or times)
    return warm[len(warm) // 4]


class _PassTimer(Callback):
    """Timer of one pass, and estimate of its memory from the size of its features."""

    setup_seconds = 0.0
    """What comes before the first step is part of a pass."""

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._started = time.perf_counter()

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Readout)
        assert pl_module.outcome is not None
        self.seconds, self.device = time.perf_counter() - self._started, pl_module.device
        self.bytes = COPIES * 4 * int(pl_module.outcome.feature_dim.sum())

    def quiet(self) -> float:
        """Return the seconds of the pass."""
        return self.seconds


class _StepTimer(Callback):
    """Timer of all steps but the first, and counter of the bytes kept for backward.

    Quick steps are timed for half a second, so that a momentary load does not pass for the cost of a layer.
    """

    most_steps = 50
    least_steps = 4
    enough_seconds = 0.5
    most_seconds = 2.0

    def __init__(self) -> None:
        self.times: list[float] = []
        self.setup_seconds, self._started = 0.0, time.perf_counter()
        self.bytes = 0
        self.device = torch.device("cpu")
        self._seen: set[int] = set()
        self._counting = self._count_kept()
        self._handlers = handlers()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        set_handlers(self._handlers)  # Lightning's own would end a probe with exit code 0
        self._started = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not self.times:  # the first step is not timed
            self._synchronise(pl_module)
            self.setup_seconds = time.perf_counter() - self._started
            self._seen.update(p.untyped_storage().data_ptr() for p in pl_module.parameters())
            if pl_module.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(pl_module.device)
            self._counting.__enter__()
        self._synchronise(pl_module)
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._synchronise(pl_module)
        self.times.append(time.perf_counter() - self._started)
        if len(self.times) == 1:
            self._counting.__exit__(None, None, None)
        enough = self.enough_seconds if len(self.times) >= self.least_steps else self.most_seconds
        if sum(self.times) > enough and len(self.times) > 1:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FeatureInversion)
        self.device = pl_module.device
        # parameters, their gradients and AdamW's two moments
        self.bytes += 4 * _bytes(parameter for parameter in pl_module.prior.parameters() if parameter.requires_grad)
        if pl_module.device.type == "cuda":
            # the network is shared by all problems
            self.bytes = torch.cuda.max_memory_allocated(pl_module.device) - _bytes(pl_module.extractor.parameters())

    def quiet(self) -> float:
        """Return the seconds of an undisturbed step."""
        return undisturbed(self.times)

    def _count_kept(self) -> Any:
        """Return a context that counts the bytes saved for backward, each storage once."""

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._seen:
                self._seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
            return tensor

        return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)

    @staticmethod
    def _synchronise(pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
