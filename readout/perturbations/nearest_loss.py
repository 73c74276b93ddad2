"""The direction in which a readout loses its signal soonest."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from readout.common.checks import check_number, check_whole
from readout.perturbations.base import DirectedPerturbation, Origin, across, noise_to_signal, unit
from readout.perturbations.tangent import krylov_space


class NearestLoss(DirectedPerturbation):
    """The worst direction that is found: the one in which the smallest move loses the signal.

    A representation size is a maximum over features of a kind; this is its counterpart. The size in this direction is
    an *upper bound* on the distance to the nearest feature that is lost, because a worse direction may exist.

    A readout in one pass that can be differentiated (class, linear and trained decoder) is climbed: from a random
    direction, by projected gradient on how far its answer departs from the truth
    (:attr:`readout.readouts.Readout.departure`), at a fixed distance from h. An inversion is not differentiated; it
    gets the direction that the feature follows least when its input changes, J v for the smallest Ritz value, along
    which least squares amplifies noise most.

    Args:
        calibration: See :class:`DirectedPerturbation`.
        at: Correlation distance from h at which the answer is differentiated.
        steps: Steps of the ascent, of one pass each, or of the bidiagonalisation.

    Raises:
        ReadoutError: if an argument is out of range. A problem is marked if the readout gives no gradient.
    """

    needs_origin: ClassVar[bool] = True

    def __init__(self, calibration: Literal["expected", "exact"] = "exact", at: float = 0.1, steps: int = 50) -> None:
        super().__init__(calibration)
        self.at = check_number("at", at, above=0, below=1)
        self.steps = check_whole("steps", steps, 1)

    def direction(self, clean: Tensor, generator: torch.Generator, origin: Origin | None) -> Tensor:
        """See :class:`DirectedPerturbation`."""
        assert origin is not None
        start = torch.randn(clean.numel(), generator=generator, dtype=torch.float32).double()
        with torch.inference_mode(False), torch.enable_grad():
            return self._climb(clean, start, origin) if origin.departure else self._least_read(start, origin)

    def _climb(self, clean: Tensor, start: Tensor, origin: Origin) -> Tensor:
        """Return the direction of the largest departure that was met."""
        assert origin.departure is not None
        feature, x = origin.features.clone(), origin.inputs.clone()
        centred = clean - clean.mean()
        length = noise_to_signal(self.at) * centred.std(unbiased=False)
        direction, best, most = unit(across(start, centred)), start, -torch.inf
        for _ in range(self.steps):
            moved = (clean + length * direction).view_as(feature[0]).unsqueeze(0).to(feature).requires_grad_()
            departure = origin.departure(moved, feature, x)
            if (reached := float(departure.detach())) > most:
                best, most = direction, reached
            (gradient,) = torch.autograd.grad(departure.sum(), moved)
            ascent = across(gradient.flatten().double().cpu(), centred)
            if ascent.any():
                direction = unit(direction + unit(ascent))  # half of the old one, so that it settles
        return best

    def _least_read(self, start: Tensor, origin: Origin) -> Tensor:
        """Return the direction that the feature follows least when the input changes, as far as the steps tell."""
        jacobian, values, _, vectors = krylov_space(start.float(), origin, self.steps)
        kept = values > 1e-6 * values.max()
        weakest = vectors[int(torch.where(kept, values, torch.inf).argmin())]
        return unit(jacobian.forward(weakest.unsqueeze(0)).detach().flatten().double().cpu())
