"""Recovered inputs: safetensors files, lossless."""

from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from readout.common.seal import UNSEALED


def save_file(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write safetensors; the library's ``save_file`` leaves a temporary file behind if the process is killed."""
    path.write_bytes(save(dict(tensors), metadata={"seal": UNSEALED}))


def read_file(path: Path, keys: Collection[str]) -> dict[str, Tensor]:
    """Read the tensors under these keys, as far as there are any."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in {*keys}.intersection(file.keys())}
