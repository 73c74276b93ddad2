"""Predicted d_X at any noise variance, from the small matrices of Krylov spaces."""

from collections.abc import Sequence

import torch
from torch import Tensor

from readout.common.bidiagonal import Bidiagonalisation
from readout.prediction.decoders import Filter, PosteriorMean
from readout.prediction.gaussian import GaussianPrior


class Curve:
    """Predicted d_X as a function of decoder and noise variance.

    Up to constants, the recovered input is x̂ = Gx + Kε, with Gx transmitted from the input and Kε from the noise. The
    correlation distance subtracts the mean of all values, so with x and x̂ centred

        d_X ≈ 1 − ⟨x, Gx⟩ / (‖x‖ √(‖Gx‖² + σ² tr KᵀK)).

    Args:
        krylov: Krylov spaces of J C^½: row 0 starts from C^-½(x − mean), the other rows from C^½z for probes z.
        prior: Prior with this C^½; its mean is a constant, which d_X ignores.
        x: The input.
    """

    def __init__(self, krylov: Bidiagonalisation, prior: GaussianPrior, x: Tensor) -> None:
        values, coefficients, basis = krylov.ritz()
        self._values, self._squares = values, coefficients.square()
        self.largest = float(values.max())
        """Largest Ritz value of A = C^½JᵀJC^½."""
        ritz = centred(prior.root(basis)).flatten(1).cpu().double() * coefficients[0].unsqueeze(1)
        true = centred(x.unsqueeze(0)).flatten().cpu().double()
        self._power = float(true @ true)
        self._alignment = ritz @ true / true.norm()
        self._gram = ritz @ ritz.t()

    def best(self, decoders: Sequence[Filter], variances: Tensor) -> tuple[Tensor, Tensor]:
        """Return the smallest d_X of the decoders at each noise variance, and its standard error.

        Args:
            decoders: At least one.
            variances: σ², float64, shape (levels,).

        Returns:
            Two tensors of shape (levels,).
        """
        distances, errors = zip(*(self.distance(decoder, variances) for decoder in decoders), strict=True)
        least, which = torch.stack(distances).min(dim=0)
        return least, torch.stack(errors).gather(0, which.unsqueeze(0)).squeeze(0)

    def distance(self, decoder: Filter, variances: Tensor) -> tuple[Tensor, Tensor]:
        """Return d_X of one decoder at each noise variance, and its standard error over probes.

        Args:
            decoder: The decoder.
            variances: σ², float64, shape (levels,).

        Returns:
            Two tensors of shape (levels,).
        """
        gains = decoder.gain(self._values[0], variances.unsqueeze(1))
        arrived = gains @ self._alignment
        signal = ((gains @ self._gram) * gains).sum(1)
        shares = decoder.noise(self._values[1:].unsqueeze(1), variances.view(1, -1, 1))
        noise = (shares * self._squares[1:].unsqueeze(1)).sum(2)
        power = signal + noise.mean(0)
        correlation = torch.where(power > 0, arrived / power.clamp_min(_TINY).sqrt(), 0.0)
        return 1 - correlation, correlation.abs() * _standard_error(noise) / (2 * power.clamp_min(_TINY))

    def average(self, decoder: PosteriorMean, variances: Tensor) -> tuple[Tensor, Tensor]:
        """Return d_X on average over images drawn from the prior, and its standard error over probes.

        With the posterior covariance Σ it is 1 − √(1 − tr Σ / ‖x − x̄‖²).

        Args:
            decoder: The posterior mean.
            variances: σ², float64, shape (levels,).

        Returns:
            Two tensors of shape (levels,).
        """
        lost = 1 - decoder.gain(self._values[1:].unsqueeze(1), variances.view(1, -1, 1))
        shares = (lost * self._squares[1:].unsqueeze(1)).sum(2) / self._power
        correlation = (1 - shares.mean(0)).clamp_min(0).sqrt()
        return 1 - correlation, _standard_error(shares) / (2 * correlation.clamp_min(_TINY))


def centred(rows: Tensor) -> Tensor:
    """Subtract from each row the mean of its values, as a correlation does."""
    return rows - rows.flatten(1).mean(1).view(-1, *[1] * (rows.ndim - 1))


def _standard_error(estimates: Tensor) -> Tensor:
    """Return the standard error of the mean over the first axis; NaN for a single estimate."""
    if len(estimates) < 2:
        return torch.full_like(estimates[0], torch.nan)
    error: Tensor = estimates.std(dim=0) / len(estimates) ** 0.5
    return error


_TINY = torch.finfo(torch.float64).tiny
