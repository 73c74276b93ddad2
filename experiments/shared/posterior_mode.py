"""MAP estimate on the nonlinear network, which isolates the error that linearisation makes in a prediction."""

import torch
from torch import Tensor

from readout.common.checks import check_number, check_whole
from readout.extractors import FeatureExtractor
from readout.prediction.gaussian import GaussianPrior


def posterior_mode(
    extractor: FeatureExtractor,
    layer: str,
    perturbed: Tensor,
    variance: float,
    prior: GaussianPrior,
    max_iterations: int = 100,
) -> Tensor:
    """Return the MAP estimate of the input given a perturbed feature, by L-BFGS from the prior's mean.

    For a linear network it equals the decoder of :func:`readout.prediction.predict_size`.

    Args:
        extractor: The frozen network.
        layer: A layer name of the extractor.
        perturbed: h′, shape (*feature_shape).
        variance: σ² of the noise in h′, above 0.
        prior: A Gaussian over inputs.
        max_iterations: Largest number of L-BFGS iterations.

    Returns:
        Shape (*input_shape); values may lie outside [0, 1].

    Examples:
        >>> from readout.extractors import OrthonormalLinear
        >>> from readout.prediction import NoPrior
        >>> extractor, x = OrthonormalLinear(input_shape=(3, 4, 4)), torch.rand(3, 4, 4)
        >>> h = extractor.extract(x.unsqueeze(0), "linear")[0]
        >>> found = posterior_mode(extractor, "linear", h, variance=1e-4, prior=NoPrior(x))
        >>> torch.allclose(found, x, atol=1e-3)  # hardly any noise, so the input itself
        True
    """
    check_number("variance", variance, above=0)
    check_whole("max_iterations", max_iterations, 1)
    # whitened coordinates: the prior's term becomes |w|² / 2 and L-BFGS converges evenly in all directions
    white = torch.zeros_like(prior.mean).unsqueeze(0).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [white], max_iter=max_iterations, history_size=20, tolerance_grad=0, line_search_fn="strong_wolfe"
    )

    def negative_log_posterior() -> Tensor:
        optimizer.zero_grad()
        residual = extractor.extract(prior.mean + prior.root(white), layer) - perturbed
        total = (residual.square().sum() / variance + white.square().sum()) / 2
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(negative_log_posterior)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return (prior.mean + prior.root(white)).squeeze(0)
