"""Sparse codes of a layer's features, at every position, and the features without what codes can't explain."""

from typing import Any

import torch
from torch import Tensor, nn

from readout.codes.coder import Coder
from readout.codes.dictionary import Dictionary
from readout.codes.stored import StoredDictionary
from readout.codes.superposition import Superposition
from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.problems.identity import describe


class LayerCoder(nn.Module):
    """Codes of features of a layer by a dictionary that was learnt there, one code per position.

    Args:
        dictionary: The dictionary.
        coder: The algorithm.
        iterations: Most of its iterations.

    Raises:
        ReadoutError: if the coder can't use the dictionary, or ``iterations`` is below 1.

    Examples:
        >>> from readout.codes import GaussianDictionary, OrthogonalMatchingPursuit
        >>> coder = LayerCoder(GaussianDictionary(32, 8), OrthogonalMatchingPursuit(active=3))
        >>> feature = torch.rand(2, 8, 5, 5)
        >>> coder.encode(feature).shape
        torch.Size([2, 25, 32])
        >>> coder(feature).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(self, dictionary: Dictionary, coder: Coder, iterations: int = 100) -> None:
        super().__init__()
        self.dictionary, self.coder = dictionary, coder
        self.iterations = check_whole("iterations", iterations, 1)
        self.digest = dictionary.fingerprint()  # before a Trainer changes the type of the atoms
        coder.prepare_for(Superposition(dictionary))

    def describe(self) -> dict[str, Any]:
        """Return everything that decides codes, as plain data; a dictionary goes by its fingerprint."""
        described: dict[str, Any] = describe(self, skip=("dictionary",))
        return {**described, "dictionary": self.digest}

    def check_layer(self, extractor: FeatureExtractor, layer: str, feature: Tensor) -> None:
        """Check that the dictionary is one of this layer.

        Args:
            extractor: The network.
            layer: Layer name.
            feature: A feature of the layer, shape (1, ...).

        Raises:
            ReadoutError: if it was learnt elsewhere, or has other dimensions.
        """
        if isinstance(self.dictionary, StoredDictionary):
            self.dictionary.check_layer(extractor, layer)
        own, given = as_rows(feature).shape[1], self.dictionary.dimensions
        if own != given:
            raise ReadoutError(
                f"Atoms have {given} dimensions, but features at layer {layer!r} have {own} per position; give a "
                "dictionary of this layer."
            )

    def encode(self, feature: Tensor) -> Tensor:
        """Return the codes, shape (problems, positions, N).

        Args:
            feature: Shape (problems, M), (problems, positions, M) or (problems, M, height, width).
        """
        rows = self.dictionary.standardise(as_rows(feature))
        codes = self.coder.infer(rows, self.iterations)
        return codes.view(len(feature), -1, codes.shape[1])

    @torch.no_grad()
    def forward(self, feature: Tensor) -> Tensor:
        """Return the features that the codes stand for, in the shape of those given."""
        rows = self.dictionary.restore(self.dictionary.decode(self.encode(feature)))
        if feature.ndim <= 3:
            return rows.view_as(feature)
        batch, dimensions, *positions = feature.shape
        return rows.view(batch, *positions, dimensions).movedim(-1, 1)


def as_rows(feature: Tensor) -> Tensor:
    """Turn features into rows, one per position.

    Args:
        feature: Shape (inputs, M), (inputs, positions, M), or (inputs, M, height, width).

    Returns:
        Shape (inputs × positions, M).

    Examples:
        >>> as_rows(torch.rand(2, 8, 5, 5)).shape
        torch.Size([50, 8])
    """
    last = feature.movedim(1, -1) if feature.ndim > 3 else feature
    return last.reshape(-1, last.shape[-1])
