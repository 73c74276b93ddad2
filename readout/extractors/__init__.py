"""Frozen networks with named layers."""

from readout.extractors.base import FeatureExtractor
from readout.extractors.linear import OrthonormalLinear
from readout.extractors.onet import ONet
from readout.extractors.vgg import VGG19

__all__ = ["VGG19", "FeatureExtractor", "ONet", "OrthonormalLinear"]
