"""Sparse codes of features by a given dictionary, and how well they match the latents."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from readout.codes import FISTA, Dictionary, Superposition

ITERATIONS = 300


def infer(features: Tensor, atoms: Tensor, penalty: float) -> Tensor:
    """Return non-negative codes by FISTA, shape (samples, N)."""
    coder = FISTA(penalty)
    coder.prepare_for(Superposition(Dictionary(atoms)))
    coder.initialise(range(len(features)), torch.Size([len(atoms)]))
    coder.aim(features)
    for _ in range(ITERATIONS):
        coder.iterate()
    codes: Tensor = coder()
    return codes


def matched_correlation(codes: Tensor, latents: Tensor) -> float:
    """Return the mean |correlation| of each latent with the one code it is matched to; 0 for a constant code."""
    true, found = (F.normalize((values - values.mean(0)).double(), dim=0) for values in (latents, codes))
    cosines = (true.T @ found).abs().numpy()
    return float(cosines[linear_sum_assignment(cosines, maximize=True)].mean())
