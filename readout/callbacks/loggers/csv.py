"""CSVAdapter: runs as folders of CSV files and pictures."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.loggers import CSVLogger
from matplotlib.figure import Figure
from PIL import Image

from readout.callbacks.loggers.base import LoggerAdapter
from readout.callbacks.problem_rows import ProblemRows
from readout.common.errors import ReadoutError
from readout.problems.names import own_path


class CSVAdapter(LoggerAdapter[CSVLogger]):
    """A ``metrics.csv``, with tables and pictures as files beside it."""

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Continue the ``metrics.csv``, which the logger alone would begin by deleting, and log the facts.

        Raises:
            ReadoutError: if the file can't be read.
        """
        path = Path(self.logger.log_dir) / "metrics.csv"
        try:
            # as text, so that what was logged stays as it was
            rows = pd.read_csv(path, dtype=str).astype({"step": int}).to_dict("records") if path.is_file() else []
        except (KeyError, ValueError) as error:
            raise ReadoutError(f"{str(path)!r} can't be read; move it away and run the same command again.") from error
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            _ = self.logger.experiment
        for row in rows:
            values = {str(name): value for name, value in row.items() if name != "step" and pd.notna(value)}
            self.logger.log_metrics(values, step=int(row["step"]))
        self.logger.save()
        super().begin(facts)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """Write ``NAME.csv``."""
        table.to_csv(self._folder() / f"{name}.csv", index=False)

    def log_problems(self, problems: ProblemRows) -> None:
        """Write ``problems.csv``, with the path of each recovered image or text in the output folder."""
        self.log_table("problems", problems.with_paths())

    def log_images(self, name: str, images: Mapping[str, np.ndarray], captions: Sequence[str]) -> None:
        """Write ``NAME/SAMPLE.png``."""
        folder = self._folder(name)
        for sample, pixels in images.items():
            Image.fromarray(pixels).save(own_path(folder, sample, ".png"))

    def log_figure(self, name: str, figure: Figure) -> None:
        """Write ``NAME.png``."""
        figure.savefig(self._folder() / f"{name}.png", dpi=150)

    def _folder(self, *parts: str) -> Path:
        folder = Path(self.logger.log_dir, *parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
