"""The base classes of perturbations, and the check of their levels."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from readout.common.checks import check_choice, check_list, check_number
from readout.common.errors import ReadoutError
from readout.data import Samples
from readout.extractors import FeatureExtractor

CONSTANT = "the same value everywhere, so no perturbation has a correlation distance to it"
"""Ends a sentence about a constant feature ("its feature has ...")."""


Departure = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(h', h, x) → how far the answer to h' departs from the truth, differentiable, shape (problems,)."""


@dataclass(frozen=True)
class Origin:
    """Where the clean features of a batch come from."""

    extractor: FeatureExtractor
    layer: str
    inputs: Tensor
    """Inputs in the extractor's form, shape (problems, ...)."""
    features: Tensor
    """Their features h, shape (problems, ...)."""
    names: Sequence[str]
    """Sample name of each input."""
    departure: Departure | None = None
    """See :meth:`readout.readouts.Readout.departure`; None for a readout without."""
    others: Mapping[str, Tensor] = field(default_factory=dict)
    """Further inputs by sample name; see :meth:`Perturbation.others`."""

    def of(self, rows: slice) -> "Origin":
        """Select problems."""
        return replace(self, inputs=self.inputs[rows], features=self.features[rows], names=self.names[rows])

    def same(self, other: "Origin | None") -> bool:
        """Return whether features come from the same inputs, layer, network and readout."""
        return (
            other is not None
            and (self.extractor, self.layer, self.departure) == (other.extractor, other.layer, other.departure)
            and torch.equal(self.inputs, other.inputs)
        )


class Perturbation(ABC):
    """A rule (h, level, seed) → h', applied to each problem of a batch independently.

    The same seed gives the same direction at every level (common random numbers).
    """

    needs_origin: ClassVar[bool] = False
    """Whether it is called by :meth:`RowPerturbation.from_origin`, because it depends on more than the feature."""

    def meet(self, samples: Samples) -> None:  # noqa: B027
        """Copy what the perturbation needs of the inputs of a sweep, before anything else is asked; by default nothing.

        Args:
            samples: All inputs by name.
        """

    def others(self, sample: str) -> Sequence[str]:
        """Return the names of further inputs that it takes to move features of one; by default none.

        :attr:`Origin.others` holds them.

        Args:
            sample: Name of the input.
        """
        return ()

    @abstractmethod
    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """Perturb each row of ``feature``.

        Args:
            feature: Clean features h, shape (problems, ...).
            levels: Target level per problem, in [0, 1), shape (problems,).
            seeds: Noise seed per problem.
            mask: True where a text has a token, shape (problems, positions); padding must stay unchanged. Passed for
                texts only, so a perturbation for images may omit the argument.

        Returns:
            Perturbed features h', with the shape, dtype and device of ``feature``.
        """


class RowPerturbation(Perturbation):
    """A perturbation that moves one feature at a time, in float64 on the CPU, as :meth:`move` says."""

    _last: tuple[Any, ...] | None = None
    """What was found for the last feature, kept for the next level of it."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was found for the last feature, because it holds an input and the network."""
        return {name: value for name, value in vars(self).items() if name != "_last"}

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """See :class:`Perturbation`; level 0 returns the feature bit for bit.

        Raises:
            ReadoutError: if a feature is constant, so that correlation with it is undefined, or a level is outside
                [0, 1).
        """
        return self.from_origin(feature, levels, seeds, mask, None)

    def from_origin(
        self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None, origin: Origin | None
    ) -> Tensor:
        """Perturb each row, knowing where it comes from; see :meth:`__call__`."""
        check_levels(levels.tolist())
        perturbed = feature.clone()
        for row, (level, seed) in enumerate(zip(levels.tolist(), seeds, strict=True)):
            if level == 0:
                continue
            # on the CPU, so that the noise does not depend on the device; in float64, so that sums over
            # millions of dimensions keep their digits
            whole = feature[row] if mask is None else feature[row][mask[row]]
            clean = whole.detach().double().cpu().flatten()
            if (clean == clean[0]).all():  # not by variance, which rounding may leave above zero
                raise ReadoutError(f"A feature has {CONSTANT}; check the input and the layer.")
            own = origin and origin.of(slice(row, row + 1))
            moved = self.move(clean, level, seed, own).reshape(whole.shape).to(perturbed)
            if mask is None:
                perturbed[row] = moved
            else:
                perturbed[row, mask[row]] = moved
        return perturbed

    @abstractmethod
    def move(self, clean: Tensor, level: float, seed: int, origin: Origin | None) -> Tensor:
        """Move one feature.

        Args:
            clean: h, not constant, shape (dimensions,), float64 on the CPU.
            level: In (0, 1).
            seed: Seed of everything random, the same at every level.
            origin: Where h comes from, one row; None unless the class needs it.

        Returns:
            h', shape (dimensions,).
        """


