"""Schedule: which batch comes next, from what has been answered so far, without a look at the disk."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import InitVar, dataclass, replace
from functools import cached_property

import pandas as pd

from readout.problems import Problem, batches
from readout.problems.identity import batch_name
from readout.problems.search import Search, wanted_now
from readout.sweep.plan import LayerPlan


@dataclass(frozen=True)
class Batch:
    """Problems of one layer that run side by side."""

    layer: str
    problems: list[Problem]

    @cached_property
    def name(self) -> str:
        """Digest of the keys, under which checkpoint and results are kept."""
        return batch_name(problem.key for problem in self.problems)


@dataclass
class LayerSchedule:
    """The batches that are left of one layer."""

    plan: LayerPlan
    batches: InitVar[Iterable[list[Problem]]]
    """Batches of the current round, or of the whole grid."""
    trained: bool = True
    """Whether the readout can read here."""
    training: bool = False
    running: int = 0
    given_up: int = 0

    def __post_init__(self, batches: Iterable[list[Problem]]) -> None:
        self.waiting = deque(batches)


class Schedule:
    """Hands out the batches of a sweep, and forms the rounds of a search from the answers.

    Layers come in order. Another layer's batch is handed out only while the first has none: in a search a layer's next
    round depends on all results of the last one and on nothing else, so batches are the same whoever runs them in
    whatever order.

    Args:
        layers: What is left.
        search: How levels are searched.
        begin_round: Told the layer and the groups of each round of a search, before the first is handed out.
    """

    def __init__(
        self,
        layers: Iterable[LayerSchedule],
        search: Search,
        begin_round: Callable[[str, Sequence[Sequence[Problem]]], None] = lambda layer, groups: None,
    ) -> None:
        self._layers = {layer.plan.layer: layer for layer in layers}
        self._open = list(self._layers)
        self._search: Search = search
        self._begin_round = begin_round
        self._in_hand: set[str] = set()
        """Keys of problems whose first reading others wait for."""

    def take(self) -> Batch | str | None:
        """Return the next batch, or the name of a layer to train at; None if all that can run is running."""
        for name in self._open:
            layer = self._layers[name]
            if not layer.trained:
                if not layer.training:
                    layer.training = True
                    return name
                continue
            self._form_round(layer)
            if layer.waiting and not self._waits(layer.waiting[0]):
                layer.running += 1
                batch = Batch(name, layer.waiting.popleft())
                self._in_hand.update(problem.key for problem in batch.problems if not problem.reading)
                return batch
        return None

    def trained(self, layer: str) -> None:
        """Note that the readout can read at a layer."""
        self._layers[layer].trained = True

    def answered(self, batch: Batch, table: pd.DataFrame | None) -> None:
        """Note the results of a batch, with verdicts; None if it was given up."""
        layer = self._layers[batch.layer]
        layer.running -= 1
        self._in_hand.difference_update(problem.key for problem in batch.problems)
        if table is None:
            layer.given_up += 1
        else:
            layer.plan.found.add(table)

    def take_done(self) -> list[LayerPlan]:
        """Return the layers that have everything now, each once."""
        done = []
        for name in [*self._open]:
            layer = self._layers[name]
            if layer.trained and not layer.running:
                self._form_round(layer)
                if not layer.waiting:
                    done.append(layer.plan)
                    self._open.remove(name)
        return done

    def _form_round(self, layer: LayerSchedule) -> None:
        """Form the next round of a search, once the last one is answered; none after a batch was given up."""
        if self._search == "grid" or layer.waiting or layer.running or layer.given_up:
            return
        wanted = wanted_now(layer.plan.problems, layer.plan.found, self._search)
        groups = list(batches(wanted, layer.plan.batch_size))
        if groups:
            self._begin_round(layer.plan.layer, groups)
            layer.waiting.extend(groups)

    def _waits(self, problems: Sequence[Problem]) -> bool:
        """Return whether the first reading of a problem is running: ``spread`` is measured from it."""
        later = (replace(problem, reading=0).key for problem in problems if problem.reading)
        return any(key in self._in_hand for key in later)
