"""A network that reads an input from a feature in one pass."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from readout.common.checks import check_seed, check_shape, check_whole
from readout.decoders.convolutions import Convolutions
from readout.decoders.layout import FeatureLayout, SignalLayout
from readout.decoders.whitening import Whitening

FULL_RANK, LOW_RANK = 2048, 1024
"""Most dimensions of a position of which all components are kept, and how many are kept of more."""

VALUES = 2**26
"""Most values of the features that statistics are measured on, as far as that leaves 64 features."""


class DecoderNetwork(nn.Module):
    """A residual network from perturbed features h′ to inputs.

    It sees h′ alone, neither the clean feature nor the level: the noise in h′ is estimated from h′, and its principal
    components are weighted accordingly (:class:`readout.decoders.whitening.Whitening`). From there ridge regression,
    per position of the feature, reads the input, and what is trained adds to that: for images
    :class:`readout.decoders.convolutions.Convolutions`, otherwise one hidden layer.

    Nothing is normalised over a batch, so that a row has the answer that it has alone.

    Args:
        feature_shape: Shape of a feature: a map, tokens or flat; see :class:`readout.decoders.layout.FeatureLayout`.
        output_shape: Shape of an input; an image is (channels, height, width).
        width: Channels at the image's resolution, or units of the hidden layer.
        widest: Most channels at coarser resolutions, which have twice as many each.
        blocks: Residual blocks at the feature's resolution.
        seed: Seed of the initial weights.

    Raises:
        ReadoutError: if a shape or number is out of range.

    Examples:
        >>> network = DecoderNetwork(feature_shape=(64, 16, 16), output_shape=(3, 32, 32), width=8)
        >>> network.fit_statistics(torch.randn(10, 64, 16, 16), torch.rand(10, 3, 32, 32))
        >>> network(torch.randn(2, 64, 16, 16)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        feature_shape: Sequence[int],
        output_shape: Sequence[int] = (3, 64, 64),
        width: int = 32,
        widest: int = 256,
        blocks: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.feature_shape = check_shape("feature_shape", feature_shape)
        self.output_shape = check_shape("output_shape", output_shape)
        self.width, self.widest = check_whole("width", width, 1), check_whole("widest", widest, 1)
        self.blocks, self.seed = check_whole("blocks", blocks, 1), check_seed("seed", seed)
        image = len(self.output_shape) == 3
        self._from = FeatureLayout(self.feature_shape, flat=not image)
        self._to = SignalLayout(self.output_shape, self._from.grid)
        size = self._from.size
        rank = size if size <= FULL_RANK else LOW_RANK
        self.whitening = Whitening(size, rank)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear = nn.Linear(rank, self._to.size).requires_grad_(False)
            self.residual = (
                Convolutions(rank, self._from.grid, self.output_shape, width, widest, blocks)
                if image
                else _Hidden(rank, width, self.output_shape)
            )

    @property
    def measured(self) -> int:
        """Number of inputs for :meth:`fit_statistics`: 16 positions per dimension, within limits."""
        wanted = max(64, 16 * self._from.size**2 // math.prod(self.feature_shape))
        return min(wanted, 2048, max(64, VALUES // math.prod(self.feature_shape)))

    def fit_statistics(self, features: Tensor, inputs: Tensor) -> None:
        """Measure the principal components, and fit the ridge regression.

        Args:
            features: Clean features of training inputs, shape (features, *feature_shape).
            inputs: Those inputs, shape (features, *output_shape).

        Raises:
            ReadoutError: if all features are the same.
        """
        parts = self._to.parts(inputs)
        mean = parts.mean((0, 1))
        weight = self.whitening.fit(self._from.positions(features.float()), parts - mean)
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(mean)

    def forward(self, feature: Tensor) -> Tensor:
        """Read inputs from features.

        Args:
            feature: h′, shape (rows, *feature_shape).

        Returns:
            Shape (rows, *output_shape); images are not clamped to [0, 1].
        """
        components = self.whitening(self._from.positions(feature))
        read: Tensor = self._to.join(self.linear(components)) + self.residual(components)
        return read


class _Hidden(nn.Sequential):
    """One hidden layer, whose output starts at 0."""

    def __init__(self, size: int, width: int, shape: Sequence[int]) -> None:
        last = nn.Linear(width, math.prod(shape))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(nn.Flatten(), nn.Linear(size, width), nn.ReLU(), last, nn.Unflatten(1, tuple(shape)))
