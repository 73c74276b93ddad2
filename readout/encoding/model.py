"""EncodingModel: a network and a linear map from one of its layers to responses, as one more network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path, write_whole
from readout.common.seal import UNSEALED, is_damaged
from readout.decoders.linear_map import LinearMap
from readout.extractors import FeatureExtractor

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
        facts, weights = _read(user_path(path))
        if facts["network"] != extractor.fingerprint():
            raise ReadoutError(
                f"The encoding model {path!r} was fitted on {facts['model']} ({facts['weights']}), and can't be used "
                f"on {extractor.name} ({extractor.weights_name}); give that network."
            )
        super().__init__(_Encoder(extractor, facts["layer"], weights), layers={LAYER: LAYER})
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

    def __init__(self, extractor: FeatureExtractor, layer: str, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.extractor, self.layer = extractor, layer
        *others, last = (weights[key] for key in sorted(weights) if key != "bias")
        self.dimensions = (others or [last])[0].shape[1]
        self.responses = nn.Sequential(*[_linear(weight) for weight in others], _linear(last, weights["bias"]))

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
    bias = fitted.mean_output - second @ (first @ fitted.mean_input)
    facts = {
        "network": extractor.fingerprint(),
        "model": extractor.name,
        "weights": extractor.weights_name,
        "layer": layer,
    }
    tensors = {f"weight_{place}": matrix.contiguous() for place, matrix in enumerate(matrices)}
    written = safetensors.torch.save({**tensors, "bias": bias}, {"seal": UNSEALED, "facts": json.dumps(facts)})
    write_whole(path, lambda file: file.write_bytes(written))


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight)
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return facts and weights of a file."""
    file = path / NAME if path.is_dir() else path
    advice = "give the output folder of `readout encode`"
    if not file.is_file():
        raise ReadoutError(f"There is no encoding model {str(file)!r}; {advice}.")
    try:
        if is_damaged(file):
            raise ValueError("it was changed since it was written")
        with safe_open(file, "pt") as opened:
            facts = json.loads(opened.metadata()["facts"])
        return {key: facts[key] for key in ("network", "model", "weights", "layer")}, safetensors.torch.load_file(file)
    except Exception as error:  # a file can hold anything
        raise ReadoutError(f"{str(file)!r} can't be read as an encoding model ({reason(error)}); {advice}.") from error
