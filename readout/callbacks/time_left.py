"""TimeLeft: how long a sweep still takes, learned from what it has taken so far."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

MEMORY_SECONDS = 15.0
"""How long ago the speed of a batch is remembered: the mean age of what its present speed rests on."""


@dataclass(frozen=True)
class Foreseen:
    """What was foreseen for one layer."""

    problems: int
    """Problems left; for a search, at most."""
    least: int
    """Of which so many are certainly wanted."""
    batch_size: int
    """Problems side by side in a full batch."""
    each: float
    """Seconds that a whole inversion takes for every problem side by side."""
    fixed: float = 0.0
    """Seconds that it takes however many they are."""

    def seconds(self, problems: int) -> float:
        """One batch of so many problems."""
        return self.fixed + self.each * problems if problems else 0.0


@dataclass(frozen=True)
class Left:
    """Seconds left, from least to most; one number but for searches."""

    least: float
    most: float


class TimeLeft:
    """Corrects a probe's forecast by what batches took.

    A probe sees a few steps, at a moment of its own, in which nothing starts again or arrives early. It tells how
    layers and batch sizes compare, but not how long a batch takes. So the time of a batch is what was foreseen, times a
    pace: seconds measured over seconds foreseen, the layer's own as soon as some of it has run, and before that what
    other layers came to. The rest of the batch in hand goes on at the pace of its last steps. The time around
    optimisation (scoring, storing, logging) is counted apart: it follows the number of problems.

    What a search needs is not known before it has ended, so its time is told as a range: all that is left of a layer
    ends with what is certainly wanted, or goes on as long as a search can.

    No clock is read here. Every method is told the time, in seconds from any origin.

    Args:
        layers: What was foreseen, by layer.
    """

    def __init__(self, layers: Mapping[str, Foreseen]) -> None:
        self._layers = {name: _Layer(foreseen) for name, foreseen in layers.items()}
        self._batch: _Batch | None = None
        self._storing, self._logging = _PerProblem(), _PerProblem()
        self._idle_since = 0.0

    @property
    def measured(self) -> bool:
        """Whether a batch has been finished, so that the forecast is no longer the probe's alone."""
        return self._storing.problems > 0

    def start_batch(self, layer: str, problems: int, now: float) -> None:
        """A batch of so many problems comes next."""
        self._batch = _Batch(self._layers[layer], problems, now, self._pace(self._layers[layer]))

    def start_fit(self, problems: int, now: float, before: float = 0.0, share: float = 0.0) -> None:
        """Optimisation begins; after the first time in a batch, that of problems that start again.

        Args:
            problems: Side by side.
            now: The time.
            before: Seconds that went into it already, in a process that was interrupted.
            share: Share of its steps that these came to.
        """
        self._current.start_fit(problems, now, before, share)

    def step(self, now: float, share: float) -> None:
        """So large a share of the steps of the present fit is done."""
        self._current.step(now, share)

    def end_fit(self, now: float) -> None:
        """Optimisation has ended, perhaps before its last step."""
        self._current.end_fit(now)

    def end_batch(self, now: float) -> None:
        """The batch is stored."""
        batch = self._current
        batch.layer.add(batch.problems, batch.spent)
        self._storing.add(now - batch.started - batch.spent, batch.problems)
        self._batch, self._idle_since = None, now

    def end_layer(self, layer: str, now: float) -> None:
        """The layer has all that it needs, and is logged."""
        ended = self._layers[layer]
        ended.ended = True
        if ended.done:
            self._logging.add(now - self._idle_since, ended.done)

    @property
    def seconds(self) -> Left:
        """Seconds left at the last event told."""
        least, most = 0.0, 0.0
        for layer in self._layers.values():
            if layer.ended:
                continue
            in_hand = self._batch if self._batch is not None and self._batch.layer is layer else None
            begun = layer.done + (in_hand.problems if in_hand else 0)
            now = in_hand.left + self._storing.of(in_hand.problems) if in_hand else 0.0
            for_logging = self._logging.of(begun)
            pace = self._pace(layer)
            least += now + for_logging + self._of(layer, layer.foreseen.least - begun, pace)
            most += now + for_logging + self._of(layer, layer.foreseen.problems - begun, pace)
        return Left(least, most)

    def _of(self, layer: "_Layer", problems: int, pace: float) -> float:
        """Seconds of so many further problems of a layer."""
        if problems <= 0:
            return 0.0
        batches, rest = divmod(problems, layer.foreseen.batch_size)
        fits = batches * layer.foreseen.seconds(layer.foreseen.batch_size) + layer.foreseen.seconds(rest)
        return pace * fits + self._storing.of(problems) + self._logging.of(problems)

    @property
    def _current(self) -> "_Batch":
        assert self._batch is not None
        return self._batch

    def _pace(self, layer: "_Layer") -> float:
        """Seconds measured for each second foreseen: the layer's own, or else the mean of others.

        The mean is geometric, by time spent: a layer whose probe was disturbed, and promised hours, counts for what it
        took.
        """
        own = layer.pace(self._batch)
        if own is not None:
            return own.value
        others = [pace for pace in (other.pace(self._batch) for other in self._layers.values()) if pace is not None]
        spent = sum(pace.spent for pace in others)
        return math.exp(sum(pace.spent * math.log(pace.value) for pace in others) / spent) if spent else 1.0


