"""Plan: the problems left at each layer, how many run at a time, and how long they take on this machine."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from readout.problems import Problem, batches
from readout.problems.search import Found, Search
from readout.readouts import Readout
from readout.sweep.probe import Cost
from readout.version import __version__


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a sweep."""

    layer: str
    problems: list[Problem]
    batches: list[list[Problem]]
    """Unfinished problems, in groups that run side by side; empty for a search, which plans each round as it goes."""
    cost: Cost
    finished: int
    """Problems with a stored result."""
    remaining: int
    """Problems left; for a search, at most."""
    least: int
    """Lower bound on ``remaining``."""
    batch_size: int
    """Largest number of problems side by side."""
    found: Found = field(default_factory=Found)
    """Results so far."""
    training_steps: int = 0
    """Steps left to train the readout at this layer."""
    training_step_seconds: float = 0.0

    @property
    def training_seconds(self) -> float:
        """Estimated time of the training that is left."""
        return self.training_steps * self.training_step_seconds

    @property
    def setup_seconds(self) -> float:
        """Estimated time before the first step of every remaining batch."""
        return self.remaining * self.cost.setup_seconds

    @property
    def step_seconds(self) -> float:
        """Estimated time of one step of every remaining batch."""
        batches, rest = divmod(self.remaining, self.batch_size)
        return batches * self.cost.seconds(self.batch_size) + self.cost.seconds(rest)


@dataclass(frozen=True)
class Plan:
    """All problems that are left, by layer."""

    title: str
    layers: list[LayerPlan]
    steps: int
    output: Path
    search: Search = "grid"
    iterative: bool = True
    """Whether the readout takes steps."""
    workers: int = 1
    """Batches that run at the same time."""
    alone_for: str = ""
    """Optimiser that couples the problems of a batch, so that each runs by itself; empty if none does."""

    @property
    def remaining(self) -> int:
        """Problems left; for a search, at most."""
        return sum(layer.remaining for layer in self.layers)

    @property
    def finished(self) -> int:
        """Problems with a stored result."""
        return sum(layer.finished for layer in self.layers)

    @property
    def seconds(self) -> float:
        """Estimated time left."""
        return sum(plan.training_seconds + self.reading_seconds(plan) for plan in self.layers) / self.workers

    def reading_seconds(self, layer: LayerPlan) -> float:
        """Return the estimated time left at a layer once the readout is trained."""
        return layer.setup_seconds + self.steps * layer.step_seconds

    @property
    def unit(self) -> str:
        """Plural of what a problem is called on the terminal."""
        return "inversions" if self.iterative else "problems"

    @property
    def _device(self) -> str:
        device = next(plan.cost.device for plan in self.layers if plan.remaining)
        return f"{device} ({torch.get_num_threads()} threads)" if device == "cpu" else device

    def show(self, console: Console, task: Mapping[str, str]) -> None:
        """Print the plan.

        Args:
            console: Where to print it.
            task: Further lines about what there is to do: heading → words.
        """
        remaining = self.remaining
        searching = self.search != "grid"
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, words in task.items():
            table.add_row(name, Text(words))
        if remaining:
            largest = max(min(plan.batch_size, plan.remaining) for plan in self.layers)
            memory = max(min(plan.batch_size, plan.remaining) * plan.cost.problem_bytes for plan in self.layers)
            most = "at most " if searching else ""
            if trained := [layer for layer in self.layers if layer.training_steps]:
                seconds = sum(layer.training_seconds for layer in trained)
                at = f"{len(trained)} layers" if len(trained) > 1 else "1 layer"
                words = f"{sum(layer.training_steps for layer in trained):,} steps at {at}, about {duration(seconds)}"
                table.add_row("training", words)
            if self.iterative:
                table.add_row("steps", f"{self.steps:,} each, {most}{self.steps * remaining:,} in all")
            # what backward keeps; a readout without one is not measured
            size = f", about {memory / 2**20:,.0f} MiB" if memory else ""
            if self.workers > 1:
                size += f", by each of {self.workers} workers"
            one = f"1 inversion, because {self.alone_for} lets those of a batch change each other"
            table.add_row("at a time", f"{one if self.alone_for else f'up to {largest} {self.unit}'}{size}")
            table.add_row("time", f"{most or 'about '}{duration(self.seconds)} on {self._device}, measured just now")
        else:
            table.add_row("time", "nothing left to do")
        table.add_row("output", Text(str(self.output)))
        console.print(Text(self.title, style="bold"))
        console.print(table)


def title(readout: Readout) -> str:
    """Return one line that names the network and the readout."""
    extractor = readout.extractor
    return f"readout {__version__} · {extractor.name} ({extractor.weights_name}) · {readout.title}"


def unfinished(problems: Sequence[Problem], size: int, finished: Set[str]) -> list[list[Problem]]:
    """Form the batches of a layer, then take out finished problems.

    In this order a resumed sweep forms the same batches.
    """
    left = ([problem for problem in batch if problem.key not in finished] for batch in batches(problems, size))
    return [batch for batch in left if batch]


def size_in_words(inputs: Iterable[torch.Tensor]) -> str:
    """Describe the size of inputs: ``3×64×64``, ``12 to 32 tokens``."""
    first, *rest = inputs
    if first.is_floating_point():
        return "×".join(map(str, first.shape))
    lengths = sorted({x.numel() for x in (first, *rest)})
    return f"{lengths[0]} to {lengths[-1]} tokens" if len(lengths) > 1 else f"{lengths[0]} tokens"


def duration(seconds: float) -> str:
    """Format a time span: ``40 s``, ``3 min 20 s``, ``5 h 12 min``, ``12 days``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds / 86400:.0f} days"
