"""Signs that given features are another network's: what is seen of their values, next to the layer's own."""

from collections.abc import Mapping
from statistics import fmean

from torch import Tensor

from readout.external.shapes import Features

FAR_OFF = 10.0
"""Ratio of spreads that no image explains: photographs and noise are within 3 of each other at each layer of VGG19."""


def doubt(features: Features, own: Mapping[str, Tensor], called: str) -> str | None:
    """A sentence to warn with, where features look as if they were not this network's.

    Args:
        features: Name → layer → feature.
        own: Of every layer the network's own feature of some image, which need not be like the others.
        called: How the network and its weights are called.

    Returns:
        What is odd and what to look at; None where nothing is. Either all values of a layer are at least 0 though the
        layer gives negative ones, or the standard deviation of its features, their mean, is more than
        :data:`FAR_OFF` times that of the layer's own or less than a part in as many.
    """
    given = {layer: [of_layers[layer] for of_layers in features.values()] for layer in next(iter(features.values()))}
    rectified = [
        layer for layer, rows in given.items() if own[layer].min() < 0 and all(bool((row >= 0).all()) for row in rows)
    ]
    if rectified:
        return (
            f"No feature of {', '.join(rectified)} has a value below 0, but {called} gives such values there: were "
            "they taken after a ReLU, or from another layer?"
        )
    spreads = {layer: (fmean(map(_spread, rows)), _spread(own[layer])) for layer, rows in given.items()}
    odd = {layer: (here, there) for layer, (here, there) in spreads.items() if _far_off(here, there)}
    if odd:
        said = ", ".join(f"{layer} {here:.3g} and not about {there:.3g}" for layer, (here, there) in odd.items())
        return (
            f"Features lie on another scale than those of {called} (standard deviation: {said}): are they of other "
            "weights, or of inputs that were prepared otherwise?"
        )
    return None


def _spread(feature: Tensor) -> float:
    return float(feature.std(correction=0))


def _far_off(here: float, there: float) -> bool:
    return there > 0 and not 1 / FAR_OFF <= here / there <= FAR_OFF
