"""Dictionaries in files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import safe_open

from readout.codes.dictionary import Dictionary
from readout.codes.encoders import ENCODERS, Encoder
from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path, write_whole
from readout.common.seal import UNSEALED, is_damaged
from readout.extractors import FeatureExtractor
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
        file = user_path(path)
        file = file / NAME if file.is_dir() else file
        advice = "give the output folder of `readout learn`"
        if not file.is_file():
            raise ReadoutError(f"There is no dictionary {str(file)!r}; {advice}.")
        try:
            if is_damaged(file):
                raise ValueError("it was changed since it was written")
            with safe_open(file, "pt") as opened:
                facts = json.loads(opened.metadata()["facts"])
            tensors = safetensors.torch.load_file(file)
            atoms, mean = tensors.pop("atoms"), tensors.pop("mean")
            encoder = None if facts["encoder"] is None else _rebuilt(facts["encoder"])
        except Exception as error:  # a file can hold anything
            raise ReadoutError(f"{str(file)!r} can't be read as a dictionary ({reason(error)}); {advice}.") from error
        if encoder is not None:
            encoder.build(atoms)
            encoder.load_state_dict({name.removeprefix("encoder."): tensor for name, tensor in tensors.items()})
        super().__init__(atoms, mean, facts["scale"], encoder)
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
    facts = {
        "key": key,
        "encoder": None if dictionary.encoder is None else describe(dictionary.encoder),
        "scale": dictionary.scale,
        "network": extractor.fingerprint(),
        "model": extractor.name,
        "weights": extractor.weights_name,
        "layer": layer,
    }
    tensors = {**dictionary.state_dict(), "mean": dictionary.mean}
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    written = safetensors.torch.save(whole, metadata={"seal": UNSEALED, "facts": json.dumps(facts)})
    write_whole(path, lambda file: file.write_bytes(written))


def _rebuilt(described: dict[str, Any]) -> Encoder:
    """Make an encoder of one of the package's kinds; a file can't name other code to run."""
    arguments = dict(described)
    kinds = {kind.__name__: kind for kind in ENCODERS}
    return kinds[arguments.pop("class").rpartition(".")[2]](**arguments)
