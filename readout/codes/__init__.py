"""Sparse codes: dictionaries of atoms, and the coders that infer which atoms a feature is a sum of."""

from readout.codes.coder import Coder
from readout.codes.dictionary import Dictionary, GaussianDictionary, OrthonormalDictionary, SpikesAndSines
from readout.codes.one_pass import OnePass
from readout.codes.proximal import FISTA, ISTA, CoordinateDescent
from readout.codes.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from readout.codes.sparse_codes import SparseCodes
from readout.codes.superposition import Superposition

__all__ = [
    "FISTA",
    "ISTA",
    "Coder",
    "CoordinateDescent",
    "Dictionary",
    "GaussianDictionary",
    "MatchingPursuit",
    "OnePass",
    "OrthogonalMatchingPursuit",
    "OrthonormalDictionary",
    "SparseCodes",
    "SpikesAndSines",
    "Superposition",
]
