"""What an input is parameterised by while it is being recovered."""

from readout.priors.base import Prior
from readout.priors.deep_image_prior import DeepImagePrior
from readout.priors.pixels import Pixels

__all__ = ["DeepImagePrior", "Pixels", "Prior"]
