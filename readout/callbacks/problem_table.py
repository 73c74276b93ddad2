"""ProblemTable: every problem of a layer as one row of a W&B table, and the sizes that follow."""

from typing import Any

from lightning.pytorch.loggers import WandbLogger

from readout.analysis.texts import marked
from readout.callbacks.base import LayerResults, SweepCallback
from readout.data.images import is_image, to_pixels
from readout.representation import Verdict
from readout.store import TOKENS, TRAJECTORY


class ProblemTable(SweepCallback):
    """Logs the table of problems, the table of sizes, and a summary of both.

    Args:
        thumbnails: Put the recovered image, or the recovered text with wrong tokens marked, into each row.
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

        table = results.table.drop(columns=[*TRAJECTORY, *TOKENS], errors="ignore")
        table = table.astype(object).where(table.notna(), None)  # a missing label is null in JSON
        columns, rows = list(table.columns), table.values.tolist()
        shown: list[Any] = []
        if self.thumbnails and all(is_image(x) for x in results.inputs.values()):
            shown = [wandb.Image(to_pixels(results.recovered[key])) for key in table["key"]]
        elif self.thumbnails and set(TOKENS) <= set(results.table.columns):
            shown = [wandb.Html(marked(*tokens)) for tokens in results.table[list(TOKENS)].itertuples(index=False)]
        if shown:
            columns = ["recovered", *columns]
            rows = [[thumbnail, *row] for thumbnail, row in zip(shown, rows, strict=True)]
        logger.log_table("problems", columns=columns, data=rows)
