"""The plan of a sweep: what will be inverted, how much at a time, and how long that takes here."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from readout import __version__
from readout.extractors.validate import contrasting_pair, validate
from readout.inversions import FeatureInversion, ProblemBatch
from readout.problems import Problem, batches
from readout.runtime import Runtime
from readout.search import Search
from readout.store import safe_name

AUTOMATIC_LIMIT = {"cpu": 16, "cuda": 256}
"""Most problems side by side when the batch size is automatic; more gains nothing measured so far."""

MEMORY_SHARE = 0.5
"""Share of the free memory that a batch may take when its size is automatic."""


@dataclass(frozen=True)
class Cost:
    """What one problem costs at one layer, measured on a few steps of a few problems side by side."""

    seconds_per_step: float = 0.0
    problem_bytes: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a sweep."""

    layer: str
    problems: list[Problem]
    batches: list[list[Problem]]
    """What of them is known to be left, in groups that run side by side; a search finds out as it goes."""
    cost: Cost
    finished: int
    """Problems that have an answer already."""
    remaining: int
    """Problems left; for a search, at most."""
    batch_size: int
    """Most problems side by side."""

    @property
    def name(self) -> str:
        """A file name that stands for this layer under this setting, and for no other."""
        return f"{self.problems[0].setting[:8]}-{safe_name(self.layer)}"


@dataclass(frozen=True)
class Plan:
    """What a sweep is about to do."""

    title: str
    layers: list[LayerPlan]
    levels: Sequence[float]
    draws: int
    samples: int
    inputs: str
    """The inputs in words."""
    steps: int
    output: Path
    search: Search = "grid"

    @property
    def seconds(self) -> float:
        """Estimated time for what is left."""
        return self.steps * sum(plan.remaining * plan.cost.seconds_per_step for plan in self.layers)

    @property
    def _device(self) -> str:
        device = next(plan.cost.device for plan in self.layers if plan.remaining)
        return f"{device} ({torch.get_num_threads()} threads)" if device == "cpu" else device

    def show(self, console: Console, work: Mapping[str, str] | None = None) -> None:
        """Print the plan.

        Args:
            console: Where.
            work: What there is to do, in words, by name; that of a sweep by default.
        """
        remaining = sum(plan.remaining for plan in self.layers)
        searching = self.search != "grid"
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, words in (self._crossing() if work is None else work).items():
            table.add_row(name, words)
        if remaining:
            largest = max(min(plan.batch_size, plan.remaining) for plan in self.layers)
            memory = max(min(plan.batch_size, plan.remaining) * plan.cost.problem_bytes for plan in self.layers)
            most = "at most " if searching else ""
            table.add_row("steps", f"{self.steps:,} each, {most}{self.steps * remaining:,} in all")
            # what backward keeps; a readout without one is not measured
            size = f", about {memory / 2**20:,.0f} MiB" if memory else ""
            table.add_row("at a time", f"up to {largest} inversions{size}")
            table.add_row("time", f"{most or 'about '}{duration(self.seconds)} on {self._device}, measured just now")
        else:
            table.add_row("time", "nothing left to do")
        table.add_row("output", str(self.output))
        console.print(f"[bold]{self.title}[/bold]")
        console.print(table)

    def _crossing(self) -> dict[str, str]:
        """What a sweep crosses."""
        remaining = sum(plan.remaining for plan in self.layers)
        finished = sum(plan.finished for plan in self.layers)
        total = len(self.layers) * len(self.levels) * self.draws * self.samples
        return {
            "layers": ", ".join(plan.layer for plan in self.layers),
            "levels": ", ".join(f"{level:g}" for level in self.levels),
            "inputs": self.inputs,
            "inversions": f"{total:,} = {len(self.layers)} layers × {len(self.levels)} levels × {self.draws} draws × "
            f"{self.samples} inputs"
            + (f", of which {self.search} wants at most {finished + remaining:,}" if self.search != "grid" else "")
            + (f"; {finished:,} already done" if finished else ""),
        }


def title(inversion: FeatureInversion) -> str:
    """What inverts what, in a line."""
    extractor = inversion.extractor
    return (
        f"readout {__version__} · {extractor.name} ({extractor.weights_name}) · {type(inversion.prior).__name__} · "
        f"{inversion.protocol.name} protocol"
    )