@dataclass(frozen=True)
class _Pace:
    """Seconds measured for each second foreseen."""

    value: float
    spent: float
    """Seconds it rests on."""


@dataclass
class _Layer:
    """One layer, foreseen and measured."""

    foreseen: Foreseen
    done: int = 0
    """Problems in batches that are stored."""
    spent: float = 0.0
    """Seconds of their fits."""
    expected: float = 0.0
    """Seconds foreseen for them."""
    ended: bool = False

    def add(self, problems: int, seconds: float) -> None:
        """A batch was stored."""
        self.done += problems
        self.spent += seconds
        self.expected += self.foreseen.seconds(problems)

    def pace(self, batch: "_Batch | None") -> _Pace | None:
        """Its pace, the batch in hand included if it is of this layer; None before anything is known."""
        spent, whole, expected = self.spent, self.spent, self.expected
        if batch is not None and batch.layer is self:
            spent, whole = spent + batch.spent, whole + batch.spent + batch.left
            expected += self.foreseen.seconds(batch.problems)
        return _Pace(whole / expected, spent) if spent and whole and expected else None


@dataclass
class _Batch:
    """The batch in hand."""

    layer: _Layer
    problems: int
    started: float
    pace: float
    """Seconds measured for each second foreseen, of late."""
    fitted: int = field(init=False)
    """Problems of the present fit."""
    share: float = 0.0
    """How much of the present fit is done."""
    spent: float = 0.0
    """Seconds in fits, so far."""
    told: float | None = None
    """Time of the last step heard of."""
    warm: bool = False
    """Whether the first step, which sets things up, is over."""

    def __post_init__(self) -> None:
        self.fitted = self.problems

    @property
    def left(self) -> float:
        """Seconds left of the present fit, if the problems in it go on as they did of late."""
        return (1 - self.share) * self.pace * self.layer.foreseen.seconds(self.fitted)

    def start_fit(self, problems: int, now: float, before: float, share: float) -> None:
        self.fitted, self.share, self.told, self.warm = problems, share, now, False
        self.spent, self.started = self.spent + before, self.started - before
        if share and before:
            self.pace = before / (share * self.layer.foreseen.seconds(problems))

    def step(self, now: float, share: float) -> None:
        assert self.told is not None
        seconds, foreseen = now - self.told, (share - self.share) * self.layer.foreseen.seconds(self.fitted)
        if foreseen <= 0 or seconds <= 0:
            return
        if self.warm:
            self.pace += (1 - math.exp(-seconds / MEMORY_SECONDS)) * (seconds / foreseen - self.pace)
        self.spent, self.share, self.told, self.warm = self.spent + seconds, share, now, True

    def end_fit(self, now: float) -> None:
        assert self.told is not None
        self.spent, self.share, self.told = self.spent + now - self.told, 1.0, None


@dataclass
class _PerProblem:
    """Time that follows the number of problems."""

    seconds: float = 0.0
    problems: int = 0

    def add(self, seconds: float, problems: int) -> None:
        self.seconds, self.problems = self.seconds + seconds, self.problems + problems

    def of(self, problems: int) -> float:
        return problems * self.seconds / self.problems if self.problems else 0.0
