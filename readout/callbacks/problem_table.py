"""ProblemTable: every problem of a layer as one row of a table, and the sizes that follow."""

import pandas as pd

from readout.analysis.sizes import lower_bounds
from readout.callbacks.base import LayerResults, SweepCallback
from readout.callbacks.loggers import adapter_for
from readout.callbacks.problem_rows import ProblemRows
from readout.representation import Verdict


class ProblemTable(SweepCallback):
    """Logs the table of problems, the table of sizes, and a summary of both.

    Each problem carries the representation size of its input; the largest come first. W&B shows tables. TensorBoard
    shows them as texts, and the summary beside the hyperparameters. Beside a ``metrics.csv`` they are ``problems.csv``
    and ``sizes.csv``, with the path of each recovered image or text in the output folder.

    Args:
        thumbnails: Put the true and the recovered image, or the recovered text with wrong tokens marked, into each row.
    """

    def __init__(self, thumbnails: bool = True) -> None:
        self.thumbnails = thumbnails

    def on_layer_end(self, results: LayerResults) -> None:
        """Log the summary and both tables."""
        summary, problems = summarise(results.table, results.sizes), ProblemRows(results, self.thumbnails)
        for logger in map(adapter_for, results.loggers):
            logger.log_summary(summary, results.facts)
            logger.log_table("sizes", results.sizes)
            logger.log_problems(problems)


def summarise(table: pd.DataFrame, sizes: pd.DataFrame) -> dict[str, float]:
    """Return the numbers that a list of runs shows: sizes, the share that are lower bounds, and counts of verdicts.

    Args:
        table: One row per problem.
        sizes: One row per (layer, sample).
    """
    values, counts = sizes["representation_size"].dropna(), table["verdict"].value_counts()
    return {
        "representation_size/median": float(values.median()),
        "representation_size/mean": float(values.mean()),
        "representation_size/lower_bounds": float(lower_bounds(sizes).mean()),
        "inversions": float(len(table)),
        **{f"verdicts/{kind.value}": float(counts.get(kind.value, 0)) for kind in Verdict},
    }
