"""Visual towers of CLIP (Radford et al. 2021, arXiv 2103.00020), from open_clip."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from readout.common.checks import check_seed, check_side
from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path
from readout.extractors.base import FeatureExtractor, near_matches
from readout.extractors.timm import feature_layers, wrong_size
from readout.extractors.weights import described, is_random

SCHEMAS = ("hf-hub:", "local-dir:")
"""Prefixes in open_clip of models with their own configuration and weights."""

SMALL_TEXT = {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 1, "layers": 1}
"""Configuration of a tiny text tower: with random weights it is built only to be dropped."""


class OpenCLIP(FeatureExtractor):
    """The visual tower of any model of open_clip, without the text tower.

    Layers by kind of tower:

    - Vision transformers (``ViT-L-14``): ``embeddings`` (patches, class token and positions, after the first layer
      norm) and ``blocks.0`` …, each of shape (batch, 1 + patches, width).
    - ResNets (``RN50``): ``stem`` and ``layer1`` … ``layer4``, of shape (batch, channels, height, width), and
      ``attnpool``, (batch, width), unless ``image_size`` differs from the model's own.
    - Towers from timm (``ViT-B-16-SigLIP``, ``convnext_base``): as in :class:`readout.extractors.timm.TimmModel`.

    Normalisation and activation follow the tag of the weights: OpenAI's need QuickGELU, which open_clip leaves to the
    user.

    Args:
        name: Architecture, e.g. ``ViT-L-14``, or ``local-dir:FOLDER`` or ``hf-hub:USER/MODEL`` in open_clip's notation
            for models with their own weights (``weights`` must then be ``own``).
        weights: Tag of pretrained weights in open_clip, e.g. ``openai``; the path of a checkpoint of the whole model,
            read with the architecture's own activation and OpenAI's normalisation; or None (or ``"random"``) for random
            weights.
        file: Path of that tag's checkpoint, for machines that can't download it.
        image_size: Side of the images in pixels; open_clip resizes position embeddings to it. Default: the model's own.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if there is no such model, its weights can't be loaded, or it can't be built for this size.
    """

    def __init__(
        self,
        name: str = "ViT-L-14",
        weights: str | None = "openai",
        file: str | None = None,
        image_size: int | None = None,
        seed: int = 0,
    ) -> None:
        check_seed("seed", seed)
        if image_size is not None:
            check_side("image_size", image_size)
        import open_clip  # takes seconds

        name = name if name.startswith(SCHEMAS) else name.replace("/", "-")
        with _quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            visual = _visual_tower(name, weights, file, image_size)
        config = open_clip.get_model_preprocess_cfg(visual)
        super().__init__(visual, _layers(visual), config["mean"], config["std"])
        self.architecture = name
        self.weights = described(weights, seed)
        self.image_size: tuple[int, int] = _pair(visual.image_size if image_size is None else image_size)

    @property
    def name(self) -> str:
        """See :attr:`FeatureExtractor.name`."""
        return f"OpenCLIP {self.architecture}"

    def extra_repr(self) -> str:
        """Return the architecture, so that the fingerprint covers it."""
        return self.architecture

    def example(self, size: int) -> Tensor:
        """Return one blank image of the size that the tower was built for, whatever the ``size``."""
        return torch.zeros(1, 3, *self.image_size)

    def preprocess(self, x: Tensor) -> Tensor:
        """See :meth:`FeatureExtractor.preprocess`.

        Raises:
            ReadoutError: if the images are not of the size that the tower was built for.
        """
        if tuple(x.shape[-2:]) != self.image_size:
            raise ReadoutError(wrong_size(self.name, x, self.image_size))
        return super().preprocess(x)

    def feature(self, output: Any, layer: str) -> Tensor:
        """See :meth:`FeatureExtractor.feature`; moves the batch first where blocks run on (tokens, batch, width)."""
        feature = super().feature(output, layer)
        transformer = getattr(self.network, "transformer", None)  # open_clip's own; other towers have the batch first
        tokens_first = layer.startswith("blocks.") and transformer is not None and not transformer.batch_first
        return feature.transpose(0, 1) if tokens_first else feature


def _visual_tower(name: str, weights: str | None, file: str | None, image_size: int | None) -> Any:
    """Build the tower with its weights, and its preprocessing as an attribute."""
    import open_clip

    options = _options(name, weights, file)
    resized = image_size is not None and _resizable(name)
    try:
        visual = open_clip.create_model(name, force_image_size=image_size if resized else None, **options).visual
    except Exception as error:  # hubs and models may raise anything
        raise ReadoutError(_failure(name, weights, file, image_size, error)) from error
    if image_size is not None:
        patch = _pair(getattr(visual, "patch_size", 1))
        if image_size % patch[0] or image_size % patch[1]:
            raise ReadoutError(
                f"image_size is {image_size}, which patches of {patch[0]} × {patch[1]} don't tile; set it to "
                f"{round(image_size / patch[0]) * patch[0] or patch[0]}, for example."
            )
        if not resized and _pair(image_size) != _pair(visual.image_size):
            visual.attnpool = nn.Identity()  # its positions can't be resized; the stages accept any size
    return visual


def _options(name: str, weights: str | None, file: str | None) -> dict[str, Any]:
    """Return the arguments of ``create_model`` that choose the weights."""
    import open_clip

    if name.startswith(SCHEMAS):
        if weights != "own" or file:
            raise ReadoutError(f"{name} comes with its own weights; set `weights: own` and leave out `file`.")
        return {"require_pretrained": True}
    if open_clip.get_model_config(name) is None:
        near = near_matches(name, open_clip.list_models())
        raise ReadoutError(f"open_clip has no model {name!r}.{near} `open_clip.list_models()` lists all.")
    tag = open_clip.get_pretrained_cfg(name, weights) if weights and not is_random(weights) else {}
    if file is not None and not tag:
        raise ReadoutError(f"`file` needs the tag of its weights; give {file!r} as `weights`, or name the tag.")
    if is_random(weights):
        return {"text_cfg": SMALL_TEXT, "pretrained_text": False}
    if file is None and not tag and not user_path(str(weights)).is_file():
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise ReadoutError(
            f"open_clip has no weights {weights!r} for {name}, and there is no such file."
            f"{near_matches(str(weights), tags)} Its tags: {', '.join(tags) or 'none'}."
        )
    if file is not None and not user_path(file).is_file():
        raise ReadoutError(f"There is no weights file {file!r}; give the path of the checkpoint of {weights!r}.")
    return {
        "pretrained": weights if tag and file is None else str(user_path(file or str(weights))),
        "require_pretrained": True,
        "force_quick_gelu": bool(tag.get("quick_gelu")),
        "force_preprocess_cfg": {key: tag[key] for key in ("mean", "std") if key in tag},
    }


def _resizable(name: str) -> bool:
    """Return whether open_clip can resize the tower's positions, which it can't in the pooling of ResNets."""
    import open_clip

    try:
        config: Mapping[str, Any] = open_clip.get_model_config(name)
    except Exception as error:  # an unreadable hub or folder
        raise ReadoutError(_failure(name, "own", None, None, error)) from error
    return not isinstance(config["vision_cfg"].get("layers"), list)


def _failure(name: str, weights: str | None, file: str | None, image_size: int | None, error: Exception) -> str:
    """Return the error sentence for a model that open_clip could not build."""
    import open_clip

    if is_random(weights):
        if image_size is None:
            return f"open_clip could not build {name} ({reason(error)}); name another model."
        return (
            f"open_clip could not build {name} for images of {image_size} pixels ({reason(error)}); set another "
            "`image_size`."
        )
    if name.startswith(SCHEMAS):
        return f"open_clip could not load {name} ({reason(error)}); give a folder or hub model in open_clip's layout."
    tag = open_clip.get_pretrained_cfg(name, weights)
    if file or not tag:
        return (
            f"{file or weights!r} does not fit open_clip's {name} ({reason(error)}); give a checkpoint of that model."
        )
    return (
        f"open_clip could not load the weights {weights!r} of {name} ({reason(error)}); connect to the network, or "
        f"download {_address(tag)} elsewhere and give its path as `file` beside `weights: {weights}` (any other "
        "checkpoint of that model as `weights: PATH`), or set `weights: random`."
    )


def _address(tag: Mapping[str, Any]) -> str:
    repository, _, file = str(tag.get("hf_hub") or "").rpartition("/")
    if not repository:
        return str(tag.get("url"))
    return f"{file or 'open_clip_model.safetensors'} of {repository} on the Hugging Face hub"


def _layers(visual: nn.Module) -> dict[str, str]:
    """Return public layer name → path of its module, depending on the kind of tower."""
    if isinstance(trunk := getattr(visual, "trunk", None), nn.Module):
        return {layer: f"trunk.{path}" for layer, path in feature_layers(trunk).items()}
    if isinstance(pool := getattr(visual, "attnpool", None), nn.Module):
        layers = {"stem": "avgpool"} | {f"layer{stage}": f"layer{stage}" for stage in range(1, 5)}
        return layers if isinstance(pool, nn.Identity) else layers | {"attnpool": "attnpool"}
    blocks = visual.get_submodule("transformer.resblocks")
    names = [name for name, _ in blocks.named_children()]
    return {"embeddings": "ln_pre"} | {f"blocks.{name}": f"transformer.resblocks.{name}" for name in names}


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the root logger, through which open_clip logs, and keep open_clip from configuring it."""
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
