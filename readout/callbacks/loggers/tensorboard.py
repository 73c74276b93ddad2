"""TensorBoardAdapter: runs in TensorBoard, which shows tables as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from readout.callbacks.loggers.base import LoggerAdapter
from readout.callbacks.problem_rows import FIRST, ProblemRows

SHOWN_ROWS = 200
"""Most rows of the table of problems: a Markdown table can't be paged."""


class TensorBoardAdapter(LoggerAdapter[TensorBoardLogger]):
    """Curves, images and figures; hyperparameters beside the summary."""

    @classmethod
    def arguments(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the arguments for a run, without a metric that nobody asked for."""
        return {"default_hp_metric": False} | super().arguments(*args, **kwargs)

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Log nothing yet: TensorBoard lists only hyperparameters that come with a summary."""

    def group_levels(self, kinds: Iterable[str], quantities: Iterable[str]) -> None:
        """Add a chart per kind and quantity to the *Custom scalars*."""
        self.logger.experiment.add_custom_scalars(
            {kind: {name: ["Multiline", [f"{kind}/{name}/level=.*"]] for name in quantities} for kind in kinds}
        )

    def log_curve(self, values: Mapping[str, float], step: int, axis: str) -> None:
        """Log one point of several curves, against the step: TensorBoard has no other axis."""
        self.logger.log_metrics(dict(values), step=step)

    def log_summary(self, summary: dict[str, float], facts: Mapping[str, Any]) -> None:
        """Log summary and hyperparameters together."""
        self.logger.log_hyperparams(dict(facts), summary)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """Log a table as Markdown."""
        rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
        for row in table.itertuples(index=False):
            rows.append([f"{cell:.4g}" if isinstance(cell, float) else str(cell).replace("|", "\\|") for cell in row])
        self.logger.experiment.add_text(name, "\n".join(f"| {' | '.join(cells)} |" for cells in rows))

    def log_problems(self, problems: ProblemRows) -> None:
        """Log the first rows and columns, with recovered texts."""
        shown = problems.table[list(FIRST)].head(SHOWN_ROWS)
        if texts := problems.texts():
            shown = shown.assign(recovered=texts[:SHOWN_ROWS])
        self.log_table("problems", shown)

    def log_images(self, name: str, images: Mapping[str, np.ndarray], captions: Sequence[str]) -> None:
        """Log images as ``NAME/SAMPLE``; TensorBoard has no captions."""
        for sample, pixels in images.items():
            self.logger.experiment.add_image(f"{name}/{sample}", pixels, dataformats="HWC")

    def log_figure(self, name: str, figure: Figure) -> None:
        """Log a figure, left open for other loggers."""
        self.logger.experiment.add_figure(name, figure, close=False)
