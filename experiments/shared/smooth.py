"""Inversion of pixels under a penalty on total variation."""

from experiments.shared.harness import Readout
from readout.priors import Pixels
from readout.readouts import RelativeSquaredError

TOTAL_VARIATION = 0.1
"""Weight of the penalty relative to the error, tuned on VGG19 by d_X on astronaut and coffee."""


def smooth_pixels(steps: int) -> Readout:
    """Return the inversion of pixels with the penalty."""
    return Readout(Pixels(total_variation=TOTAL_VARIATION), 0.05, steps, 0.0, RelativeSquaredError())
