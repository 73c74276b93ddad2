"""A perturbation that moves one input's feature toward another's."""

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
    """A perturbation that moves f(x) part of the way toward f(y), where y follows x in a cyclic list of inputs.

    The level is the share of the way, 0 at f(x) and 1 at f(y). There is no noise, so draws differ only by the prior's
    seed. A perturbation receives only features, so x is identified by the values of its feature.

    Args:
        inputs: Digests of the inputs, in order; they enter the keys of problems.
        path: ``"line"``: h' = (1 − s) f(x) + s f(y). ``"sphere"``: the great circle between the centred and
            normalised features, rescaled to the mean and standard deviation of f(x), so that only the pattern changes.

    Raises:
        ReadoutError: if the path is unknown or there are fewer than two different inputs.
    """

    def __init__(self, inputs: Sequence[str], path: Literal["line", "sphere"]) -> None:
        if path not in PATHS:
            raise ReadoutError(f"path is {path!r}; choose 'line' or 'sphere'.")
        if len(set(inputs)) != len(inputs) or len(inputs) < 2:
            raise ReadoutError("TowardNext moves features between inputs; give at least two, all different.")
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
        """Build the perturbation with the inputs' features at the layers.

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
            ReadoutError: if a level is outside [0, 1), or a feature is not that of any input.
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
        """Return f(y) for f(x) = ``start``."""
        best, following = math.inf, start
        for bank in (bank for bank in self._features if bank.shape[1:] == start.shape):
            errors = (bank.double() - start).flatten(1).square().mean(1)
            place = int(errors.argmin())
            if errors[place] < best:
                best, following = float(errors[place]), bank[(place + 1) % len(bank)].double()
        if best > 1e-4 * float(start.var(unbiased=False)):  # smaller errors are rounding
            raise ReadoutError("A feature is not that of any input known to TowardNext; build it with `among`.")
        return following


def along(start: Tensor, end: Tensor, share: float, path: str) -> Tensor:
    """Return the point at a share of the way between two features; see :class:`TowardNext`.

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
