"""predict_size: recovery curve and size of one input, from the Jacobian at that input."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from readout.common.bidiagonal import Bidiagonalisation
from readout.common.checks import check_choice, check_list, check_number, check_seed, check_threshold, check_whole
from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.extractors.jacobian import Jacobian
from readout.perturbations import noise_to_signal
from readout.prediction.curve import Curve, centred
from readout.prediction.decoders import GradientDescent, PosteriorMean
from readout.prediction.gaussian import GaussianPrior, NaturalImages, NoPrior

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
"""Levels of the paper."""

FINE = tuple(level / 100 for level in range(1, 100))
"""Levels on which a size is found, by linear interpolation."""

STEPS = tuple(round(2 ** (power / 2)) for power in range(33))
"""Step counts from which the best is chosen, 1 to 65,536."""

CHUNK = 4
"""Iterations between two checks for convergence."""


@dataclass(frozen=True)
class PredictedSize:
    """Predicted recovery of one input by an optimal linear decoder of the linearised network."""

    size: float
    """Predicted representation size: the largest level c at which d_X < threshold."""
    censored: bool
    """Whether c = 0.99 is still recovered, so that the size is a lower bound."""
    threshold: float
    """t, in units of d_X."""
    levels: tuple[float, ...]
    """Target correlation distances c."""
    distances: tuple[float, ...]
    """Predicted d_X at each level."""
    standard_errors: tuple[float, ...]
    """Standard error of each d_X, from the scatter over probes; NaN with a single probe."""
    iterations: int
    """Number of products with J per vector, and of products with Jᵀ."""
    vectors: int
    """Number of vectors in the batch: the probes and the input itself."""
    converged: bool
    """Whether the last iterations changed little; if not, raise ``max_iterations``."""
    seconds: float
    """Wall-clock time."""


def predict_size(
    extractor: FeatureExtractor,
    layer: str,
    x: Tensor,
    levels: Sequence[float] = LEVELS,
    threshold: float = 0.1,
    prior: Literal["natural", "none"] = "natural",
    steps: int | None = None,
    average: bool = False,
    probes: int = 2,
    seed: int = 0,
    tolerance: float = 2e-3,
    max_iterations: int = 64,
) -> PredictedSize:
    """Predict how far a feature can move before its input is lost, in seconds and without inversions.

    The network is replaced by its linearisation at ``x``, the perturbation by Gaussian noise of variance
    σ² = Var(h)·((1 − c)⁻² − 1), and the readout by a linear decoder whose recovered input is known in closed
    form. d_X is the correlation distance over all values of an input.

    Args:
        extractor: The frozen network.
        layer: A layer name of the extractor.
        x: One input in the user's space, shape (*input_shape), no batch.
        levels: Target correlation distances, in (0, 1). Level 0 is left out: without noise, rounding decides.
        threshold: t, in units of d_X.
        prior: ``"natural"``: posterior mean under a Gaussian prior of natural images with 1/f² power, for images
            only. ``"none"``: gradient descent on the input's values from mid-grey.
        steps: Number of gradient descent steps without a prior, of the largest stable size; None for the best number
            at each level. Refused with a prior.
        average: Predict the average over images drawn from the prior, with J at ``x``, in place of ``x`` itself.
        probes: Number of random vectors that estimate the power of the transmitted noise.
        seed: Seed of the probes.
        tolerance: Stop once four iterations change neither a d_X nor the size by more.
        max_iterations: Largest number of iterations.

    Raises:
        ReadoutError: if an argument is out of range, ``x`` is constant, the natural prior gets no image, or the layer
            can't be linearised.

    Examples:
        >>> from readout.extractors import OrthonormalLinear
        >>> x = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> found = predict_size(OrthonormalLinear(), "linear", x, prior="none")
        >>> abs(found.size - 0.28) < 0.02  # linear_size(0.1, 4), the closed form
        True
        >>> found.censored, found.converged
        (False, True)
    """
    started = time.perf_counter()
    _check(x, levels, threshold, prior, steps, average, probes, seed, tolerance, max_iterations)
    x = x.detach().to(extractor.mean)
    known: GaussianPrior = NaturalImages(x) if prior == "natural" else NoPrior(x)
    jacobian = Jacobian(extractor, layer, x, copies=probes + 1)
    feature = jacobian.feature.double()
    scale = float(feature.var(unbiased=False))
    if scale == 0:
        raise ReadoutError(f"Layer {layer!r} gives the same value everywhere for this input; choose another layer.")
    krylov = _start(jacobian, known, x, probes, seed)
    previous: tuple[Tensor, float] | None = None
    while True:
        chunk = min(CHUNK, max_iterations - len(krylov))
        krylov.extend(chunk)
        curve = _curve(Curve(krylov, known, x), prior, steps, average)
        distances, errors = curve(_variances(levels, scale))
        size, censored = _last_below(curve(_variances(FINE, scale))[0], threshold)
        converged = previous is not None and chunk == CHUNK and _close(previous, (distances, size), tolerance)
        if converged or len(krylov) >= max_iterations:
            break
        previous = distances, size
    return PredictedSize(
        size=size,
        censored=censored,
        threshold=threshold,
        levels=tuple(float(level) for level in levels),
        distances=tuple(distances.tolist()),
        standard_errors=tuple(errors.tolist()),
        iterations=len(krylov),
        vectors=probes + 1,
        converged=converged,
        seconds=time.perf_counter() - started,
    )


def _start(jacobian: Jacobian, known: GaussianPrior, x: Tensor, probes: int, seed: int) -> Bidiagonalisation:
    """Build Krylov spaces of M = J C^½, one for the input and one per probe."""
    signal = known.whiten((x - known.mean).unsqueeze(0))
    noise = known.root(centred(known.probes(probes, seed)))
    return Bidiagonalisation(
        lambda rows: jacobian.forward(known.root(rows)),
        lambda rows: known.root(jacobian.transpose(rows)),
        torch.cat([signal, noise]),
    )


def _curve(curve: Curve, prior: str, steps: int | None, average: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return a function from noise variances to d_X and its standard error."""
    if prior == "natural":
        return partial(curve.average if average else curve.distance, PosteriorMean())
    return partial(
        curve.best, [GradientDescent(1 / curve.largest, count) for count in (STEPS if steps is None else [steps])]
    )


