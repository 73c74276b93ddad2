"""EncodingModel: a network and a linear map from one of its layers to responses, as one more network."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.decoders.linear_map import LinearMap
from readout.extractors import FeatureExtractor
from readout.extractors.fitted import read_fitted, store_fitted

NAME = "encoding.safetensors"
"""Name of the file in an output folder of ``encode``."""

LAYER = "responses"
"""The one layer."""


class EncodingModel(FeatureExtractor):
    """Predicted responses of voxels, or other targets, as a layer: the map that ``encode`` has fitted, on its network.

    The layer ``responses`` has one dimension per target, each in units of its standard deviation over stimuli.

    Args:
        extractor: The network that the map was fitted on.
        path: Output folder of ``encode``, or the file in it.

    Raises:
        ReadoutError: if there is no such file, it was changed, or it was fitted on another network.
    """

    def __init__(self, extractor: FeatureExtractor, path: str) -> None:
        facts, linear = read_fitted(path, NAME, "encoding model", "encode", _parts)
        if facts["network"] != extractor.fingerprint():
            raise ReadoutError(
                f"The encoding model {path!r} was fitted on {facts['model']} ({facts['weights']}), and can't be used "
                f"on {extractor.name} ({extractor.weights_name}); give that network."
            )
        super().__init__(_Encoder(extractor, facts["layer"], linear), layers={LAYER: LAYER})
        self.extractor, self.path, self.facts = extractor, path, facts

    def example(self, size: int) -> Tensor:
        """See :meth:`FeatureExtractor.example`."""
        return self.extractor.example(size)

    @property
    def name(self) -> str:
        """Name of the network and the layer that responses are predicted from."""
        return f"{self.extractor.name}.{self.facts['layer']}, encoded"

    @property
    def weights_name(self) -> str:
        """See :attr:`FeatureExtractor.weights_name`."""
        return self.extractor.weights_name

    def lay_out(self, device: torch.device) -> None:
        """See :meth:`FeatureExtractor.lay_out`."""
        self.extractor.lay_out(device)


class _Encoder(nn.Module):
    """The network up to a layer, and the map."""

    def __init__(self, extractor: FeatureExtractor, layer: str, responses: nn.Sequential) -> None:
        super().__init__()
        self.extractor, self.layer, self.responses = extractor, layer, responses
        self.dimensions = next(responses.parameters()).shape[1]

    def forward(self, x: Tensor) -> Tensor:
        feature = self.extractor.extract(x, self.layer).flatten(1)
        if feature.shape[1] != self.dimensions:
            raise ReadoutError(
                f"The encoding model was fitted to features of {self.dimensions} dimensions, but inputs of shape "
                f"{tuple(x.shape[1:])} have {feature.shape[1]}; give inputs of the size of its stimuli."
            )
        predicted: Tensor = self.responses(feature)
        return predicted


def store(fitted: LinearMap, path: Path, extractor: FeatureExtractor, layer: str) -> None:
    """Write a map from features to responses.

    Args:
        fitted: The map.
        path: The file.
        extractor: The network.
        layer: Layer name.
    """
    first, second = fitted.directions, fitted.coefficients.T
    dense = second.shape[0] * first.shape[1] <= first.numel() + second.numel()
    matrices = [second @ first] if dense else [first, second]
    tensors = {f"{place}.weight": matrix for place, matrix in enumerate(matrices)}
    tensors[f"{len(matrices) - 1}.bias"] = fitted.mean_output - second @ (first @ fitted.mean_input)
    store_fitted(path, tensors, extractor, layer)


def _parts(facts: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], nn.Sequential]:
    """Return facts and the map: one matrix, or two with fewer values."""
    matrices = [tensors[key] for key in sorted(tensors) if key.endswith("weight")]
    shapes = [(matrix.shape[1], matrix.shape[0], place == len(matrices) - 1) for place, matrix in enumerate(matrices)]
    linear = nn.Sequential(*[nn.Linear(*shape, device="meta") for shape in shapes])
    linear.load_state_dict(tensors, assign=True)
    return facts, linear
