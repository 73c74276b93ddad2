"""Signs in their values that external features come from another network."""

from collections.abc import Mapping
from statistics import fmean

from torch import Tensor

from readout.external.shapes import Features

FAR_OFF = 10.0
"""Ratio of standard deviations that no image explains: photographs and noise differ at most threefold in VGG19."""


def doubt(features: Features, own: Mapping[str, Tensor], network: str) -> str | None:
    """Return a warning if external features do not look like this network's.

    Args:
        features: Name → layer → feature.
        own: Layer → the network's own feature of any image.
        network: The network and its weights, for the warning.

    Returns:
        The sign and its likely cause: either no feature of a layer has a negative value although the network's own
        does, or the mean standard deviation of a layer's features differs from the network's own by more than a factor
        of :data:`FAR_OFF`. None if there is no sign.

    Examples:
        >>> import torch
        >>> own = {"conv1": torch.linspace(-1, 1, 100)}
        >>> doubt({"cat": {"conv1": torch.linspace(-50, 50, 100)}}, own, "VGG19")
        'Features lie on another scale than those of VGG19 (standard deviation: conv1 29.2 and not about 0.583): ...
    """
    by_layer = {layer: [of_layers[layer] for of_layers in features.values()] for layer in next(iter(features.values()))}
    rectified = [
        layer
        for layer, rows in by_layer.items()
        if own[layer].min() < 0 and all(bool((row >= 0).all()) for row in rows)
    ]
    if rectified:
        return (
            f"No feature of {', '.join(rectified)} has a value below 0, but {network} gives such values there: were "
            "they taken after a ReLU, or from another layer?"
        )
    spreads = {layer: (fmean(map(_spread, rows)), _spread(own[layer])) for layer, rows in by_layer.items()}
    odd = {layer: (here, there) for layer, (here, there) in spreads.items() if _far_off(here, there)}
    if odd:
        said = ", ".join(f"{layer} {here:.3g} and not about {there:.3g}" for layer, (here, there) in odd.items())
        return (
            f"Features lie on another scale than those of {network} (standard deviation: {said}): are they of other "
            "weights, or of inputs that were preprocessed differently?"
        )
    return None


def _spread(feature: Tensor) -> float:
    return float(feature.std(correction=0))


def _far_off(here: float, there: float) -> bool:
    return there > 0 and not 1 / FAR_OFF <= here / there <= FAR_OFF
