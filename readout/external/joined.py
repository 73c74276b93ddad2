"""Several layers as one: one feature out of theirs, one loss out of theirs, and everything else as it is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor, LanguageModel
from readout.inversions import FeatureInversion, FeatureLoss, TextInversion, TokenSearch

Weights = Mapping[str, float] | str
"""A weight a layer (1 where none is given), or ``balanced``."""

BALANCED = "balanced"


@contextmanager
def as_one_layer(
    inversion: FeatureInversion, shapes: Mapping[str, Sequence[int]], weights: Weights | None = None
) -> Iterator[str]:
    """Let an inversion see several layers of its network as one, for as long as the context lasts.

    Args:
        inversion: Any but a search token by token; its loss is taken of each layer.
        shapes: See :class:`SumOverLayers`.
        weights: See :class:`SumOverLayers`.

    Yields:
        The name of the layer to load problems of.

    Raises:
        ReadoutError: if the inversion reads only one layer, or what :class:`SumOverLayers` says.
    """
    extractor, loss = inversion.extractor, inversion.loss
    if len(shapes) > 1 or weights:
        if isinstance(inversion, TokenSearch):
            raise ReadoutError(
                "TokenSearch compares hidden states of one layer; name it with --layer, and leave out layer_weights."
            )
        if inversion.cuda_graph:
            raise ReadoutError("Several layers, or weighted ones, can't be taken into a graph; leave out cuda_graph.")
        kind = JoinedTextLayers if isinstance(inversion, TextInversion) else JoinedLayers
        inversion.extractor = kind(extractor, list(shapes))
        inversion.loss = SumOverLayers(loss, shapes, weights or {})
    try:
        yield "+".join(shapes)
    finally:
        inversion.extractor, inversion.loss = extractor, loss


class JoinedLayers(FeatureExtractor):
    """A network whose only layer is several of another's: their features, flattened, one after the other.

    Args:
        extractor: The other.
        joined: Names of its layers, in the order in which they run.
    """

    network: FeatureExtractor

    def __init__(self, extractor: FeatureExtractor, joined: Sequence[str]) -> None:
        super().__init__(extractor, layers={"+".join(joined): ""})
        self.joined = list(joined)

    def preprocess(self, x: Tensor) -> Tensor:
        """Nothing: the network does its own."""
        return x

    def run_to(self, x: Tensor, layer: str, *more: Any) -> Tensor:
        """See :meth:`FeatureExtractor.run_to`."""
        return torch.cat([*map(self.flat, extract_several(self.network, x, self.joined, *more).values())], -1)

    def flat(self, feature: Tensor) -> Tensor:
        """A layer's feature as it is put beside others, shape (batch, dimensions)."""
        return feature.flatten(1)

    @property
    def name(self) -> str:
        """The network's."""
        return self.network.name

    @property
    def weights_name(self) -> str:
        """The network's."""
        return self.network.weights_name

    def lay_out(self, device: torch.device) -> None:
        """See :meth:`FeatureExtractor.lay_out`."""
        self.network.lay_out(device)

    def fingerprint(self) -> str:
        """The network's; which layers are joined is told by the layer's name."""
        return self.network.fingerprint()


class JoinedTextLayers(JoinedLayers):
    """The same of a language model: hidden states of a position one after the other, so that positions stay apart.

    Tokens are the model's.

    Args:
        extractor: The language model.
        joined: Names of its layers, in the order in which they run.
    """

    network: LanguageModel

    def extract(self, x: Tensor, layer: str, mask: Tensor | None = None) -> Tensor:
        """See :meth:`readout.extractors.LanguageModel.extract`."""
        return self.run_to(x, layer, mask)

    def flat(self, feature: Tensor) -> Tensor:
        """As it is, shape (batch, positions, width)."""
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
    """A loss of joined features: the sum over layers of weight × loss.

    Args:
        loss: Of one layer.
        shapes: Shape of each layer's feature without the batch, and of texts without positions either: (width,); in the
            order in which they are joined.
        weights: A weight a layer, 1 where none is given. ``"balanced"`` divides each layer's loss by that between the
            target and the target's own mean (for a squared error: the target's variance), so that layers on different
            scales have an equal say.

    Raises:
        ReadoutError: if a weight belongs to no layer or is negative, or all are 0.
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
        """The loss of each layer, without its weight, shape (problems,)."""
        wanted, masked = self._parts(target), () if mask is None else (mask,)  # a loss for images need not know of it
        return {layer: self.loss(part, wanted[layer], *masked) for layer, part in self._parts(feature).items()}

    def scale(self, feature: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`; every layer has a mean of its own."""
        scales = {layer: self._scale(part, mask) for layer, part in self._parts(feature).items()}
        if isinstance(self.weights, str):
            return torch.stack([scale / scale for scale in scales.values()]).sum(0)
        return torch.stack([self.weights[layer] * scale for layer, scale in scales.items()]).sum(0)

    def _scale(self, feature: Tensor, mask: Tensor | None) -> Tensor:
        return self.loss.scale(feature) if mask is None else self.loss.scale(feature, mask)

    def _parts(self, joined: Tensor) -> dict[str, Tensor]:
        sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), torch.split(joined, sizes, dim=-1), strict=True)
        return {layer: part.reshape(*joined.shape[:-1], *shape) for (layer, shape), part in parts}


def extract_several(extractor: FeatureExtractor, x: Tensor, layers: Sequence[str], *more: Any) -> dict[str, Tensor]:
    """Features of several layers from one run of the network, up to the deepest of them.

    Args:
        extractor: The network.
        x: Inputs in the user's space, shape (batch, ...).
        layers: Layer names, in the order in which they run.
        more: Further arguments of :meth:`FeatureExtractor.extract`, where it takes any.

    Raises:
        ReadoutError: if a layer runs after the last of them.
    """
    found: dict[str, Tensor] = {}

    def keep(_module: nn.Module, _args: Any, output: Any, layer: str) -> None:
        if layer not in found:
            # what follows may write into it, as ReLUs often do
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
                f"Layer {layer!r} of {extractor.name} did not run before {deepest!r}, which is listed after it; put "
                "right the order of the extractor's layers."
            )
    return {**{layer: found[layer] for layer in shallower}, deepest: last}


def _check(weights: Weights, shapes: Mapping[str, Sequence[int]]) -> None:
    if isinstance(weights, str):
        if weights != BALANCED:
            raise ReadoutError(f"layer_weights is {weights!r}; give a number a layer, or {BALANCED!r}.")
        return
    for layer, weight in weights.items():
        if layer not in shapes:
            raise ReadoutError(
                f"layer_weights names {layer!r}, of which there is no feature; those given are {', '.join(shapes)}."
            )
        if not 0 <= weight < float("inf"):
            raise ReadoutError(f"The weight of {layer!r} is {weight:g}; it must be a number of 0 or more.")
    if not any(weights.get(layer, 1.0) for layer in shapes):
        raise ReadoutError("All layer_weights are 0, so there is nothing to invert; give one layer at least a weight.")
