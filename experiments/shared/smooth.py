"""Inversion of pixels under a penalty on total variation."""

from torch import Tensor

from experiments.shared.harness import Readout
from readout.priors import Pixels
from readout.readouts import FeatureLoss

TOTAL_VARIATION = 0.1
"""Weight of the penalty relative to the error, tuned on VGG19 by d_X on astronaut and coffee."""


class RelativeSquaredError(FeatureLoss):
    """Mean squared error over the variance of the perturbed feature.

    A penalty of fixed weight then counts more the noisier the feature is, and equally at every layer.
    """

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`; for images only."""
        return (feature - target).flatten(1).square().mean(1) / target.flatten(1).var(1, correction=0)


def smooth_pixels(steps: int) -> Readout:
    """Return the inversion of pixels with the penalty."""
    return Readout(Pixels(total_variation=TOTAL_VARIATION), 0.05, steps, 0.0, RelativeSquaredError())
