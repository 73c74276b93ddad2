"""WandbAdapter: runs in Weights & Biases, online or offline; imports wandb only when one is opened."""

import errno
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.loggers import WandbLogger
from matplotlib.figure import Figure
from PIL import Image

from readout.callbacks.loggers.base import LoggerAdapter, RunLabels
from readout.callbacks.problem_rows import ProblemRows
from readout.common.errors import ReadoutError, reason

WANDB_DATA_DIR = os.environ.get("WANDB_DATA_DIR")
"""The user's own folder for files that W&B stages, if set."""


class WandbAdapter(LoggerAdapter[WandbLogger]):
    """Curves, images, figures, and tables with thumbnails."""

    @classmethod
    def arguments(cls, known: Container[str], given: Mapping[str, Any], labels: RunLabels) -> dict[str, Any]:
        """Return the arguments that open a run, or continue the one with its id.

        Raises:
            ReadoutError: if the user fixes the id.
            OSError: if the logger's folder can't be written.
        """
        import wandb

        if "id" in given or "version" in given:
            raise ReadoutError("Each layer is a W&B run of its own; take `id` and `version` out of trainer.logger.")
        folder = Path(given["save_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):  # W&B would silently write to a temporary folder
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        # offline, pictures in tables wait here for their upload: keep them with the run
        os.environ["WANDB_DATA_DIR"] = WANDB_DATA_DIR or str(labels.output.resolve() / "wandb")
        readout = ("prior", "protocol") if labels.facts["prior"] else ("readout",)
        return {
            "id": labels.id,
            "resume": "allow",
            "name": labels.name,
            "group": str(labels.facts["sweep"]),
            "job_type": next((kind for kind in ("training", "layer") if kind in labels.facts), "sweep"),
            "tags": [str(labels.facts[key]) for key in ("model", *readout)],
            "settings": wandb.Settings(silent=True),  # messages per layer would drown the progress display
        }

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Log the axes of curves, and the facts.

        Raises:
            ReadoutError: if W&B refuses to start a run.
        """
        import wandb

        options = vars(self.logger).get("_wandb_init", {})
        if options.get("anonymous") is None:  # Lightning passes None on, and W&B warns of any value
            options.pop("anonymous", None)
        if vars(self.logger).get("_offline"):  # W&B resumes nothing offline, and before 0.31 warns when asked to
            options.pop("resume", None)
        try:
            run = self.logger.experiment
        except wandb.errors.Error as error:
            raise ReadoutError(
                f"W&B can't start a run ({reason(error)}); run `wandb login`, or leave out `--trainer.logger.offline "
                "false` to keep runs in the output folder until `wandb sync` sends them."
            ) from error
        run.define_metric("recovery/*", step_metric="optimisation_step")
        run.define_metric("size_by_layer/*", step_metric="layer_index")
        super().begin(facts)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """Log a table."""
        self.logger.log_table(name, dataframe=table)

    def log_problems(self, problems: ProblemRows) -> None:
        """Log the table of problems, with images or texts in front."""
        import wandb

        table = problems.table.astype(object).where(problems.table.notna(), None)  # a missing label is null in JSON
        true, found = ({name: wandb.Image(x) for name, x in images.items()} for images in problems.images())
        if true:
            table.insert(0, "true", [true[sample] for sample in table["sample"]])
            table.insert(1, "recovered", [found.get(key) for key in table["key"]])
        elif texts := problems.texts():
            table.insert(0, "recovered", [wandb.Html(text) for text in texts])
        self.logger.log_table("problems", columns=list(table.columns), data=table.values.tolist())

    def log_images(self, name: str, images: Mapping[str, np.ndarray], captions: Sequence[str]) -> None:
        """Log images with captions."""
        self.logger.log_image(name, [Image.fromarray(pixels) for pixels in images.values()], caption=list(captions))

    def log_figure(self, name: str, figure: Figure) -> None:
        """Log a figure."""
        import wandb

        self.logger.experiment.log({name: wandb.Image(figure)})

    def finish(self, failed: bool = False) -> None:
        """Close the run and upload what is left, marked as failed if something ended it early."""
        import wandb

        super().finish(failed)
        wandb.finish(exit_code=int(failed))
