"""Sparse codes: dictionaries of atoms, and the coders that infer which atoms a feature is a sum of."""

from readout.codes.coder import Coder
from readout.codes.dictionary import Dictionary, GaussianDictionary, OrthonormalDictionary, SpikesAndSines
from readout.codes.encoders import (
    BatchTopKEncoder,
    Encoder,
    GatedEncoder,
    JumpReLUEncoder,
    MLPEncoder,
    PursuitEncoder,
    ReLUEncoder,
    TopKEncoder,
    UnrolledEncoder,
)
from readout.codes.layer_coder import LayerCoder
from readout.codes.learned import LearnedEncoder, Refined
from readout.codes.one_pass import OnePass
from readout.codes.proximal import FISTA, ISTA, CoordinateDescent
from readout.codes.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from readout.codes.sae_lens import SAELensDictionary, from_sae_lens, to_sae_lens
from readout.codes.sparse_codes import SparseCodes
from readout.codes.stored import StoredDictionary
from readout.codes.superposition import Superposition

__all__ = [
    "FISTA",
    "ISTA",
    "BatchTopKEncoder",
    "Coder",
    "CoordinateDescent",
    "Dictionary",
    "Encoder",
    "GatedEncoder",
    "GaussianDictionary",
    "JumpReLUEncoder",
    "LayerCoder",
    "LearnedEncoder",
    "MLPEncoder",
    "MatchingPursuit",
    "OnePass",
    "OrthogonalMatchingPursuit",
    "OrthonormalDictionary",
    "PursuitEncoder",
    "ReLUEncoder",
    "Refined",
    "SAELensDictionary",
    "SparseCodes",
    "SpikesAndSines",
    "StoredDictionary",
    "Superposition",
    "TopKEncoder",
    "UnrolledEncoder",
    "from_sae_lens",
    "to_sae_lens",
]
