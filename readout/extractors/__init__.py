"""Frozen networks with named layers."""

from readout.extractors.base import FeatureExtractor
from readout.extractors.digit_net import DigitNet
from readout.extractors.dinov2 import DINOv2
from readout.extractors.language_model import LanguageModel
from readout.extractors.linear import OrthonormalLinear
from readout.extractors.onet import ONet
from readout.extractors.open_clip import OpenCLIP
from readout.extractors.patches import Patches
from readout.extractors.sdxl_vae import SDXLVAE
from readout.extractors.timm import TimmModel
from readout.extractors.torchvision import TorchvisionModel
from readout.extractors.transformers_text import BERT, GPT2, OPT
from readout.extractors.vgg import VGG19

__all__ = [
    "BERT",
    "GPT2",
    "OPT",
    "SDXLVAE",
    "VGG19",
    "DINOv2",
    "DigitNet",
    "FeatureExtractor",
    "LanguageModel",
    "ONet",
    "OpenCLIP",
    "OrthonormalLinear",
    "Patches",
    "TimmModel",
    "TorchvisionModel",
]
