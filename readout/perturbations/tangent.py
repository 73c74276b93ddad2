"""Directions that change the input, and directions that don't: the range of the Jacobian and its complement."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from readout.common.bidiagonal import Bidiagonalisation
from readout.common.checks import check_number, check_whole
from readout.common.errors import ReadoutError
from readout.extractors.jacobian import Jacobian
from readout.perturbations.base import DirectedPerturbation, Origin, unit


class TangentPerturbation(DirectedPerturbation):
    """Gaussian noise within the tangent space of features: the range of the Jacobian at the input.

    To first order, these are the directions in which a feature moves when its input changes. Noise is projected by
    products with the Jacobian, which is never formed: n = J g(JᵀJ) Jᵀz, where g inverts, by the Ritz values of a
    Golub–Kahan bidiagonalisation (:class:`readout.common.bidiagonal.Bidiagonalisation`).

    Args:
        calibration: See :class:`DirectedPerturbation`.
        steps: Steps of the bidiagonalisation, of two products each. Fewer than the rank of the Jacobian leave out some
            of the directions that change least with the input.
        tolerance: Singular values below this share of the largest do not count as tangent.

    Raises:
        ReadoutError: if an argument is out of range. A problem is marked if its input is a text, or its feature does
            not change with the input.
    """

    needs_origin: ClassVar[bool] = True

    def __init__(
        self, calibration: Literal["expected", "exact"] = "expected", steps: int = 64, tolerance: float = 1e-3
    ) -> None:
        super().__init__(calibration)
        self.steps = check_whole("steps", steps, 1)
        self.tolerance = check_number("tolerance", tolerance, above=0, below=1)

    def direction(self, clean: Tensor, generator: torch.Generator, origin: Origin | None) -> Tensor:
        """See :class:`DirectedPerturbation`."""
        noise = torch.randn(clean.numel(), generator=generator, dtype=torch.float32)
        return unit(self._tangent(noise, origin).double())

    def _tangent(self, noise: Tensor, origin: Origin | None) -> Tensor:
        """Project noise on the range of the Jacobian."""
        assert origin is not None
        with torch.inference_mode(False), torch.enable_grad():
            jacobian, values, weights, vectors = krylov_space(noise, origin, self.steps)
            kept = values > self.tolerance**2 * values.max()
            inverse = torch.where(kept, weights / values, 0.0)
            source = torch.einsum("s,s...->...", inverse.to(vectors), vectors)
            return jacobian.forward(source.unsqueeze(0)).detach().flatten().cpu()


def krylov_space(noise: Tensor, origin: Origin, steps: int) -> tuple[Jacobian, Tensor, Tensor, Tensor]:
    """Return the Jacobian J at an input, and the Krylov space of JᵀJ from Jᵀz; to be called with gradients enabled.

    Args:
        noise: z, shape (dimensions,).
        origin: The input, one row.
        steps: Steps of the bidiagonalisation; at most the dimensions of the input.

    Returns:
        J, Ritz values and coefficients, shape (steps,), and Ritz vectors, shape (steps, *input_shape); see
        :meth:`readout.common.bidiagonal.Bidiagonalisation.ritz`.

    Raises:
        ReadoutError: if the input is a text, or the feature does not change with it.
    """
    x = origin.inputs[0]
    if not x.is_floating_point() or x.ndim == 2:
        raise ReadoutError(
            "The Jacobian is of images and codes only; choose a perturbation that does without, for texts."
        )
    jacobian = Jacobian(origin.extractor, origin.layer, x.clone())
    start = jacobian.transpose(noise.to(jacobian.feature).view(1, *jacobian.feature.shape))
    if not start.any():
        raise ReadoutError("Its feature does not change with the input, so it has no tangent space.")
    krylov = Bidiagonalisation(jacobian.forward, jacobian.transpose, start)
    krylov.extend(min(steps, start.numel()))
    values, weights, vectors = krylov.ritz()
    return jacobian, values[0], weights[0], vectors


class NormalPerturbation(TangentPerturbation):
    """Gaussian noise in the orthogonal complement of the tangent space: directions that no change of the input takes.

    A readout that knew the manifold of features would not be moved at all; see :class:`TangentPerturbation`, whose
    arguments it takes.

    Raises:
        ReadoutError: as there; a problem is also marked if the tangent space is the whole feature space.
    """

    def direction(self, clean: Tensor, generator: torch.Generator, origin: Origin | None) -> Tensor:
        """See :class:`DirectedPerturbation`."""
        noise = torch.randn(clean.numel(), generator=generator, dtype=torch.float32)
        left = noise.double() - self._tangent(noise, origin).double()
        if left.norm() < 1e-3 * noise.norm():
            raise ReadoutError("The tangent space is the whole feature space, so there is no direction normal to it.")
        return unit(left)
