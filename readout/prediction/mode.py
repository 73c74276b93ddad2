"""The same prior and noise against the network as it is: how much of a prediction's error linearity makes."""

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
    """The most probable input given a perturbed feature, by L-BFGS from the prior's mean.

    For a linear network it is the decoder behind :func:`readout.prediction.predict_size`.

    Args:
        extractor: The frozen network.
        layer: A layer name of the extractor.
        perturbed: h′, shape (*feature_shape).
        variance: σ² of the noise in h′, above 0.
        prior: A Gaussian over inputs.
        max_iterations: Of L-BFGS.

    Returns:
        Shape (*input_shape); values may lie outside [0, 1].
    """
    check_number("variance", variance, above=0)
    check_whole("max_iterations", max_iterations, 1)
    white = torch.zeros_like(prior.mean).unsqueeze(0).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [white], max_iter=max_iterations, history_size=20, tolerance_grad=0, line_search_fn="strong_wolfe"
    )

    def surprise() -> Tensor:
        optimizer.zero_grad()
        missed = extractor.extract(prior.mean + prior.root(white), layer) - perturbed
        total = (missed.square().sum() / variance + white.square().sum()) / 2
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(surprise)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return (prior.mean + prior.root(white)).squeeze(0)
