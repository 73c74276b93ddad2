"""Files of what was fitted to the features of a layer, which know the network and the layer."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from safetensors import safe_open
from torch import Tensor

from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path, write_whole
from readout.common.seal import UNSEALED, is_damaged
from readout.extractors.base import FeatureExtractor

T = TypeVar("T")


def store_fitted(
    path: Path, tensors: Mapping[str, Tensor], extractor: FeatureExtractor, layer: str, **more: Any
) -> None:
    """Write tensors with facts: ``network`` (its fingerprint), ``model``, ``weights``, ``layer`` and more."""
    names = {"model": extractor.name, "weights": extractor.weights_name, "layer": layer}
    facts = json.dumps({**more, "network": extractor.fingerprint(), **names})
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    written = safetensors.torch.save(whole, {"seal": UNSEALED, "facts": facts})
    write_whole(path, lambda file: file.write_bytes(written))


def read_fitted(
    path: str, name: str, kind: str, command: str, build: Callable[[dict[str, Any], dict[str, Tensor]], T]
) -> T:
    """Read what :func:`store_fitted` has written.

    Args:
        path: The file, or a folder with a file of this ``name``.
        name: Of the file.
        kind: What it holds, for messages.
        command: The command that writes it.
        build: Takes facts and tensors.

    Raises:
        ReadoutError: if there is no such file, it was changed, or ``build`` fails.
    """
    file = user_path(path)
    file = file / name if file.is_dir() else file
    advice = f"give the output folder of `readout {command}`"
    if not file.is_file():
        raise ReadoutError(f"There is no {kind} {str(file)!r}; {advice}.")
    try:
        if is_damaged(file):
            raise ValueError("it was changed since it was written")
        with safe_open(file, "pt") as opened:
            facts = json.loads(opened.metadata()["facts"])
        return build(facts, safetensors.torch.load_file(file))
    except Exception as error:  # a file can hold anything
        what = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        raise ReadoutError(f"{str(file)!r} can't be read as {what} ({reason(error)}); {advice}.") from error
