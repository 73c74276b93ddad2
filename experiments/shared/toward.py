"""A perturbation that leads from one input's feature to another's."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.perturbations import Perturbation, check_levels
from readout.problems.identity import tensor_digest

PATHS = ("line", "sphere")


class TowardNext(Perturbation):
    """Move f(x) a share of the way toward f(y), y being the next of a list of inputs (after the last, the first).

    A level is that share, 0 at f(x) and 1 at f(y); there is no noise, so draws differ by the prior's seed alone.
    Features are told apart by their values, which a perturbation is given; it is not told whose they are.

    Args:
        inputs: Digest of each input, in order: part of what decides an answer.
        path: ``"line"``: h' = (1 − s) f(x) + s f(y). ``"sphere"``: along the great circle between both as
            correlation sees them, with mean and standard deviation of f(x), so that only the pattern turns.

    Raises:
        ReadoutError: if the path is unknown or there are fewer than two different inputs.
    """

    def __init__(self, inputs: Sequence[str], path: Literal["line", "sphere"]) -> None:
        if path not in PATHS:
            raise ReadoutError(f"path is {path!r}; choose 'line' or 'sphere'.")
        if len(set(inputs)) != len(inputs) or len(inputs) < 2:
            raise ReadoutError("Moving a feature toward another input's takes at least two inputs, all different.")
        self.inputs, self.path = list(inputs), path
        self._features: list[Tensor] = []

    @classmethod
    def among(
        cls,
        inputs: Mapping[str, Tensor],
        extractor: FeatureExtractor,
        layers: Sequence[str],
        path: Literal["line", "sphere"],
    ) -> "TowardNext":
        """The same, with the features of the inputs at some layers.

        Args:
            inputs: Inputs by name, each of shape (*input_shape).
            extractor: The network.
            layers: Names of its layers.
            path: See the class.
        """
        perturbation = cls([tensor_digest([("input", x)]) for x in inputs.values()], path)
        batch = torch.stack(list(inputs.values())).to(extractor.mean)
        with torch.no_grad():
            perturbation._features = [extractor.extract(batch, layer).cpu() for layer in layers]
        return perturbation

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """See :class:`Perturbation`; level 0 returns the feature unchanged, to the bit.

        Raises:
            ReadoutError: if a level is outside [0, 1), or a feature belongs to none of the inputs.
        """
        check_levels(levels.tolist())
        perturbed = feature.clone()
        for row, share in enumerate(levels.tolist()):
            if share:
                start = feature[row].detach().double().cpu()
                moved = along(start, self._next(start), share, self.path)
                perturbed[row] = moved.to(perturbed)
        return perturbed

    def _next(self, start: Tensor) -> Tensor:
        """f(y) of the x whose feature this is."""
        best, following = math.inf, start
        for bank in (bank for bank in self._features if bank.shape[1:] == start.shape):
            errors = (bank.double() - start).flatten(1).square().mean(1)
            place = int(errors.argmin())
            if errors[place] < best:
                best, following = float(errors[place]), bank[(place + 1) % len(bank)].double()
        if best > 1e-4 * float(start.var(unbiased=False)):  # less is rounding
            raise ReadoutError("A feature belongs to none of the inputs that TowardNext knows; build it with `among`.")
        return following


def along(start: Tensor, end: Tensor, share: float, path: str) -> Tensor:
    """The point at a share of the way between two features; see :class:`TowardNext`.

    Args:
        start: f(x), any shape.
        end: f(y), the same shape.
        share: Between 0 and 1.
        path: ``line`` or ``sphere``.
    """
    if path == "line":
        return torch.lerp(start, end, share)
    a, b = start - start.mean(), end - end.mean()
    a_unit, b_unit = a / a.norm(), b / b.norm()
    angle = torch.acos((a_unit * b_unit).sum().clamp(-1, 1))
    turned = (torch.sin((1 - share) * angle) * a_unit + torch.sin(share * angle) * b_unit) / torch.sin(angle)
    moved: Tensor = start.mean() + a.norm() * turned
    return moved
