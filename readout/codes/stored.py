"""Dictionaries in files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from readout.codes.dictionary import Dictionary
from readout.codes.encoders import ENCODERS, Encoder
from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.extractors.fitted import read_fitted, store_fitted
from readout.problems.identity import describe

NAME = "dictionary.safetensors"
"""Name of the file in an output folder of ``learn``."""


class StoredDictionary(Dictionary):
    """A dictionary that ``python -m readout.cli learn`` has written, with its encoder if it has one.

    Args:
        path: Output folder of ``learn``, or the file in it.

    Raises:
        ReadoutError: if there is no such file, it was changed, or it holds no dictionary.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        facts, *parts = read_fitted(path, NAME, "dictionary", "learn", _parts)
        super().__init__(*parts)
        self.facts: Mapping[str, Any] = facts

    def check_layer(self, extractor: FeatureExtractor, layer: str) -> None:
        """Check that the dictionary was learnt at this layer of this network.

        Raises:
            ReadoutError: if not.
        """
        if (self.facts["network"], self.facts["layer"]) != (extractor.fingerprint(), layer):
            raise ReadoutError(
                f"The dictionary {self.path!r} was learnt at layer {self.facts['layer']!r} of {self.facts['model']} "
                f"({self.facts['weights']}), and can't be used at layer {layer!r} of {extractor.name} "
                f"({extractor.weights_name}); learn one there, or choose that layer and those weights."
            )


def store(dictionary: Dictionary, path: Path, extractor: FeatureExtractor, layer: str, key: str) -> None:
    """Write a dictionary that was learnt at a layer.

    Args:
        dictionary: The dictionary.
        path: The file.
        extractor: The network.
        layer: Layer name.
        key: Digest of everything that decided it.
    """
    encoder = None if dictionary.encoder is None else describe(dictionary.encoder)
    tensors = {**dictionary.state_dict(), "mean": dictionary.mean}
    store_fitted(path, tensors, extractor, layer, key=key, encoder=encoder, scale=dictionary.scale)


def _parts(facts: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Any, ...]:
    """Return facts and the arguments of a dictionary."""
    atoms, mean = tensors.pop("atoms"), tensors.pop("mean")
    encoder = None if facts["encoder"] is None else _rebuilt(facts["encoder"])
    if encoder is not None:
        encoder.build(atoms)
        encoder.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in tensors.items()})
    return facts, atoms, mean, facts["scale"], encoder


def _rebuilt(described: dict[str, Any]) -> Encoder:
    """Make an encoder of one of the package's kinds; a file can't name other code to run."""
    arguments = dict(described)
    kinds = {kind.__name__: kind for kind in ENCODERS}
    return kinds[arguments.pop("class").rpartition(".")[2]](**arguments)
