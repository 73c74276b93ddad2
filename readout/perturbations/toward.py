"""Steps toward the feature of another input."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.data import Samples
from readout.perturbations.base import Origin, RowPerturbation


class Toward(RowPerturbation):
    """Steps from f(x) toward f(y), where y is the input after x among those of the sweep; the last one's is the first.

    The level is the share of the way, 0 at f(x) and 1 at f(y); the correlation distance reached is the realised d_H of
    the result. There is no noise, so draws differ by the readout's seed only.

    Args:
        path: ``"sphere"``: the great circle between the centred and normalised features, rescaled to the mean and
            standard deviation of f(x), so that only the pattern changes. ``"line"``: h' = (1 − s) f(x) + s f(y).
        inputs: Digests of the inputs, in order; those of a sweep by default.

    Raises:
        ReadoutError: if ``path`` is neither, inputs are texts, or a sweep has fewer than two different ones.
    """

    needs_origin: ClassVar[bool] = True

    def __init__(self, path: Literal["sphere", "line"] = "sphere", inputs: list[str] | None = None) -> None:
        check_choice("path", path, ("sphere", "line"))
        self.path = path
        self.inputs = inputs
        self._following: dict[str, str] = {}

    def meet(self, samples: Samples) -> None:
        """See :class:`Perturbation`."""
        if not all(like.is_floating_point() for like in samples.shapes.values()):
            raise ReadoutError("Toward is for images, because texts differ in length; choose UnitLoss for texts.")
        digests, names = [metadata.digest for metadata in samples.metadata.values()], list(samples)
        if len({*digests}) < max(2, len(digests)):
            raise ReadoutError("Toward moves features between inputs; give at least two, all different.")
        self.inputs, self._following = digests, dict(zip(names, [*names[1:], names[0]], strict=True))

    def others(self, sample: str) -> list[str]:
        """See :class:`Perturbation`."""
        return [self._following[sample]]

    def move(self, clean: Tensor, level: float, seed: int, origin: Origin | None) -> Tensor:
        """See :class:`RowPerturbation`."""
        assert origin is not None
        return along(clean, self._end(origin), level, self.path)

    def _end(self, origin: Origin) -> Tensor:
        """Return f(y), kept for the next level of the same input."""
        place = origin.layer, self._following[origin.names[0]]
        if self._last is None or self._last[0] != place:
            y = origin.others[place[1]].unsqueeze(0).to(origin.inputs)
            with torch.no_grad():
                self._last = place, origin.extractor.extract(y, origin.layer).double().cpu().flatten()
        end: Tensor = self._last[1]
        return end


def along(start: Tensor, end: Tensor, share: float, path: str) -> Tensor:
    """Return the point at a share of the way between two features; see :class:`Toward`.

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
