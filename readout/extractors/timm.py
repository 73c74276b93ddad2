"""Image models from timm (Wightman 2019, github.com/huggingface/pytorch-image-models)."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from readout.common.checks import check_seed, check_side
from readout.common.errors import ReadoutError, reason
from readout.extractors.base import FeatureExtractor, near_matches
from readout.extractors.weights import described, is_random, load_state_dict

SHARE = 0.5
"""A file with more than this share of a network's keys holds its weights; timm renames keys of other layouts."""


class TimmModel(FeatureExtractor):
    """Any image model of timm, by name, with the layers that timm lists as its features.

    Layers are the modules in timm's feature info, under their own names: every block of a plain transformer
    (``blocks.0`` …), the stages of a convolutional or hierarchical network (``act1`` or ``stem``, ``layer1`` … or
    ``stages.0`` …). Without feature info, layers are the modules in ``stages``, ``layers`` or ``blocks``.

    Features keep timm's layout: (batch, tokens, width) for transformers, with all tokens; (batch, channels, height,
    width) for convolutions; (batch, height, width, channels) for Swin and its like. A layer with several outputs gives
    the first. Images are normalised as timm does for the weights of this name.

    Args:
        name: Model name, with or without the tag of its weights (``resnet18``, ``resnet18.a1_in1k``), or
            ``hf-hub:USER/MODEL`` or ``local-dir:FOLDER`` in timm's notation.
        weights: ``"pretrained"`` (timm's, from its hub or the cache), the path of a state dict or a safetensors file,
            or None (or ``"random"``) for random weights.
        image_size: Side of the images in pixels, for models of a fixed size; timm resizes position embeddings to it.
            Default: the model's own. Convolutional networks accept any size without it.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if there is no such model, its weights can't be loaded, or it can't be built for this size.
    """

    def __init__(
        self,
        name: str = "resnet50",
        weights: str | None = "pretrained",
        image_size: int | None = None,
        seed: int = 0,
    ) -> None:
        if image_size is not None:
            check_side("image_size", image_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check_seed("seed", seed))
            network = _build(name, weights, image_size)
        config = network.pretrained_cfg
        super().__init__(network, _listed(name, network), config["mean"], config["std"])
        self.architecture = name if ":" in name else name.split(".")[0]
        self.fixed_size = bool(config.get("fixed_input_size"))
        """Whether the network accepts images of one size only."""
        height, width = config["input_size"][-2:]
        self.image_size: tuple[int, int] = (height, width)
        if self.fixed_size and image_size is not None:
            self.image_size = (image_size, image_size)
        tag = config.get("tag") if weights == "pretrained" else None
        self.weights = tag or described(weights, seed)
        self.classes = _classes(name, network) if weights == "pretrained" else None

    @property
    def name(self) -> str:
        """See :attr:`FeatureExtractor.name`."""
        return f"timm {self.architecture}"

    def extra_repr(self) -> str:
        """Return the architecture, so that the fingerprint covers it."""
        return self.architecture

    def example(self, size: int) -> Tensor:
        """Return one blank image, of the network's own size if that is fixed."""
        height, width = self.image_size if self.fixed_size else (size, size)
        return torch.zeros(1, 3, height, width)

    def preprocess(self, x: Tensor) -> Tensor:
        """See :meth:`FeatureExtractor.preprocess`.

        Raises:
            ReadoutError: if the network has another, fixed size.
        """
        if self.fixed_size and tuple(x.shape[-2:]) != self.image_size:
            raise ReadoutError(wrong_size(self.name, x, self.image_size))
        return super().preprocess(x)

    def run_to(self, x: Tensor, layer: str) -> Tensor:
        """See :meth:`FeatureExtractor.run_to`."""
        with self.explained_size(x):
            return super().run_to(x, layer)

    @contextlib.contextmanager
    def explained_size(self, x: Tensor) -> Iterator[None]:
        """See :meth:`FeatureExtractor.explained_size`; at the network's own size, exceptions pass through."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError, ValueError) as error:
            if tuple(x.shape[-2:]) == self.image_size:
                raise
            given, own = (" × ".join(map(str, size)) for size in (x.shape[-2:], self.image_size))
            raise ReadoutError(
                f"{self.name} does not accept images of {given} pixels ({reason(error)}); set `data.size` closer to "
                f"its own, {own}."
            ) from error


def feature_layers(network: nn.Module) -> dict[str, str]:
    """Return layer name → path of its module in a timm network (the same string); see :class:`TimmModel`."""
    modules = dict(network.named_modules())
    info: Any = getattr(network, "feature_info", None) or []
    # some models list features that are not modules (the functional stem of HRNet), or a module several times
    named = [entry["module"] for entry in getattr(info, "info", info)]
    paths = [path for path in named if path and path in modules and not isinstance(modules[path], nn.ModuleList)]
    if not paths:
        groups = [group for group in ("stages", "layers", "blocks") if group in modules]
        paths = [path for group in groups[:1] for path in _members(modules, group)]
    return {path: path for path in paths}


def wrong_size(name: str, x: Tensor, size: tuple[int, int]) -> str:
    """Return the error sentence for images that don't have a model's fixed size."""
    given, own = (" × ".join(map(str, size)) for size in (x.shape[-2:], size))
    return (
        f"{name} does not accept images of {given} pixels, since it was built for {own}; set `data.size`, or the "
        "extractor's `image_size`."
    )


def _build(name: str, weights: str | None, image_size: int | None) -> Any:
    import timm  # takes seconds

    config = _config(name)
    pretrained = not is_random(weights)
    overlay: dict[str, Any] = {}
    # timm's own rule for which constructors have `img_size`
    sized = image_size is not None and (config is None or config.fixed_input_size)
    size: dict[str, Any] = {"img_size": image_size} if sized else {}
    try:
        if pretrained and weights != "pretrained":
            assert weights is not None
            state = _state_dict(weights, partial(timm.create_model, name, pretrained=False, **size))
            overlay = {"state_dict": state, "custom_load": False}
        network = timm.create_model(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **size)
    except ReadoutError:
        raise
    except Exception as error:  # hubs and models may raise anything
        raise ReadoutError(_failure(name, weights, image_size, error)) from error
    made: Any = network
    made.pretrained_cfg.pop("state_dict", None)  # the weights are loaded: free the second copy
    return made


def _config(name: str) -> Any:
    """Return timm's configuration of a model's weights; None for models that come with their own."""
    import timm

    if ":" in name:
        return None
    if not timm.is_model(name):
        near = near_matches(name, timm.list_models())
        raise ReadoutError(f"timm has no model {name!r}.{near} `timm.list_models()` lists all.")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # an unknown tag
        tagged = timm.list_models(f"{name.split('.')[0]}.*", pretrained=True)
        raise ReadoutError(f"timm has no weights {name!r}; it has {', '.join(tagged)}.") from error


def _state_dict(path: str, build: Callable[[], nn.Module]) -> Mapping[str, Tensor]:
    """Load the weights in a file for the network that ``build`` makes."""

    @cache
    def own() -> frozenset[str]:
        try:
            with torch.device("meta"):  # no memory, no random numbers
                return frozenset(build().state_dict())
        except Exception:  # some constructors read values, which the meta device lacks
            return frozenset(build().state_dict())

    state = load_state_dict(path, lambda keys: len(own() & {*keys}) > SHARE * len(own()))
    if not state:  # timm would ignore it and download weights
        raise ReadoutError(f"{path!r} holds no weights; give a state dict.")
    return state


def _classes(name: str, network: nn.Module) -> list[str] | None:
    """Return the names of classes in a model's configuration, or ImageNet's ids (``n01440764``) if it has as many."""
    from timm import data

    library, config = cast(Any, data), cast(Any, network.pretrained_cfg)  # partly untyped
    subset = None if ":" in name else library.infer_imagenet_subset(network)
    names: list[str] | None = library.ImageNetInfo(subset).label_names() if subset else config.get("label_names")
    return names


def _failure(name: str, weights: str | None, image_size: int | None, error: Exception) -> str:
    """Return the error sentence for a model that timm could not build."""
    if is_random(weights) or isinstance(error, AssertionError | TypeError):
        if image_size is None:
            return f"timm could not build {name} ({reason(error)}); name another model."
        return (
            f"timm could not build {name} for images of {image_size} pixels ({reason(error)}); set another "
            "`image_size`."
        )
    if weights != "pretrained":
        return f"{weights!r} does not fit timm's {name} ({reason(error)}); give a state dict of that model."
    hub = getattr(_config(name), "hf_hub_id", None)
    what = f"download model.safetensors of {hub} on the Hugging Face hub" if hub else "get its state dict"
    return (
        f"timm could not fetch the weights of {name} ({reason(error)}); connect to the network, or elsewhere {what} "
        "and give its path as `weights: PATH`, or set `weights: random`."
    )


def _listed(name: str, network: nn.Module) -> dict[str, str]:
    layers = feature_layers(network)
    if not layers:
        raise ReadoutError(
            f"timm lists no features of {name}; write a FeatureExtractor that names its layers (about ten lines)."
        )
    return layers


def _members(modules: Mapping[str, nn.Module], path: str) -> list[str]:
    """Return the paths of the modules in a container; module lists never run, so their members stand in for them."""
    paths = [f"{path}.{name}" for name, _ in modules[path].named_children()]
    nested = [_members(modules, path) if isinstance(modules[path], nn.ModuleList) else [path] for path in paths]
    return [path for paths in nested for path in paths]
