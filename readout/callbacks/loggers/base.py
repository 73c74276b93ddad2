"""LoggerAdapter: one run in a Lightning logger; the base class logs metrics, which every logger takes."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
from lightning.pytorch.loggers import Logger
from matplotlib.figure import Figure

from readout.callbacks.problem_rows import ProblemRows
from readout.common.files import write_first
from readout.problems.names import safe_name

RUN = "run"
"""Name of the file that holds the id of the run that owns a log folder."""

LoggerT = TypeVar("LoggerT", bound=Logger)


@dataclass(frozen=True)
class RunLabels:
    """Id, name and facts of a run."""

    id: str
    """Stays the same whenever the same thing is logged again from the same output folder."""
    name: str
    output: Path
    """Output folder of the sweep."""
    facts: Mapping[str, Any]
    """Plain values to search runs by (``layer`` only in the run of a layer), and the whole configuration."""


class LoggerAdapter(Generic[LoggerT]):
    """A run in a Lightning logger of any kind; subclasses add tables, images and figures."""

    def __init__(self, logger: LoggerT) -> None:
        self.logger = logger

    @classmethod
    def arguments(cls, known: Container[str], given: Mapping[str, Any], labels: RunLabels) -> dict[str, Any]:
        """Return the logger's arguments for a run; those in ``given``, the user's, take precedence."""
        if "version" not in known or "save_dir" not in given:
            return {}
        name = given.get("name", "logs")
        return {"name": name, "version": _own_folder(f"{given['save_dir']}/{name}", labels)}

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Log the facts of the run."""
        self.logger.log_hyperparams(dict(facts))

    def group_levels(self, kinds: Iterable[str], quantities: Iterable[str]) -> None:
        """Show the metrics ``KIND/QUANTITY/level=…`` of all levels on one chart."""

    def log_curve(self, values: Mapping[str, float], step: int, axis: str) -> None:
        """Log one point per curve; loggers with several axes get the step as a metric named ``axis``."""
        self.logger.log_metrics({axis: step, **values}, step=step)

    def log_summary(self, summary: dict[str, float], facts: Mapping[str, Any]) -> None:
        """Log the numbers that a list of runs shows, with the facts where they are shown together only."""
        self.logger.log_metrics(summary)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """Log a table."""

    def log_problems(self, problems: ProblemRows) -> None:
        """Log the table of problems, with what was recovered in each."""

    def log_images(self, name: str, images: Mapping[str, np.ndarray], captions: Sequence[str]) -> None:
        """Log one image per sample, as bytes of shape (height, width, 3)."""

    def log_figure(self, name: str, figure: Figure) -> None:
        """Log a figure, and leave it open."""

    def finish(self, failed: bool = False) -> None:
        """Close the run, so that the next layer does not write into it."""
        self.logger.finalize("failed" if failed else "success")


def _own_folder(parent: str, labels: RunLabels) -> str:
    """Return the run's folder in ``parent``: the plain name for the first run that asks, one with its id for others."""
    plain = safe_name(labels.facts.get("layer", "sweep")) + ("-training" if "training" in labels.facts else "")
    # of a folder that is not on this file system, the owner can't be noted
    owned = "://" not in parent and write_first(Path(parent) / plain / RUN, labels.id) == labels.id
    return plain if owned else f"{plain}-{labels.id[:6]}"
