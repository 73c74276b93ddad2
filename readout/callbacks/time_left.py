"""TimeLeft: how long a sweep still takes, learned from what it has taken so far."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TRUSTED_SHARE = 0.1
"""Share of a fit after which its pace counts; the first steps warm up."""


@dataclass(frozen=True)
class Foreseen:
    """What was foreseen for one layer."""

    problems: int
    """Problems left; for a search, at most."""
    batch_size: int
    """Problems side by side in a full batch."""
    seconds: float
    """Time of one whole inversion, from a few steps of a few problems side by side."""


class TimeLeft:
    """Corrects a probe's forecast by what batches took.

    A probe sees a few problems for a few steps, none of which starts again or arrives early. It tells how layers
    compare, but not how long a batch takes. So the time of a batch is what was foreseen, times a pace: seconds measured
    over seconds foreseen, the layer's own as soon as some of it has run, and before that what other layers came to. The
    time around optimisation (scoring, storing, logging) is counted apart: it follows the number of problems.

    No clock is read here. Every method is told the time, in seconds from any origin.

    Args:
        layers: What was foreseen, by layer.
        probed: Problems that the probe ran side by side.
    """

    def __init__(self, layers: Mapping[str, Foreseen], probed: int = 4) -> None:
        self._layers = {name: _Layer(foreseen, probed) for name, foreseen in layers.items()}
        self._batch: _Batch | None = None
        self._storing, self._logging = _PerProblem(), _PerProblem()
        self._wanted, self._needed = 0, 0
        self._idle_since = 0.0

    @property
    def measured(self) -> bool:
        """Whether a batch has been finished, so that the forecast is no longer the probe's alone."""
        return self._storing.problems > 0

    def start_batch(self, layer: str, problems: int, now: float) -> None:
        """A batch of so many problems comes next."""
        self._batch = _Batch(self._layers[layer], problems, now)

    def start_fit(self, problems: int, now: float, before: float = 0.0) -> None:
        """Optimisation begins; after the first time in a batch, that of problems that start again.

        Args:
            problems: Side by side.
            now: The time.
            before: Seconds that went into it already, in a process that was interrupted.
        """
        batch = self._current
        batch.started, batch.seconds = batch.started - before, batch.seconds + before
        batch.fits, batch.fitted, batch.fit_started = batch.fits + 1, problems, now

    def end_fit(self, now: float) -> None:
        """Optimisation has ended, perhaps before its last step."""
        self._current.seconds = self._current.seconds_until(now)
        self._current.fit_started = None

    def end_batch(self, now: float) -> None:
        """The batch is stored."""
        batch = self._current
        batch.layer.taken.append(_Taken(batch.problems, batch.problems, batch.seconds))
        self._storing.add(now - batch.started - batch.seconds, batch.problems)
        self._batch, self._idle_since = None, now

    def end_layer(self, layer: str, now: float) -> None:
        """The layer has all that it needs, and is logged."""
        ended = self._layers[layer]
        ended.ended = True
        if ended.done:
            self._logging.add(now - self._idle_since, ended.done)
            self._wanted, self._needed = self._wanted + ended.foreseen.problems, self._needed + ended.done

    def seconds(self, now: float, share: float = 0.0) -> float:
        """Seconds left.

        Args:
            now: The time.
            share: Share of the steps of the present fit that is done.
        """
        total, common = 0.0, self._common_pace(now, share)
        for layer in self._layers.values():
            if layer.ended:
                continue
            pace = _pace(self._taken(layer, now, share), layer.foreseen.seconds) or common
            after = self._left(layer)
            if self._batch is not None and self._batch.layer is layer:
                after = max(after - self._batch.problems, 0)
                total += (1 - share) * layer.fit(self._batch.fitted, pace) + self._storing.of(self._batch.problems)
            batches, rest = divmod(after, layer.foreseen.batch_size)
            total += batches * layer.fit(layer.foreseen.batch_size, pace) + layer.fit(rest, pace)
            total += self._storing.of(after) + self._logging.of(layer.done + self._left(layer))
        return total

    @property
    def _current(self) -> "_Batch":
        assert self._batch is not None
        return self._batch

    def _left(self, layer: "_Layer") -> int:
        """Problems of a layer that are left, if its search needs what those of other layers needed."""
        share = self._needed / self._wanted if self._wanted else 1.0
        return max(round(share * layer.foreseen.problems) - layer.done, 0)

    def _taken(self, layer: "_Layer", now: float, share: float) -> "list[_Taken]":
        """What batches of a layer took, the present one included once that says something."""
        batch = self._batch
        if batch is None or batch.layer is not layer or (batch.fits < 2 and share < TRUSTED_SHARE):
            return layer.taken
        done = batch.problems * (share if batch.fits < 2 else 1.0)
        return [*layer.taken, _Taken(batch.problems, done, batch.seconds_until(now))]

    def _common_pace(self, now: float, share: float) -> "_Pace":
        """Pace where none is known yet: the geometric mean of those that are, by time spent.

        So a layer whose probe was disturbed, and promised hours, counts for what it took.
        """
        taken = [(self._taken(layer, now, share), layer.foreseen.seconds) for layer in self._layers.values()]
        paces = [pace for pace in (_pace(*one) for one in taken) if pace is not None]
        spent = sum(pace.spent for pace in paces)
        if not spent:
            return _Pace(1.0, 0.0, 0.0)
        value = math.exp(sum(pace.spent * math.log(pace.value) for pace in paces) / spent)
        return _Pace(value, sum(pace.spent * pace.size for pace in paces) / spent, spent)


