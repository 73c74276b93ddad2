"""DINOv2 of Oquab et al. (2024), arXiv 2304.07193, from transformers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.extractors.base import FeatureExtractor
from readout.extractors.hub import SAFETENSORS, complete, described, loading, locate
from readout.extractors.vgg import IMAGENET_MEAN, IMAGENET_STD
from readout.problems.identity import digest

MODEL_TYPES = {"dinov2": "", "dinov2_with_registers": "-registers"}
SIZES = {384: "small", 768: "base", 1024: "large", 1536: "giant"}
"""Width → name of the released model."""


class DINOv2(FeatureExtractor):
    """DINOv2, with its patch embeddings and blocks as layers: ``embeddings``, ``layer.0``, ``layer.1`` and so on.

    Layers are the library's ``hidden_states``, before the final layer norm, of shape (batch, tokens, width). Tokens are
    the class token, registers if any, and patches. The library interpolates position embeddings for images of another
    size than the model was trained with.

    Args:
        weights: A hub id (small to giant, with or without registers) or a folder written by ``save_pretrained``.
            Downloads go to the hub's own cache.
        pretrained: False for random weights; ``weights`` then only names the architecture.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if the model can't be loaded, is not a DINOv2, or its weights are incomplete or not finite.
    """

    def __init__(self, weights: str = "facebook/dinov2-giant", pretrained: bool = True, seed: int = 0) -> None:
        check_seed("seed", seed)
        folder = locate(weights, SAFETENSORS if pretrained else ())
        network = _load(folder, weights, pretrained, seed)
        config = network.config
        layers = {"embeddings": "embeddings"}
        layers |= {f"layer.{block}": f"encoder.layer.{block}" for block in range(config.num_hidden_layers)}
        super().__init__(network, layers, *_normalisation(folder))
        self.weights = described(weights, pretrained, seed)
        self._name = f"DINOv2-{SIZES.get(config.hidden_size, config.hidden_size)}{MODEL_TYPES[config.model_type]}"
        self._heads = int(config.num_attention_heads)
        patch = config.patch_size
        self._patch = (patch, patch) if isinstance(patch, int) else tuple(patch)

    @property
    def name(self) -> str:
        """Name of the model with its size, e.g. ``DINOv2-giant`` or ``DINOv2-base-registers``."""
        return self._name

    def preprocess(self, x: Tensor) -> Tensor:
        """See :meth:`FeatureExtractor.preprocess`.

        Raises:
            ReadoutError: if ``x`` is not RGB images whose sides are multiples of the patch.
        """
        down, across = self._patch
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % down or x.shape[3] % across:
            raise ReadoutError(
                f"{self.name} cuts RGB images into patches of {down}×{across} pixels, which don't tile inputs of shape "
                f"{'×'.join(map(str, x.shape[1:]))}; choose another image size (224 = 16 × 14)."
            )
        return super().preprocess(x)

    def fingerprint(self) -> str:
        """See :meth:`FeatureExtractor.fingerprint`; adds the number of heads, which no weight shows."""
        return digest([super().fingerprint(), self._heads])


def _load(folder: Path, weights: str, pretrained: bool, seed: int) -> Any:
    import transformers
    from transformers.utils import logging

    library: Any = transformers  # its types differ between supported versions

    with loading(weights, logging, seed):
        config = library.AutoConfig.from_pretrained(folder)
        if config.model_type not in MODEL_TYPES:
            raise ReadoutError(
                f"{weights!r} holds a {config.model_type} model; DINOv2 needs one such as 'facebook/dinov2-giant'."
            )
        if not pretrained:
            return library.AutoModel.from_config(config, attn_implementation="sdpa")
        network, info = library.AutoModel.from_pretrained(
            folder,
            config=config,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `complete` names them
        )
        return complete(network, info, weights)


def _normalisation(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and standard deviation from the model's preprocessor configuration, or else ImageNet's."""
    file = folder / "preprocessor_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ReadoutError(f"{str(file)!r} is not valid JSON; correct or remove it.") from error
    return config.get("image_mean", IMAGENET_MEAN), config.get("image_std", IMAGENET_STD)