def _variances(levels: Sequence[float], scale: float) -> Tensor:
    """Return σ² at each level."""
    return torch.tensor([scale * noise_to_signal(level) ** 2 for level in levels], dtype=torch.float64)


def _last_below(distances: Tensor, threshold: float) -> tuple[float, bool]:
    """Return the level at which the curve on :data:`FINE` last rises above the threshold, and whether it never does."""
    below = [index for index, distance in enumerate(distances.tolist()) if distance < threshold]
    if not below:
        return 0.0, False
    last = below[-1]
    if last == len(FINE) - 1:
        return FINE[-1], True
    low, high = float(distances[last]), float(distances[last + 1])
    share = (threshold - low) / (high - low)
    return FINE[last] + share * (FINE[last + 1] - FINE[last]), False


def _close(before: tuple[Tensor, float], now: tuple[Tensor, float], tolerance: float) -> bool:
    moved = (before[0] - now[0]).abs().max()
    return bool(moved <= tolerance) and abs(before[1] - now[1]) <= tolerance


def _check(
    x: Tensor,
    levels: Sequence[float],
    threshold: float,
    prior: str,
    steps: int | None,
    average: bool,
    probes: int,
    seed: int,
    tolerance: float,
    iterations: int,
) -> None:
    check_choice("prior", prior, ("natural", "none"))
    if steps is not None and prior != "none":
        raise ReadoutError("steps count gradient descent without a prior; leave them out, or use `prior='none'`.")
    if average and prior == "none":
        raise ReadoutError("There is nothing to average over without a prior; leave `average` out.")
    if steps is not None:
        check_whole("steps", steps, 1, hint=", or None for the best number")
    check_whole("probes", probes, 1)
    check_seed("seed", seed)
    check_whole("max_iterations", iterations, 1)
    check_number("tolerance", tolerance, 0)
    check_threshold("threshold", threshold)
    for level in check_list("levels", levels, "(0.3, 0.5, 0.7, 0.9)"):
        hint = ", because without noise a prediction would rest on rounding"
        check_number("A level", level, above=0, below=1, hint=hint)
    if not x.isfinite().all():
        raise ReadoutError("The input holds values that are not finite; leave it out.")
    if x.max() - x.min() < 1e-6:
        raise ReadoutError("The input is constant, so nothing correlates with it; leave it out.")
