"""Codes, and coders outside a sweep."""

import torch
from torch import Tensor

from readout.codes import Coder, Dictionary, Encoder, GaussianDictionary, ReLUEncoder, SparseCodes, Superposition


def with_encoder(dictionary: Dictionary | None = None, encoder: Encoder | None = None) -> Dictionary:
    """Return a dictionary with an encoder that has not learnt anything."""
    dictionary, encoder = dictionary or GaussianDictionary(12, 6), encoder or ReLUEncoder()
    encoder.build(dictionary.atoms)
    return Dictionary(dictionary.atoms, encoder=encoder)


def draw(dictionary: Dictionary, data: SparseCodes) -> tuple[Superposition, Tensor, Tensor]:
    """Return the network, codes and their features."""
    network = Superposition(dictionary)
    data.prepare_for(network)
    codes = torch.stack([sample.input for sample in data])
    return network, codes, network.extract(codes, "superposition")


def read(network: Superposition, coder: Coder, feature: Tensor, steps: int) -> Tensor:
    """Return the codes after a number of iterations, or as many as the coder takes of them."""
    coder.prepare_for(network)
    return coder.infer(feature, steps)
