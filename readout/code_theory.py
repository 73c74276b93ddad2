"""Closed forms for sparse codes: distances and sizes by readout, and where recovery ends.

A code s has N latents, K of them active. A dictionary D of N atoms of unit norm maps it to a feature h = D s of M
dimensions, and a readout estimates s from h' = h + ε with Gaussian noise ε at level c. Distances are 1 minus the
correlation between true and estimated latents, pooled over codes. n(c) = (1 − c)⁻² − 1 is
:func:`readout.representation.noise_ratio`.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from readout.common.checks import check_number, check_whole
from readout.common.errors import ReadoutError
from readout.representation import linear_distance, noise_ratio


def oracle_distance(level: ArrayLike, active: int, dimension: int, energy_ratio: float = 1.0) -> NDArray[np.float64]:
    """Return d_S in closed form for least squares on the true support.

    d_S(c) = 1 − 1 / √(1 + (K/M)·κ·n(c)): a linear network of K inputs and M features. It holds for orthogonal
    active atoms, and nearly for random ones if K ≪ M, which add about K/M to the factor.

    Args:
        level: Correlation distance c of the feature, in [0, 1).
        active: K.
        dimension: M.
        energy_ratio: κ = E s² / Var s over all latents: 1 if their mean is 0, more if they are non-negative.

    Examples:
        >>> oracle_distance([0.3, 0.5, 0.7], active=16, dimension=256).round(3).tolist()
        [0.031, 0.082, 0.217]
    """
    _check_sizes(active, dimension)
    return linear_distance(level, dimension / (active * check_number("energy_ratio", energy_ratio, 1)))


def one_pass_distance(level: ArrayLike, atoms: int, dimension: int, energy_ratio: float = 1.0) -> NDArray[np.float64]:
    """Return d_S in closed form for one pass over random atoms, ŝ = Dᵀ h'.

    d_S(c) = 1 − 1 / √(1 + (N/M)·κ·(n(c) + 1)). Compared with :func:`readout.representation.linear_distance`, n + 1
    stands for n: superposition is interference as strong as the feature itself, there without any noise.

    Args:
        level: Correlation distance c of the feature, in [0, 1).
        atoms: N, more than M.
        dimension: M.
        energy_ratio: See :func:`oracle_distance`.

    Raises:
        ReadoutError: if there are no more atoms than dimensions.

    Examples:
        >>> one_pass_distance([0, 0.5], atoms=1000, dimension=500).round(3).tolist()
        [0.423, 0.667]
    """
    _check_superposed(atoms, dimension)
    check_number("energy_ratio", energy_ratio, 1)
    return np.asarray(1 - 1 / np.sqrt(1 + atoms / dimension * energy_ratio * (noise_ratio(level) + 1)))


def linear_code_bound(atoms: int, dimension: int) -> float:
    """Return the least d_S, averaged over latents, that any linear readout reaches at level 0: 1 − √(M/N).

    It projects N independent latents on M dimensions, and the mean over latents of the squared correlation is M/N.

    Args:
        atoms: N, more than M.
        dimension: M.

    Raises:
        ReadoutError: if there are no more atoms than dimensions.

    Examples:
        >>> round(1 - linear_code_bound(atoms=16, dimension=8), 3)
        0.707
    """
    _check_superposed(atoms, dimension)
    return 1 - math.sqrt(dimension / atoms)


def lasso_distance(
    level: ArrayLike, penalty_weight: float, active: int, atoms: int, dimension: int, nonnegative: bool = True
) -> NDArray[np.float64]:
    """Return d_S for the minimum of ½‖D s − h'‖² + λ‖s‖₁ with random atoms, by state evolution.

    In large dimensions every latent is estimated as if from s + τ z with a standard normal z, by shrinking it by α τ.
    τ² = σ² + E(ŝ − s)² / δ and λ = α τ (1 − P(ŝ ≠ 0) / δ) with δ = M/N (Bayati & Montanari, "The LASSO risk for
    Gaussian matrices", 2012). Active latents are standard normal, or their absolute values.

    Args:
        level: Correlation distance c of the feature, in [0, 1).
        penalty_weight: λ, above 0.
        active: K.
        atoms: N.
        dimension: M.
        nonnegative: Whether codes and estimates are non-negative.

    Examples:
        >>> lasso_distance([0.02, 0.3], 0.1, active=50, atoms=1000, dimension=500).round(2).tolist()
        [0.01, 0.31]
    """
    check_number("penalty_weight", penalty_weight, above=0)
    _check_sizes(active, dimension)
    check_whole("atoms", atoms, active + 1)
    ratio, share = dimension / atoms, active / atoms
    found = [_lasso(noise, penalty_weight, ratio, share, nonnegative) for noise in np.atleast_1d(noise_ratio(level))]
    return np.asarray(found).reshape(np.shape(level))


def donoho_tanner(ratio: ArrayLike, nonnegative: bool = True) -> NDArray[np.float64]:
    """Return ρ = K/M at which ℓ1 minimisation stops recovering most codes at level 0, for random atoms.

    ρ(δ) = max over z ≥ 0 of (1 − (κ/δ) g(z)) / (1 + z² − κ g(z)), with g(z) = (1 + z²) Φ(−z) − z φ(z) and κ = 1 for
    non-negative codes, 2 for signed ones (Donoho, Maleki & Montanari, "Message-passing algorithms for compressed
    sensing", 2009).

    Args:
        ratio: δ = M/N, in (0, 1).
        nonnegative: Whether codes are known to be non-negative.

    Examples:
        >>> donoho_tanner([0.1, 0.5]).round(3).tolist()
        [0.241, 0.558]
        >>> donoho_tanner([0.1, 0.5], nonnegative=False).round(3).tolist()
        [0.189, 0.386]
    """
    from scipy.stats import norm

    ratios = np.asarray(ratio, dtype=float)
    for value in ratios.flat:
        check_number("ratio", float(value), above=0, below=1)
    sides = 1 if nonnegative else 2
    z = np.linspace(1e-3, 6, 6000)
    g = (1 + z**2) * norm.sf(z) - z * norm.pdf(z)
    return np.asarray(((1 - sides / ratios[..., None] * g) / (1 + z**2 - sides * g)).max(-1))


def support_probability(level: ArrayLike, active: int, atoms: int, dimension: int) -> NDArray[np.float64]:
    """Return the probability that the K largest latents are the active ones, with orthonormal atoms.

    P(c) = ∫ K φ(x) Φ(−x)^(K−1) Φ(τ + x)^(N−K) dx with τ = √(M / (K n(c))), for non-negative latents of equal magnitude.

    Args:
        level: Correlation distance c of the feature, in [0, 1).
        active: K.
        atoms: N, at most M.
        dimension: M.

    Raises:
        ReadoutError: if there are more atoms than dimensions, or no fewer active ones than atoms.

    Examples:
        >>> support_probability([0.2, 0.362, 0.6], active=4, atoms=64, dimension=64).round(2).tolist()
        [0.99, 0.5, 0.02]
    """
    _check_orthonormal(active, atoms, dimension)
    noise = np.maximum(noise_ratio(level), np.finfo(float).tiny)
    return np.asarray(_kept(np.sqrt(dimension / (active * noise)), active, atoms))


def support_size(active: int, atoms: int, dimension: int, probability: float = 0.5) -> float:
    """Return the level at which the support is kept with this probability, with orthonormal atoms.

    r = 1 − 1 / √(1 + (M/K) / τ²) with τ from :func:`support_probability`: a
    :func:`readout.representation.linear_size` with M/K for D/d.

    Args:
        active: K.
        atoms: N, at most M.
        dimension: M.
        probability: In (0, 1); 0.5 for the median size of a code.

    Raises:
        ReadoutError: if there are more atoms than dimensions, or no fewer active ones than atoms.

    Examples:
        >>> round(support_size(active=4, atoms=64, dimension=64), 3)
        0.362
    """
    from scipy.optimize import brentq

    _check_orthonormal(active, atoms, dimension)
    check_number("probability", probability, above=0, below=1)
    tau = brentq(lambda value: float(_kept(np.asarray(value), active, atoms)) - probability, -20, 40)
    # at τ = 0 the noise is infinite, so a probability below that of a guess is kept at every level
    return 1 - 1 / math.sqrt(1 + dimension / active / tau**2) if tau > 0 else 1.0


def coherence_size(coherence: float, active: int, atoms: int, dimension: int) -> float:
    """Return a size that codes of equal non-negative magnitudes have with high probability, whatever the dictionary.

    r ≥ 1 − 1 / √(1 + M / (K (1 + (K − 1) μ))·((1 − (2K − 1) μ) / (2 √(2 ln 2N)))²): the K largest latents of one
    pass are the active ones if no interference and no noise together reach half an active latent. Coherent atoms make
    ‖h‖², and the noise with it, at most 1 + (K − 1) μ times what it is for orthogonal ones.

    Args:
        coherence: μ, the largest |cosine| between two atoms.
        active: K.
        atoms: N.
        dimension: M.

    Returns:
        0 where (2K − 1) μ ≥ 1, so that nothing is guaranteed.

    Examples:
        >>> round(coherence_size(1 / 16, active=2, atoms=512, dimension=256), 2)
        0.36
    """
    check_number("coherence", coherence, 0, 1)
    _check_sizes(active, dimension)
    check_whole("atoms", atoms, active + 1)
    left = max(0.0, 1 - (2 * active - 1) * coherence) / (2 * math.sqrt(2 * math.log(2 * atoms)))
    return 1 - 1 / math.sqrt(1 + dimension / active / (1 + (active - 1) * coherence) * left**2)


class _Shrunk(NamedTuple):
    """Moments of a latent s and its estimate ŝ, over all latents."""

    mean: float
    square: float
    product: float
    active: float
    """P(ŝ ≠ 0)."""


def _lasso(noise: float, penalty_weight: float, ratio: float, share: float, nonnegative: bool) -> float:
    """Solve the state evolution; ``noise`` is n(c)."""
    from scipy.optimize import brentq

    energy = share  # E s²
    mean = share * math.sqrt(2 / math.pi) if nonnegative else 0.0
    variance = energy / ratio * noise

    def settled(alpha: float) -> tuple[float, _Shrunk]:
        """Iterate τ² at this α; it grows without bound if α is too small."""
        square = variance + energy / ratio
        for _ in range(500):
            found = _shrink(math.sqrt(square), alpha, share, nonnegative)
            before, square = square, variance + (found.square - 2 * found.product + energy) / ratio
            if abs(square - before) < 1e-9 * square or square > 100 * (variance + energy / ratio):
                break
        return math.sqrt(square), _shrink(math.sqrt(square), alpha, share, nonnegative)

    def excess(alpha: float) -> float:
        tau, found = settled(alpha)
        return alpha * tau * (1 - found.active / ratio) - penalty_weight

    highest = 2.0
    while excess(highest) < 0:
        highest *= 2
    _, found = settled(brentq(excess, 1e-3, highest, xtol=1e-6))
    return 1 - (found.product - mean * found.mean) / math.sqrt((energy - mean**2) * (found.square - found.mean**2))


def _shrink(tau: float, alpha: float, share: float, nonnegative: bool) -> _Shrunk:
    """Return the moments of estimates by shrinking s + τ z by α τ."""
    from scipy.special import ndtr

    points, weights = np.polynomial.legendre.leggauss(200)
    magnitudes = 4 * (points + 1)  # of active latents, in (0, 8)
    s = np.concatenate([[0.0], magnitudes])
    of = np.concatenate([[1 - share], share * 4 * weights * 2 * _density(magnitudes)])

    def above(latent: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        a = latent / tau - alpha
        below, density = ndtr(a), _density(a)
        return tau * (a * below + density), tau**2 * ((1 + a**2) * below + a * density), below

    first, second, active = above(s)
    if not nonnegative:
        mirrored = above(-s)
        first, second, active = first - mirrored[0], second + mirrored[1], active + mirrored[2]
    mean = float(of @ first) if nonnegative else 0.0
    return _Shrunk(mean, float(of @ second), float(of @ (first * s)), float(of @ active))


def _density(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))


def _kept(tau: NDArray[np.float64], active: int, atoms: int) -> NDArray[np.float64]:
    """Return P(least of K normals + τ > largest of N − K)."""
    from scipy.stats import norm

    x = np.linspace(-9, 9, 3601)
    least = active * norm.pdf(x) * norm.sf(x) ** (active - 1)
    return np.asarray(np.trapezoid(least * norm.cdf(tau[..., None] + x) ** (atoms - active), x))


def _check_sizes(active: int, dimension: int) -> None:
    check_whole("dimension", dimension, 1)
    check_whole("active", active, 1)


def _check_superposed(atoms: int, dimension: int) -> None:
    check_whole("dimension", dimension, 1)
    check_whole("atoms", atoms, dimension + 1, hint=": more atoms than dimensions")


def _check_orthonormal(active: int, atoms: int, dimension: int) -> None:
    _check_sizes(active, dimension)
    check_whole("atoms", atoms, active + 1)
    if atoms > dimension:
        raise ReadoutError(
            f"{atoms} atoms can't be orthonormal in {dimension} dimensions; give at most as many atoms as dimensions."
        )
