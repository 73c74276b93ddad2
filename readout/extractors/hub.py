"""Locating and loading models of the Hugging Face libraries; incomplete weights are refused."""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from readout.common.errors import ReadoutError
from readout.common.files import user_path

CONFIG_FILES = ("config.json", "preprocessor_config.json")
"""Files that a model is built from; enough for random weights."""

SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
"""Patterns of a model's weights in transformers."""


def locate(weights: str, files: Sequence[str], needed: str = "config.json") -> Path:
    """Return the folder of a model, downloading it into the hub's own cache if it is not local.

    ``HF_HOME`` moves the cache and ``HF_HUB_OFFLINE`` forbids downloads, as everywhere in ``huggingface_hub``.

    Args:
        weights: A folder written by ``save_pretrained``, or a hub id such as ``facebook/dinov2-giant``.
        files: Patterns of the files to download besides :data:`CONFIG_FILES`.
        needed: A file that the folder must hold.

    Raises:
        ReadoutError: if there is no such folder and the download fails, or ``needed`` is missing.
    """
    folder = user_path(weights)
    if not folder.is_dir():
        folder = _download(weights, [*CONFIG_FILES, *files])
    if not (folder / needed).is_file():
        raise ReadoutError(f"{weights!r} holds no {needed}; give a folder written by `save_pretrained`, or a hub id.")
    return folder


@contextlib.contextmanager
def loading(weights: str, logging: Any, seed: int = 0) -> Iterator[None]:
    """Silence a library while it loads a model, seed random weights and turn its exceptions into a sentence.

    The global random state is restored on exit.

    Args:
        weights: The model's name or folder, for the sentence.
        logging: The library's own ``utils.logging``.
        seed: Seed of random weights.

    Raises:
        ReadoutError: in place of any exception of the library.
    """
    try:
        with quiet(logging), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    except ReadoutError:
        raise
    except Exception as error:
        raise ReadoutError(
            f"The model in {weights!r} can't be loaded ({_reason(error)}); give a folder written by `save_pretrained`, "
            "with weights as safetensors, or download it again."
        ) from error


@contextlib.contextmanager
def quiet(logging: Any) -> Iterator[None]:
    """Silence a library's warnings and progress bars, through its own ``utils.logging``."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def complete(network: nn.Module, info: Mapping[str, Collection[Any]], weights: str) -> nn.Module:
    """Return the network in float32 after checking that every weight was loaded.

    Args:
        network: Result of ``from_pretrained``.
        info: Its loading info (``output_loading_info=True``).
        weights: The model's name or folder, for error sentences.

    Raises:
        ReadoutError: if weights are missing, of another shape, NaN or infinite.
    """
    mismatched = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
    missing = sorted([*info["missing_keys"], *mismatched])
    if missing:
        raise ReadoutError(
            f"{len(missing)} weights of the model are missing in {weights!r} or have another shape (the first is "
            f"{missing[0]!r}); give a complete model."
        )
    broken = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ReadoutError(
            f"{len(broken)} weights in {weights!r} are NaN or infinite (the first is {broken[0]!r}); give intact ones."
        )
    return network.float()


def described(weights: str, pretrained: bool, seed: int) -> str:
    """Return the name of the weights in results and plots."""
    return weights if pretrained else f"{weights}, random (seed {seed})"


def _download(weights: str, files: list[str]) -> Path:
    if re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", weights) is None:
        raise ReadoutError(
            f"There is no folder {weights!r}; give a folder written by `save_pretrained`, or a hub id of the form "
            "'organisation/model'."
        )
    from huggingface_hub import snapshot_download

    try:
        # skip the half-precision and non-EMA copies of the same weights
        return Path(snapshot_download(weights, allow_patterns=files, ignore_patterns=["*.fp16.*", "*.non_ema.*"]))
    except Exception as error:
        raise ReadoutError(
            f"There is no folder {weights!r}, and downloading it from the Hugging Face hub failed ({_reason(error)}); "
            f"connect to the network (HF_HUB_OFFLINE must not be set), or run `hf download {weights} --local-dir "
            "FOLDER` on a connected machine and give that folder as `weights`."
        ) from error


def _reason(error: Exception) -> str:
    """Return the class and first sentence of a library's exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "Error(s) in loading …:" needs the line after it
    joined = " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else ""
    first = re.split(r"(?<=\w)\.\s", joined)[0].rstrip(".")
    return f"{type(error).__name__}: {first[:160]}" if first else type(error).__name__
