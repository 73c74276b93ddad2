"""YAML files of an output folder: its configuration and settings."""

from pathlib import Path
from typing import Any

import yaml

from readout.common.checks import check_choice, check_number, check_threshold
from readout.common.errors import ReadoutError
from readout.common.files import read_whole, user_path
from readout.representation import Estimator


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return the configuration of a folder's last sweep; empty if there is none.

    Raises:
        ReadoutError: if it can't be read, was changed, or holds values that can't judge results.
    """
    path = user_path(folder) / "config.yaml"
    config = read_yaml(path, "run the same command again, or delete its first line to accept it as it is")
    sweep = config.get("sweep") or {}
    if not isinstance(sweep, dict):
        raise ReadoutError(f"The section `sweep` of {str(path)!r} is {sweep!r:.60}; correct it, or delete the file.")
    if sweep.get("threshold") is not None:
        check_threshold(f"sweep.threshold in {str(path)!r}", sweep["threshold"])
    if sweep.get("tolerance") is not None:
        check_number(f"sweep.tolerance in {str(path)!r}", sweep["tolerance"], low=0)
    if sweep.get("estimator") is not None:
        check_choice(f"sweep.estimator in {str(path)!r}", sweep["estimator"], [each.value for each in Estimator])
    return config


def read_yaml(path: Path, advice: str) -> dict[str, Any]:
    """Read a mapping from a YAML file; empty without a file.

    Args:
        path: The file.
        advice: What the user should do if it was changed; ends the error sentence.

    Raises:
        ReadoutError: if the file was changed, can't be read or holds no mapping.
    """
    if not path.exists():
        return {}
    text = read_whole(path, advice)
    try:
        loaded = yaml.safe_load(text)
    except Exception as error:  # of noise the parser also takes dates and endless nesting
        raise ReadoutError(f"{str(path)!r} can't be read as YAML; restore it, or delete it.") from error
    if not isinstance(loaded, dict):
        raise ReadoutError(f"{str(path)!r} holds no settings; restore it, or delete it.")
    return loaded