@dataclass(frozen=True)
class _Taken:
    """Time that a batch took."""

    size: int
    problems: float
    """Of which so many are done."""
    seconds: float


@dataclass(frozen=True)
class _Pace:
    """Seconds measured for each second foreseen."""

    value: float
    size: float
    """Mean batch size it was measured at."""
    spent: float
    """Seconds it rests on."""


@dataclass
class _Layer:
    """One layer, foreseen and measured."""

    foreseen: Foreseen
    probed: int
    taken: list[_Taken] = field(default_factory=list)
    ended: bool = False

    @property
    def done(self) -> int:
        return round(sum(taken.problems for taken in self.taken))

    def fit(self, problems: int, pace: _Pace) -> float:
        """Seconds for so many problems side by side.

        Where problems run in parallel, a batch smaller than those measured costs more than its share: its time lies on
        the line through the probe's few problems and the mean batch measured.
        """
        if not problems:
            return 0.0
        foreseen, measured = self.foreseen.seconds, pace.size * pace.value
        if pace.size <= self.probed or pace.value >= 1:
            return problems * pace.value * foreseen
        slope = max(measured - self.probed, 0.0) / (pace.size - self.probed)
        return (measured + slope * (problems - pace.size)) * foreseen


@dataclass
class _Batch:
    """The batch in hand."""

    layer: _Layer
    problems: int
    started: float
    fits: int = 0
    fitted: int = field(init=False)
    """Problems of the present fit."""
    fit_started: float | None = None
    seconds: float = 0.0
    """Time in fits that have ended."""

    def __post_init__(self) -> None:
        self.fitted = self.problems

    def seconds_until(self, now: float) -> float:
        return self.seconds + (0.0 if self.fit_started is None else now - self.fit_started)


@dataclass
class _PerProblem:
    """Time that follows the number of problems."""

    seconds: float = 0.0
    problems: int = 0

    def add(self, seconds: float, problems: int) -> None:
        self.seconds, self.problems = self.seconds + seconds, self.problems + problems

    def of(self, problems: int) -> float:
        return problems * self.seconds / self.problems if self.problems else 0.0


def _pace(taken: Iterable[_Taken], foreseen: float) -> _Pace | None:
    """Pace of a layer; None before anything has been measured."""
    done = list(taken)
    problems, spent = sum(one.problems for one in done), sum(one.seconds for one in done)
    if not problems or not spent or not foreseen:
        return None
    return _Pace(spent / (problems * foreseen), problems / sum(one.problems / one.size for one in done), spent)