def probe(inversion: FeatureInversion, problems: ProblemBatch, runtime: Runtime) -> Cost:
    """Check the layer, run a few real steps, and measure time and memory for one problem of them.

    Args:
        inversion: What will run.
        problems: A small batch, at the layer in question.
        runtime: Makes a Trainer with the user's accelerator and precision.

    Raises:
        ReadoutError: if the layer can't be inverted; see :func:`readout.extractors.validate.validate`.
    """
    timer = _StepTimer()
    trainer = runtime.make_bare_trainer(_Validation(), timer, max_steps=timer.most_steps)
    inversion.load(problems)
    trainer.fit(inversion, range(timer.most_steps))
    assert inversion.outcome is not None
    count = len(problems)
    return Cost(timer.quiet() / count, timer.bytes // count, str(timer.device))


def automatic_batch_size(problem_bytes: int, device: str) -> int:
    """Largest power of two that fits the free memory, up to :data:`AUTOMATIC_LIMIT`.

    A power of two, so that a rerun on a slightly busier machine still forms the same batches.
    """
    on_cuda = device.startswith("cuda")
    free = torch.cuda.mem_get_info(device)[0] if on_cuda else psutil.virtual_memory().available
    size = AUTOMATIC_LIMIT["cuda" if on_cuda else "cpu"]
    while size > 1 and size * problem_bytes > MEMORY_SHARE * free:
        size //= 2
    return size


def unfinished(problems: Sequence[Problem], size: int, finished: set[str]) -> list[list[Problem]]:
    """Batches of a layer without what is finished.

    Batches are formed before finished problems leave them, so that a resumed sweep forms the same ones.
    """
    left = ([problem for problem in batch if problem.key not in finished] for batch in batches(problems, size))
    return [batch for batch in left if batch]


def size_in_words(inputs: Iterable[torch.Tensor]) -> str:
    """How large inputs are: ``3×64×64``, ``12 to 32 tokens``."""
    first, *rest = inputs
    if first.is_floating_point():
        return "×".join(map(str, first.shape))
    lengths = sorted({x.numel() for x in (first, *rest)})
    return f"{lengths[0]} to {lengths[-1]} tokens" if len(lengths) > 1 else f"{lengths[0]} tokens"


def duration(seconds: float) -> str:
    """A time span in words: ``40 s``, ``3 min 20 s``, ``5 h 12 min``, ``12 days``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds / 86400:.0f} days"


class _Validation(Callback):
    """Checks the layer where it will run: on its device, in its precision, before the first step."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FeatureInversion)
        problems, extractor = pl_module.problems, pl_module.extractor
        example = pl_module.embed(problems.inputs[:1].to(pl_module.device))[0]
        with trainer.precision_plugin.forward_context():
            validate(extractor, problems.layer, contrasting_pair(example).to(extractor.mean))


class _StepTimer(Callback):
    """Times steps after the first and stops when that is enough; counts what backward keeps.

    Another process that wakes up for a moment must not pass for a layer's cost, so quick steps are timed for a while.
    """

    most_steps = 50
    enough_seconds = 1.0

    def __init__(self) -> None:
        self.times: list[float] = []
        self.bytes = 0
        self.device = torch.device("cpu")
        self._seen: set[int] = set()
        self._counting = self._count_kept()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not self.times:  # the first step is the one that is not timed
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
        if sum(self.times) > self.enough_seconds and len(self.times) > 1:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FeatureInversion)
        self.device = pl_module.device
        # weights, gradient and AdamW's two moments of what is optimised
        self.bytes += 4 * _bytes(parameter for parameter in pl_module.prior.parameters() if parameter.requires_grad)
        if pl_module.device.type == "cuda":
            # the network is shared by all problems
            self.bytes = torch.cuda.max_memory_allocated(pl_module.device) - _bytes(pl_module.extractor.parameters())

    def quiet(self) -> float:
        """Seconds of a step while nothing else was going on: the lower quartile, warm-up left out."""
        warm = sorted(self.times[1:] or self.times)
        return warm[len(warm) // 4]

    def _count_kept(self) -> Any:
        """Counts the bytes that a step keeps for its backward pass."""

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
