"""ProblemTable: every problem of a layer as one row of a table, and the sizes that follow."""

from pathlib import Path
from typing import Any, cast

import pandas as pd
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from readout.analysis.sizes import lower_bounds
from readout.analysis.texts import marked
from readout.callbacks.base import LayerResults, SweepCallback
from readout.data.images import is_image, to_pixels
from readout.representation import Verdict
from readout.store import TOKENS, TRAJECTORY, readable_name

FIRST = ("sample", "level", "draw", "representation_size", "lower_bound", "verdict", "distance", "best_distance")
"""Columns that a reader looks for first."""

SHOWN_ROWS = 200
"""Most rows of a table in TensorBoard, which has texts only."""


class ProblemTable(SweepCallback):
    """Logs the table of problems, the table of sizes, and a summary of both.

    Problems carry the representation size of their input, and come largest first. W&B gets tables; TensorBoard texts,
    and the summary beside the hyperparameters. A ``metrics.csv`` gets ``problems.csv`` and ``sizes.csv`` beside it,
    with the path of each recovered picture or text in the output folder.

    Args:
        thumbnails: Put the true and the recovered image, or the recovered text with wrong tokens marked, into each row.
    """

    def __init__(self, thumbnails: bool = True) -> None:
        self.thumbnails = thumbnails

    def on_layer_end(self, results: LayerResults) -> None:
        """Log tables to loggers that take them, and the summary to every logger."""
        summary, problems = summarise(results.table, results.sizes), problem_rows(results)
        for logger in results.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(dict(results.facts), summary)
                self._log_texts(logger, results, problems)
            else:
                logger.log_metrics(summary)
            log_sizes(logger, results.sizes)
            if isinstance(logger, WandbLogger):
                self._log_problems(logger, results, problems)
            elif isinstance(logger, CSVLogger):
                _with_paths(results, problems).to_csv(Path(logger.log_dir) / "problems.csv", index=False)

    def _log_problems(self, logger: WandbLogger, results: LayerResults, problems: pd.DataFrame) -> None:
        import wandb

        table = problems.astype(object).where(problems.notna(), None)  # a missing label is null in JSON
        columns, rows = list(table.columns), table.values.tolist()
        shown: list[list[Any]] = [[] for _ in rows]
        if self.thumbnails and _are_images(results):
            true = {sample: wandb.Image(to_pixels(x)) for sample, x in results.inputs.items()}
            pairs = zip(table["sample"], table["key"], strict=True)
            found = {key: wandb.Image(to_pixels(x)) for key, x in results.recovered.items()}
            shown = [[true[sample], found.get(key)] for sample, key in pairs]
            columns = ["true", "recovered", *columns]
        elif self.thumbnails and _are_texts(results):
            shown = [[wandb.Html(text)] for text in _marked(results, problems)]
            columns = ["recovered", *columns]
        rows = [[*thumbnails, *row] for thumbnails, row in zip(shown, rows, strict=True)]
        logger.log_table("problems", columns=columns, data=rows)

    def _log_texts(self, logger: TensorBoardLogger, results: LayerResults, problems: pd.DataFrame) -> None:
        columns = [name for name in FIRST if name in problems]
        shown = problems[columns].head(SHOWN_ROWS)
        if self.thumbnails and _are_texts(results):
            shown = shown.assign(recovered=_marked(results, problems)[:SHOWN_ROWS])
        logger.experiment.add_text("problems", _markdown(shown))


def summarise(table: pd.DataFrame, sizes: pd.DataFrame) -> dict[str, float]:
    """What a list of runs is read by: sizes, the share of them that are lower bounds, and verdicts.

    Args:
        table: One row a problem.
        sizes: One row a (layer, sample).
    """
    values, counts = sizes["representation_size"], table["verdict"].value_counts()
    return {
        "representation_size/median": float(values.median()),
        "representation_size/mean": float(values.mean()),
        "representation_size/lower_bounds": float(lower_bounds(sizes).mean()),
        "inversions": float(len(table)),
        **{f"verdicts/{kind.value}": float(counts.get(kind.value, 0)) for kind in Verdict},
    }


def log_sizes(logger: Logger, sizes: pd.DataFrame) -> None:
    """Log a table of sizes to loggers that show tables, or keep files."""
    if isinstance(logger, WandbLogger):
        logger.log_table("sizes", dataframe=sizes)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text("sizes", _markdown(sizes))
    elif isinstance(logger, CSVLogger):
        folder = Path(logger.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        sizes.to_csv(folder / "sizes.csv", index=False)


def problem_rows(results: LayerResults) -> pd.DataFrame:
    """One row a problem with the size of its input, the largest first; no columns that hold lists."""
    table = results.table.drop(columns=[*TRAJECTORY, *TOKENS], errors="ignore")
    sizes = results.sizes.assign(lower_bound=lower_bounds(results.sizes).astype(bool))
    table = table.merge(sizes[["sample", "representation_size", "lower_bound"]], on="sample")
    table = table.sort_values(["representation_size", "sample", "draw", "level"], ascending=[False, True, True, True])
    return table[[*FIRST, *(column for column in table.columns if column not in FIRST)]].reset_index(drop=True)


def _are_images(results: LayerResults) -> bool:
    return all(is_image(x) for x in results.inputs.values())


def _are_texts(results: LayerResults) -> bool:
    return set(TOKENS) <= set(results.table.columns)


def _marked(results: LayerResults, problems: pd.DataFrame) -> list[str]:
    """Recovered texts of the given rows, wrong tokens marked."""
    tokens = results.table.set_index("key")[list(TOKENS)].loc[problems["key"]]
    rows = tokens.itertuples(index=False, name=None)
    return ["" if row[1] is None or isinstance(row[1], float) else marked(*row) for row in rows]


def _with_paths(results: LayerResults, problems: pd.DataFrame) -> pd.DataFrame:
    """The table with the path of what was recovered, from the output folder on."""
    suffix = "png" if _are_images(results) else "txt" if _are_texts(results) else None
    if suffix is None:
        return problems
    paths = [
        f"recovered/{readable_name(row, suffix)}" if row["key"] in results.recovered else None
        for row in cast(list[dict[str, Any]], problems.to_dict("records"))
    ]
    return problems.assign(recovered=pd.Series(paths, index=problems.index, dtype=object))


def _markdown(table: pd.DataFrame) -> str:
    """A table as Markdown."""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append([f"{cell:.4g}" if isinstance(cell, float) else str(cell).replace("|", "\\|") for cell in row])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
