"""Distances between inputs (d_X), features (d_H) and other signals, and scores of latents, as torchmetrics classes.

A :class:`SampleMetric` has a value per sample, :meth:`SampleMetric.per_sample`, and is their mean. A
:class:`DatasetMetric` scores all samples together.
"""

from readout.metrics.base import SampleMetric
from readout.metrics.codes import SupportDistance
from readout.metrics.correlation import CorrelationDistance, correlation_distance
from readout.metrics.dataset import DatasetMetric
from readout.metrics.disentanglement import DCI, MIG, absorption, k_sparse_probe
from readout.metrics.images import DISTS, LPIPS, PSNR, SSIM
from readout.metrics.interpretability import MachineInterpretability, Monosemanticity
from readout.metrics.latents import FVU, L0, DeadLatents, LinearR2, LossRecovered, feature_dimensionality
from readout.metrics.matching import PWMCC, CodeMCC, DictionaryMCC, dictionary_mcc_chance, mcc_chance
from readout.metrics.signals import ZeroOne
from readout.metrics.similarity import CKA, RSA, OneToOne, Procrustes, Similarity
from readout.metrics.texts import EmbeddingCosine, ExactMatch, TokenErrorRate

__all__ = [
    "CKA",
    "DCI",
    "DISTS",
    "FVU",
    "L0",
    "LPIPS",
    "MIG",
    "PSNR",
    "PWMCC",
    "RSA",
    "SSIM",
    "CodeMCC",
    "CorrelationDistance",
    "DatasetMetric",
    "DeadLatents",
    "DictionaryMCC",
    "EmbeddingCosine",
    "ExactMatch",
    "LinearR2",
    "LossRecovered",
    "MachineInterpretability",
    "Monosemanticity",
    "OneToOne",
    "Procrustes",
    "SampleMetric",
    "Similarity",
    "SupportDistance",
    "TokenErrorRate",
    "ZeroOne",
    "absorption",
    "correlation_distance",
    "dictionary_mcc_chance",
    "feature_dimensionality",
    "k_sparse_probe",
    "mcc_chance",
]
