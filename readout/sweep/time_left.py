"""TimeLeft: the share of a sweep that is done, and its ETA from the seconds per problem so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TRUSTED_SHARE = 0.1
"""Share of a layer's first batch after which its measured time replaces the forecast; the first steps set things up."""


@dataclass
class InHand:
    """A batch that runs."""

    layer: "LayerTime"
    problems: int
    told: float
    """Time of the last event."""
    share: float = 0.0
    """Share of its steps that are done."""


@dataclass
class LayerTime:
    """Work and time of one layer."""

    problems: int
    """Problems left; for a search, at most."""
    least: int
    """Lower bound on ``problems``."""
    forecast: float
    """Seconds per problem that a probe measured."""
    stored: int = 0
    running: dict[str, InHand] = field(default_factory=dict)
    """Batches that run, by name."""
    spent: float = 0.0
    """Seconds that all of this took, of all workers together."""
    ended: bool = False

    @property
    def done(self) -> float:
        """Problems that are done, those in hand by the share of their steps."""
        return self.stored + sum(batch.share * batch.problems for batch in self.running.values())

    @property
    def measured(self) -> bool:
        """Whether enough is done to measure seconds per problem."""
        return self.stored > 0 or any(batch.share >= TRUSTED_SHARE for batch in self.running.values())

    def left(self, problems: int) -> float:
        """Return the problems left if the layer takes so many in all."""
        in_hand = sum(batch.problems for batch in self.running.values())
        return 0.0 if self.ended else max(problems, self.stored + in_hand) - self.done


@dataclass(frozen=True)
class Left:
    """Seconds left, from least to most; both are equal except in searches."""

    least: float
    most: float


class TimeLeft:
    """Seconds left: problems left × seconds per problem / workers.

    A layer's seconds per problem are measured as soon as a tenth of its first batch is done. Until then they are a
    probe's forecast, corrected by the ratio of measured to forecast time of all layers so far. Scoring, storing,
    restarts and early arrivals are in the measured time. The share that is done never shrinks.

    The number of problems that a search needs is unknown until it ends, so its time is a range.

    No clock is read here: every method takes the time, in seconds from any origin.

    Args:
        layers: Forecast by layer; a training counts as a layer of its own, whose problems are its steps.
    """

    def __init__(self, layers: Mapping[str, LayerTime]) -> None:
        self._layers = layers
        self._running: dict[str, InHand] = {}
        self._share = 0.0
        self._told = 0.0

    def start_batch(self, name: str, layer: str, problems: int, now: float) -> None:
        """Begin a batch."""
        self._running[name] = InHand(self._layers[layer], problems, now)
        self._layers[layer].running[name] = self._running[name]

    def step(self, name: str, now: float, share: float, before: float = 0.0) -> None:
        """Note the progress of a batch; problems that restart do not set it back.

        Args:
            name: The batch.
            now: The time.
            share: Share of its steps that are done.
            before: Seconds that an interrupted process put into it.
        """
        batch = self._running[name]
        batch.layer.spent += now - batch.told + before
        batch.share, batch.told = max(batch.share, share), now
        self._told = now

    def lose_batch(self, name: str) -> None:
        """Note that a batch lost its worker; its time stays in the measured one."""
        batch = self._running.pop(name)
        del batch.layer.running[name]

    def end_batch(self, name: str, now: float) -> None:
        """Note that a batch is stored, however many steps it took."""
        self.step(name, now, 1.0)
        batch = self._running[name]
        batch.layer.stored += batch.problems
        self.lose_batch(name)

    def end_layer(self, layer: str, now: float) -> None:
        """Note that the layer has all that it needs, and is logged."""
        ended = self._layers[layer]
        ended.spent += now - self._told if ended.stored else 0.0
        ended.ended = True

    @property
    def measured(self) -> bool:
        """Whether a batch is stored, so that the ETA is more than the probe's forecast."""
        return any(layer.stored for layer in self._layers.values())

    @property
    def share(self) -> float:
        """Share of the work that is done; in a search, halfway between least and most."""
        done = sum(layer.done * layer.forecast for layer in self._layers.values())
        left = sum(
            (layer.left(layer.least) + layer.left(layer.problems)) / 2 * layer.forecast
            for layer in self._layers.values()
        )
        self._share = max(self._share, done / (done + left) if done else 0.0)
        return self._share

    def seconds(self, workers: int = 1) -> Left:
        """Return the seconds left at the last event, with this number of workers."""
        measured = [layer for layer in self._layers.values() if layer.measured]
        forecast = sum(layer.done * layer.forecast for layer in measured)
        ratio = sum(layer.spent for layer in measured) / forecast if forecast else 1.0
        each = [
            (layer, layer.spent / layer.done if layer.measured else layer.forecast * ratio)
            for layer in self._layers.values()
        ]
        return Left(
            sum(layer.left(layer.least) * seconds for layer, seconds in each) / workers,
            sum(layer.left(layer.problems) * seconds for layer, seconds in each) / workers,
        )