class DirectedPerturbation(RowPerturbation):
    """A perturbation along a random direction, as far as a target correlation distance c.

    h' = h + std(h)·√((1 − c)⁻² − 1)·n, where a subclass draws n in :meth:`direction`. The *expected* correlation
    between h' and h is 1 − c if n has no part along h. With ``calibration="exact"``, n is projected orthogonal to h and
    to the constant vector and rescaled, so that the *realised* distance is c.

    Args:
        calibration: ``"expected"`` or ``"exact"``.

    Raises:
        ReadoutError: if ``calibration`` is neither.
    """

    _last: tuple[int, Tensor, Origin | None, Tensor | ReadoutError] | None = None

    def __init__(self, calibration: Literal["expected", "exact"] = "expected") -> None:
        check_choice("calibration", calibration, ("expected", "exact"))
        self.calibration = calibration

    @abstractmethod
    def direction(self, clean: Tensor, generator: torch.Generator, origin: Origin | None) -> Tensor:
        """Draw a direction n, of mean square 1.

        Args:
            clean: h, shape (dimensions,), float64 on the CPU.
            generator: Source of everything random.
            origin: Where h comes from, one row; None unless the class needs it.

        Returns:
            Shape (dimensions,), float64.
        """

    def move(self, clean: Tensor, level: float, seed: int, origin: Origin | None) -> Tensor:
        """See :class:`RowPerturbation`."""
        return clean + noise_to_signal(level) * self._scaled(self._drawn(clean, seed, origin), clean - clean.mean())

    def _drawn(self, clean: Tensor, seed: int, origin: Origin | None) -> Tensor:
        """Return the direction, kept for the next level of the same feature, because some take long to find."""
        if not self._is_last(clean, seed, origin):
            found: Tensor | ReadoutError
            try:
                found = self.direction(clean, torch.Generator().manual_seed(seed), origin)
            except ReadoutError as error:  # there is none at any level
                found = error
            self._last = seed, clean, origin, found
        assert self._last is not None
        if isinstance(direction := self._last[-1], ReadoutError):
            raise direction
        return direction

    def _is_last(self, clean: Tensor, seed: int, origin: Origin | None) -> bool:
        if self._last is None:
            return False
        of, feature, whence, _ = self._last
        return of == seed and torch.equal(feature, clean) and (origin is None or origin.same(whence))

    def _scaled(self, noise: Tensor, centred: Tensor) -> Tensor:
        """Scale noise to the feature's standard deviation; exact calibration also removes its component along h."""
        if self.calibration == "expected":
            return noise * centred.std(unbiased=False)
        # centred, orthogonal and of equal norm: Pearson's r of h + a·noise with h is then exactly 1 / √(1 + a²)
        noise = across(noise, centred)
        exact: Tensor = noise * (centred.norm() / noise.norm())
        return exact


def across(direction: Tensor, centred: Tensor) -> Tensor:
    """Return the part of a direction that is orthogonal to a centred feature and to the constant vector."""
    direction = direction - direction.mean()
    return direction - centred * (direction @ centred) / (centred @ centred)


def unit(direction: Tensor) -> Tensor:
    """Scale a direction to mean square 1.

    Examples:
        >>> unit(torch.tensor([0.0, 5.0, 0.0, 0.0]))
        tensor([0., 2., 0., 0.])
    """
    scaled: Tensor = direction * (len(direction) ** 0.5 / direction.norm())
    return scaled


def noise_scale(feature: Tensor, levels: Tensor) -> Tensor:
    """Return the standard deviation σ of Gaussian noise at target correlation distances, shape (problems,).

    Args:
        feature: Shape (problems, ...).
        levels: c, in [0, 1), shape (problems,).
    """
    return feature.flatten(1).std(1, unbiased=False) * ((1 - levels) ** -2 - 1).sqrt().to(feature)


def noise_to_signal(level: float) -> float:
    """Return σ / std(h) = √((1 − c)⁻² − 1) for a target correlation distance.

    Args:
        level: Target correlation distance c, in [0, 1).

    Examples:
        >>> round(noise_to_signal(0.5), 2)
        1.73
    """
    return float(((1 - level) ** -2 - 1) ** 0.5)


def check_levels(levels: Iterable[float]) -> list[float]:
    """Return the levels as a list of floats.

    Raises:
        ReadoutError: if there is no level, or one lies outside [0, 1).

    Examples:
        >>> check_levels((0, 0.5))
        [0.0, 0.5]
        >>> check_levels([1.0])
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: A level is 1.0; give ...
    """
    hint = ": a target correlation distance, 0 for no noise and 0.99 for nearly nothing but noise"
    listed = check_list("levels", levels, "[0, 0.5, 0.9]")
    return [float(check_number("A level", level, 0, below=1, hint=hint)) for level in listed]
