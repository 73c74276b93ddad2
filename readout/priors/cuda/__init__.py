"""CUDA kernels for the Deep Image Prior: one generator per problem, all in one launch per layer, channels last."""

from readout.priors.cuda.available import has_kernels, kernels_pay
from readout.priors.cuda.unet import generate

__all__ = ["generate", "has_kernels", "kernels_pay"]
