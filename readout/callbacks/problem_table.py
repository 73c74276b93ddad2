"""ProblemTable: every problem of a layer as one row of a W&B table, and the sizes that follow."""

from lightning.pytorch.loggers import WandbLogger

from readout.callbacks.base import LayerResults, SweepCallback
from readout.data.images import is_image, to_pixels
from readout.representation import Verdict
from readout.store import TRAJECTORY


class ProblemTable(SweepCallback):
    """Logs the table of problems, the table of sizes, and a summary of both.

    Args:
        thumbnails: Put the recovered image into each row.
    """

    def __init__(self, thumbnails: bool = True) -> None:
        self.thumbnails = thumbnails

    def on_layer_end(self, results: LayerResults) -> None:
        """Log tables to W&B, and the summary to every logger."""
        sizes = results.sizes["representation_size"]
        summary = {
            "representation_size/median": float(sizes.median()),
            "representation_size/mean": float(sizes.mean()),
        }
        counts = results.table["verdict"].value_counts()
        summary |= {f"verdicts/{kind.value}": float(counts.get(kind.value, 0)) for kind in Verdict}
        for logger in results.loggers:
            logger.log_metrics(summary)
            if isinstance(logger, WandbLogger):
                logger.log_table("sizes", dataframe=results.sizes)
                self._log_problems(logger, results)

    def _log_problems(self, logger: WandbLogger, results: LayerResults) -> None:
        import wandb

        table = results.table.drop(columns=list(TRAJECTORY))
        table = table.astype(object).where(table.notna(), None)  # a missing label is null in JSON
        columns, rows = list(table.columns), table.values.tolist()
        if self.thumbnails and all(is_image(x) for x in results.inputs.values()):
            columns = ["recovered", *columns]
            pictures = (wandb.Image(to_pixels(results.recovered[key])) for key in table["key"])
            rows = [[picture, *row] for picture, row in zip(pictures, rows, strict=True)]
        logger.log_table("problems", columns=columns, data=rows)
