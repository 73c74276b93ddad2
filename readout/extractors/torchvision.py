"""Classifiers from torchvision."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError, reason
from readout.extractors.base import near_matches
from readout.extractors.submodules import Submodules
from readout.extractors.vgg import IMAGENET_MEAN, IMAGENET_STD
from readout.extractors.weights import described, is_random, load_state_dict


class TorchvisionModel(Submodules):
    """Any classifier of torchvision, by name, with the paths of its submodules as layers.

    Every submodule with one feature per image is a layer (``layer1``, ``layer1.0.conv1``); ``all`` and ``depth:…``
    choose from the innermost ones.

    Args:
        name: Model name, as in ``torchvision.models.list_models()``.
        weights: Name of torchvision's weights (``DEFAULT``, ``IMAGENET1K_V1``), the path of a state dict, or None (or
            ``"random"``) for random weights. Images are normalised as torchvision's weights require; for others, by
            ImageNet's mean and standard deviation.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if there is no such model, or its weights can't be loaded.

    Examples:
        >>> extractor = TorchvisionModel("squeezenet1_1", weights=None)
        >>> extractor.resolve(["features.3", "depth:0"])
        ['features.0', 'features.3']
    """

    def __init__(self, name: str = "resnet50", weights: str | None = "DEFAULT", seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check_seed("seed", seed))
            network, chosen = _build(name, weights)
        preset = None if chosen is None else chosen.transforms()
        super().__init__(network, getattr(preset, "mean", IMAGENET_MEAN), getattr(preset, "std", IMAGENET_STD))
        self.architecture = name
        self.weights = described(weights, seed)
        self.classes = None if chosen is None else chosen.meta["categories"]

    @property
    def name(self) -> str:
        """See :attr:`FeatureExtractor.name`."""
        return f"torchvision {self.architecture}"

    def extra_repr(self) -> str:
        """Return the architecture, so that the fingerprint covers it."""
        return self.architecture


def _build(name: str, weights: str | None) -> tuple[nn.Module, Any]:
    """Build the network; return it with torchvision's entry for its weights, None for others."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ReadoutError(
            f"torchvision has no classifier {name!r}.{near_matches(name, known)} `torchvision.models.list_models()` "
            "lists all."
        )
    own = models.get_model_weights(name)
    chosen: Any = None
    if weights is not None and weights in (*own.__members__, "DEFAULT"):
        chosen = own[weights]
    elif not is_random(weights) and not Path(str(weights)).is_file():
        raise ReadoutError(
            f"torchvision has no weights {weights!r} for {name}, and there is no such file; its weights are "
            f"{', '.join(own.__members__)}."
        )
    try:
        with warnings.catch_warnings():  # GoogLeNet and Inception announce a new initialisation
            warnings.simplefilter("ignore", FutureWarning)
            network = models.get_model(name, weights=chosen)
    except (OSError, RuntimeError) as error:
        raise ReadoutError(
            f"torchvision could not load the weights {weights} of {name} ({reason(error)}); connect to the network, or "
            f"download {chosen.url} elsewhere and give its path as `weights`, or set `weights: random`."
        ) from error
    if chosen is None and weights is not None and not is_random(weights):
        try:
            network.load_state_dict(load_state_dict(weights))
        except RuntimeError as error:
            raise ReadoutError(
                f"{weights!r} does not fit torchvision's {name} ({reason(error)}); give a state dict of that model."
            ) from error
    return network, chosen
