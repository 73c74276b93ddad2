"""Models of the Hugging Face libraries: found on the hub or in a folder, loaded whole or not at all."""

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
"""What a model is built from; enough for random weights."""


def locate(weights: str, files: Sequence[str], needed: str = "config.json") -> Path:
    """The folder of a model: a local one, or the hub's after a download into its own cache.

    The cache and the offline switch are ``huggingface_hub``'s (``HF_HOME``, ``HF_HUB_OFFLINE``).

    Args:
        weights: A folder that ``save_pretrained`` wrote, or a hub id such as ``facebook/dinov2-giant``.
        files: Patterns of the files to download besides :data:`CONFIG_FILES`.
        needed: The file without which it is no model.

    Raises:
        ReadoutError: if neither can be had, or ``needed`` is not in it.
    """
    folder = user_path(weights)
    if not folder.is_dir():
        folder = _download(weights, [*CONFIG_FILES, *files])
    if not (folder / needed).is_file():
        raise ReadoutError(
            f"{weights!r} holds no {needed}; give the folder of a model that `save_pretrained` wrote, or a hub id."
        )
    return folder


@contextlib.contextmanager
def loading(weights: str, logging: Any, seed: int = 0) -> Iterator[None]:
    """While a library reads or builds a model: quiet, seeded apart from the global generator, errors explained.

    Args:
        weights: What the user asked for.
        logging: The library's own ``utils.logging``.
        seed: Seed of random weights.

    Raises:
        ReadoutError: in place of anything the library raises.
    """
    try:
        with quiet(logging), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    except ReadoutError:
        raise
    except Exception as error:
        raise ReadoutError(
            f"The model in {weights!r} can't be loaded ({_reason(error)}); give a folder that `save_pretrained` "
            "wrote, with its weights as safetensors, or download it again."
        ) from error


@contextlib.contextmanager
def quiet(logging: Any) -> Iterator[None]:
    """While a library prints neither warnings nor progress.

    Args:
        logging: The library's own ``utils.logging``.
    """
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
    """The network in float32, once it is known that no weight was left to chance.

    Args:
        network: What ``from_pretrained`` made.
        info: What it says about loading (``output_loading_info=True``).
        weights: What the user asked for.

    Raises:
        ReadoutError: if weights are missing, of another shape, NaN or infinite.
    """
    mismatched = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
    missing = sorted([*info["missing_keys"], *mismatched])
    if missing:
        raise ReadoutError(
            f"{len(missing)} weights of the model are missing in {weights!r} or have another shape (the first is "
            f"{missing[0]!r}); give a complete one."
        )
    broken = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ReadoutError(
            f"{len(broken)} weights in {weights!r} are NaN or infinite (the first is {broken[0]!r}); load intact ones."
        )
    return network.float()


def described(weights: str, pretrained: bool, seed: int) -> str:
    """How results and plots call the weights."""
    return weights if pretrained else f"{weights}, random (seed {seed})"


def _download(weights: str, files: list[str]) -> Path:
    if re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", weights) is None:
        raise ReadoutError(
            f"There is no folder {weights!r}; give the folder of a model that `save_pretrained` wrote, or a hub id "
            "of the form 'organisation/model'."
        )
    from huggingface_hub import snapshot_download

    try:
        # one file of each is enough: half-precision twins stay where they are
        return Path(snapshot_download(weights, allow_patterns=files, ignore_patterns=["*.fp16.*", "*.non_ema.*"]))
    except Exception as error:
        raise ReadoutError(
            f"There is no folder {weights!r}, and the Hugging Face hub does not give it ({_reason(error)}); connect to "
            f"the network (HF_HUB_OFFLINE must not be set), or run `hf download {weights} --local-dir FOLDER` on a "
            "machine that is connected and give that folder as `weights`."
        ) from error


def _reason(error: Exception) -> str:
    """The library's own words, cut to one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "Error(s) in loading …:" says nothing without the line after it
    joined = " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else ""
    first = re.split(r"(?<=\w)\.\s", joined)[0].rstrip(".")
    return f"{type(error).__name__}: {first[:160]}" if first else type(error).__name__
