"""Several layers as one: their features concatenated, their losses summed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor, LanguageModel
from readout.readouts import FeatureInversion, FeatureLoss, Readout, TextInversion, TokenSearch

Weights = Mapping[str, float] | str
"""A weight per layer (1 where none is set), or ``balanced``."""

BALANCED = "balanced"


@contextmanager
def as_one_layer(
    readout: Readout, shapes: Mapping[str, Sequence[int]], weights: Weights | None = None
) -> Iterator[str]:
    """Let an inversion see several layers of its network as one inside the context.

    Args:
        readout: Any for a single layer. For several or weighted ones, an inversion other than a token-by-token search;
            its loss is applied to each layer.
        shapes: See :class:`SumOverLayers`.
        weights: See :class:`SumOverLayers`.

    Yields:
        Name of the layer to load problems for.

    Raises:
        ReadoutError: if the readout takes only one layer, or as :class:`SumOverLayers` does.
    """
    extractor, loss = readout.extractor, readout.loss
    if len(shapes) > 1 or weights:
        one = isinstance(readout, TokenSearch) or readout.trained is not None
        if one or not isinstance(readout, FeatureInversion):
            raise ReadoutError(
                f"{type(readout).__name__} reads one layer; name it with --layer and leave out layer_weights."
            )
        if readout.cuda_graph:
            raise ReadoutError("Several or weighted layers can't be captured in a CUDA graph; leave out cuda_graph.")
        kind = JoinedTextLayers if isinstance(readout, TextInversion) else JoinedLayers
        readout.extractor = kind(extractor, list(shapes))
        readout.loss = SumOverLayers(readout.loss, shapes, weights or {})
    try:
        yield "+".join(shapes)
    finally:
        readout.extractor, readout.loss = extractor, loss


class JoinedLayers(FeatureExtractor):
    """A network with a single layer: several layers of another network, flattened and concatenated.

    Args:
        extractor: The other network.
        joined: Names of its layers, in the order in which they run.

    Examples:
        >>> network = FeatureExtractor(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), {"early": "0", "late": "1"})
        >>> JoinedLayers(network, ["early", "late"]).extract(torch.rand(5, 3), "early+late").shape
        torch.Size([5, 6])
    """

    network: FeatureExtractor

    def __init__(self, extractor: FeatureExtractor, joined: Sequence[str]) -> None:
        super().__init__(extractor, layers={"+".join(joined): ""})
        self.joined = list(joined)

    def preprocess(self, x: Tensor) -> Tensor:
        """Return the inputs unchanged: the network preprocesses them itself."""
        return x

    def run_to(self, x: Tensor, layer: str, *more: Any) -> Tensor:
        """See :meth:`FeatureExtractor.run_to`."""
        return torch.cat([*map(self.flat, extract_several(self.network, x, self.joined, *more).values())], -1)

    def flat(self, feature: Tensor) -> Tensor:
        """Flatten a layer's feature to shape (batch, dimensions)."""
        return feature.flatten(1)

    @property
    def name(self) -> str:
        """See :attr:`FeatureExtractor.name`."""
        return self.network.name

    @property
    def weights_name(self) -> str:
        """See :attr:`FeatureExtractor.weights_name`."""
        return self.network.weights_name

    def lay_out(self, device: torch.device) -> None:
        """See :meth:`FeatureExtractor.lay_out`."""
        self.network.lay_out(device)

    def fingerprint(self) -> str:
        """Return the network's fingerprint; the layer's name already tells which layers are joined."""
        return self.network.fingerprint()


class JoinedTextLayers(JoinedLayers):
    """A language model with a single layer: the hidden states of several, concatenated at each position.

    Args:
        extractor: The language model.
        joined: Names of its layers, in the order in which they run.
    """

    network: LanguageModel

    def extract(self, x: Tensor, layer: str, mask: Tensor | None = None) -> Tensor:
        """See :meth:`readout.extractors.LanguageModel.extract`."""
        return self.run_to(x, layer, mask)

    def flat(self, feature: Tensor) -> Tensor:
        """Return the hidden states unchanged, shape (batch, positions, width)."""
        return feature

    @property
    def embedding(self) -> nn.Embedding:
        """See :attr:`readout.extractors.LanguageModel.embedding`."""
        return self.network.embedding

    def embed(self, ids: Tensor) -> Tensor:
        """See :meth:`readout.extractors.LanguageModel.embed`."""
        return self.network.embed(ids)

    def is_special(self, ids: Tensor) -> Tensor:
        """See :meth:`readout.extractors.LanguageModel.is_special`."""
        return self.network.is_special(ids)

    def decode(self, ids: Tensor) -> str:
        """See :meth:`readout.extractors.LanguageModel.decode`."""
        return self.network.decode(ids)

    def tokens(self, ids: Tensor) -> list[str]:
        """See :meth:`readout.extractors.LanguageModel.tokens`."""
        return self.network.tokens(ids)


