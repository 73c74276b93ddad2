"""VGG19 of Simonyan & Zisserman (2015), arXiv 1409.1556."""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.extractors.base import FeatureExtractor
from readout.extractors.weights import NORMALIZED_VGG19, described, fetch, is_random, keys_in_words, load_state_dict

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Output channels and number of convolutions of each block."""

LAYERS = sum(count for _, count in BLOCKS)

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG19(FeatureExtractor):
    """VGG19, with its convolutions before their ReLU as layers: ``conv1_1`` … ``conv5_4``.

    Args:
        weights: ``"normalized"`` (each channel scaled by a positive constant, so that activations are similar in size;
            fetched through pip), ``"imagenet"`` (torchvision's), the path of a state dict in either layout, or None (or
            ``"random"``) for random weights.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if the weights can't be loaded or don't fit.

    Examples:
        >>> extractor = VGG19(weights="random")
        >>> extractor.extract(torch.rand(1, 3, 32, 32), "conv3_1").shape
        torch.Size([1, 256, 8, 8])
    """

    channels_last = True
    capturable = True

    def __init__(self, weights: str | None = "normalized", seed: int = 0) -> None:
        network, layers = _build(check_seed("seed", seed))
        self_described = False
        if not is_random(weights):
            assert weights is not None
            self_described = _load(network, _state_dict(weights))
        # the normalised file has its preprocessing in it, as a 1×1 convolution
        mean, std = ((0.0,), (1.0,)) if self_described else (IMAGENET_MEAN, IMAGENET_STD)
        super().__init__(network, layers, mean, std)
        self.weights = described(weights, seed)

    def run_to(self, x: Tensor, layer: str) -> Tensor:
        """See :meth:`FeatureExtractor.run_to`; slices the network instead of hooking into it."""
        assert isinstance(self.network, nn.Sequential)
        output: Tensor = self.network[: int(self.layers[layer]) + 1](x)
        return output


def _build(seed: int) -> tuple[nn.Sequential, dict[str, str]]:
    """Build the network with seeded random weights; return it with its layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        to_network_space = nn.Conv2d(3, 3, 1)
        modules: list[nn.Module] = [to_network_space]
        layers: dict[str, str] = {}
        channels = 3
        for block, (width, depth) in enumerate(BLOCKS, start=1):
            for position in range(1, depth + 1):
                layers[f"conv{block}_{position}"] = str(len(modules))
                modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            modules.append(nn.MaxPool2d(2))
        for module in modules[1:]:
            if isinstance(module, nn.Conv2d):  # torchvision's initialisation of an untrained VGG
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(_bias(module))
    nn.init.dirac_(to_network_space.weight)
    nn.init.zeros_(_bias(to_network_space))
    return nn.Sequential(*modules[:-1]), layers


def _state_dict(weights: str) -> Mapping[str, Tensor]:
    if weights == "normalized":
        return load_state_dict(fetch(NORMALIZED_VGG19))
    if weights == "imagenet":
        from torchvision.models import VGG19_Weights

        try:
            state: Mapping[str, Tensor] = VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise ReadoutError(
                f"torchvision could not fetch its VGG19 weights ({error}); connect to the network, give the "
                "path of the file as `weights`, or set `weights: normalized`, which comes through pip."
            ) from error
        return state
    # torchvision's layout lacks the 1×1 convolution
    return load_state_dict(weights, lambda keys: len(_numbered(keys)) - LAYERS in (0, 1))


def _load(network: nn.Sequential, state: Mapping[str, Tensor]) -> bool:
    """Load weights of either layout; return whether they include the preprocessing."""
    targets = [module for module in network if isinstance(module, nn.Conv2d)]
    found = _convolutions(state)
    self_described = len(found) == len(targets)
    if not self_described:
        targets = targets[1:]
    if len(found) != len(targets):
        raise ReadoutError(
            f"The weights hold {len(found)} numbered layers with a bias (their keys are {keys_in_words(state)}), but "
            f"VGG19 has {len(targets)} convolutions; give a VGG19 state dict (without batch norm)."
        )
    for (key, weight, bias), target in zip(found, targets, strict=True):
        if weight.shape != target.weight.shape:
            raise ReadoutError(
                f"{key} has shape {tuple(weight.shape)} where VGG19 has {tuple(target.weight.shape)}; "
                "give a VGG19 state dict."
            )
        target.weight.data.copy_(weight)
        _bias(target).data.copy_(bias)
    return self_described


def _convolutions(state: Mapping[str, Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    """Return key, weight and bias of the numbered layers (``0.weight`` or ``features.0.weight``), in order."""
    return [(key, state[key], state[_bias_key(key)]) for key in _numbered(state)]


def _numbered(state: Collection[str]) -> list[str]:
    """Return the weight keys of numbered layers with a bias, in order."""
    numbered = {int(found[1]): key for key in state if (found := re.fullmatch(r"(?:features\.)?(\d+)\.weight", key))}
    return [numbered[number] for number in sorted(numbered) if _bias_key(numbered[number]) in state]


def _bias_key(key: str) -> str:
    return key.removesuffix("weight") + "bias"


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
