"""Priors: the parameters that an inversion optimises, and the map from them to inputs."""

from readout.priors.base import Prior
from readout.priors.cosine_pixels import CosinePixels
from readout.priors.decoder import DecoderPrior
from readout.priors.deep_image_prior import DeepImagePrior
from readout.priors.pixels import Pixels
from readout.priors.shortlist_logits import ShortlistLogits
from readout.priors.token_logits import TokenLogits
from readout.priors.token_sequence import TokenSequence
from readout.priors.tokens import TokenPrior
from readout.priors.vae_decoder import VAEDecoder
from readout.priors.vgg_decoder import VGGDecoder

__all__ = [
    "CosinePixels",
    "DecoderPrior",
    "DeepImagePrior",
    "Pixels",
    "Prior",
    "ShortlistLogits",
    "TokenLogits",
    "TokenPrior",
    "TokenSequence",
    "VAEDecoder",
    "VGGDecoder",
]