class SumOverLayers(FeatureLoss):
    """A loss on joined features: the sum over layers of weight × loss.

    Args:
        loss: The loss on one layer.
        shapes: Layer → shape of its feature without the batch dimension, for texts (width,), in joining order.
        weights: A weight per layer, 1 where none is set. ``"balanced"`` divides each layer's loss by the loss between
            the target and the target's mean (for a squared error, the target's variance), so that layers of different
            scales count equally.

    Raises:
        ReadoutError: if a weight belongs to no layer or is negative, or all weights are 0.
    """

    def __init__(self, loss: FeatureLoss, shapes: Mapping[str, Sequence[int]], weights: Weights) -> None:
        super().__init__()
        _check(weights, shapes)
        self.loss = loss
        self.shapes = {layer: list(shape) for layer, shape in shapes.items()}
        self.weights = weights if isinstance(weights, str) else {layer: weights.get(layer, 1.0) for layer in shapes}

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`."""
        losses = self.by_layer(feature, target, mask)
        if isinstance(self.weights, str):
            terms = [
                loss / self._scale(wanted, mask)
                for loss, wanted in zip(losses.values(), self._parts(target).values(), strict=True)
            ]
        else:
            terms = [self.weights[layer] * loss for layer, loss in losses.items()]
        return torch.stack(terms).sum(0)

    def by_layer(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return the unweighted loss of each layer, shape (problems,)."""
        wanted, masked = self._parts(target), () if mask is None else (mask,)  # losses for images may take no mask
        return {layer: self.loss(part, wanted[layer], *masked) for layer, part in self._parts(feature).items()}

    def scale(self, feature: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`; each layer has its own mean."""
        scales = {layer: self._scale(part, mask) for layer, part in self._parts(feature).items()}
        if isinstance(self.weights, str):
            # each balanced term is 1 at the target's mean; scale / scale keeps NaN where a scale is 0
            return torch.stack([scale / scale for scale in scales.values()]).sum(0)
        return torch.stack([self.weights[layer] * scale for layer, scale in scales.items()]).sum(0)

    def _scale(self, feature: Tensor, mask: Tensor | None) -> Tensor:
        return self.loss.scale(feature) if mask is None else self.loss.scale(feature, mask)

    def _parts(self, joined: Tensor) -> dict[str, Tensor]:
        sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), torch.split(joined, sizes, dim=-1), strict=True)
        return {layer: part.reshape(*joined.shape[:-1], *shape) for (layer, shape), part in parts}


def extract_several(extractor: FeatureExtractor, x: Tensor, layers: Sequence[str], *more: Any) -> dict[str, Tensor]:
    """Extract the features of several layers in one run of the network, up to the deepest.

    Args:
        extractor: The network.
        x: Inputs in the user's space, shape (batch, ...).
        layers: Layer names, in the order in which they run.
        more: Further arguments for :meth:`FeatureExtractor.extract`, such as a mask.

    Raises:
        ReadoutError: if a layer runs after the last one listed.
    """
    found: dict[str, Tensor] = {}

    def keep(_module: nn.Module, _args: Any, output: Any, layer: str) -> None:
        if layer not in found:
            # later modules may write into the tensor, as in-place ReLUs do
            found[layer] = extractor.feature(output, layer).clone()

    *shallower, deepest = layers
    modules = {layer: extractor.network.get_submodule(extractor.layers[layer]) for layer in shallower}
    hooks = [module.register_forward_hook(partial(keep, layer=layer)) for layer, module in modules.items()]
    try:
        last = extractor.extract(x, deepest, *more)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in shallower:
        if layer not in found:
            raise ReadoutError(
                f"Layer {layer!r} of {extractor.name} did not run before {deepest!r}, which is listed after it; "
                "correct the order of the extractor's layers."
            )
    return {**{layer: found[layer] for layer in shallower}, deepest: last}


def _check(weights: Weights, shapes: Mapping[str, Sequence[int]]) -> None:
    if isinstance(weights, str):
        if weights != BALANCED:
            raise ReadoutError(f"layer_weights is {weights!r}; give a number for each layer, or {BALANCED!r}.")
        return
    for layer, weight in weights.items():
        if layer not in shapes:
            raise ReadoutError(
                f"layer_weights names {layer!r}, of which there is no feature; choose from {', '.join(shapes)}."
            )
        if not 0 <= weight < float("inf"):
            raise ReadoutError(f"The weight of {layer!r} is {weight:g}; give a number of at least 0.")
    if not any(weights.get(layer, 1.0) for layer in shapes):
        raise ReadoutError("All layer_weights are 0, so there is nothing to invert; give at least one layer a weight.")
