"""The Deep Image Prior's generators on a GPU: networks of different weights side by side, channels last."""

from readout.priors.cuda.available import has_kernels
from readout.priors.cuda.unet import generate

__all__ = ["generate", "has_kernels"]
