"""Frozen networks with named layers."""

from readout.extractors.base import FeatureExtractor
from readout.extractors.dinov2 import DINOv2
from readout.extractors.linear import OrthonormalLinear
from readout.extractors.onet import ONet
from readout.extractors.open_clip import OpenCLIP
from readout.extractors.sdxl_vae import SDXLVAE
from readout.extractors.timm import TimmModel
from readout.extractors.vgg import VGG19

__all__ = ["SDXLVAE", "VGG19", "DINOv2", "FeatureExtractor", "ONet", "OpenCLIP", "OrthonormalLinear", "TimmModel"]
