"""SizeByLayer: the sizes of a whole sweep, layer by layer."""

from pathlib import Path

import pandas as pd
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from matplotlib import rc_context
from matplotlib.figure import Figure

from readout.analysis.plots import STYLE, figure_of, recovery, size_by_layer
from readout.analysis.sizes import lower_bounds
from readout.callbacks.base import SweepCallback, SweepResults
from readout.callbacks.problem_table import log_sizes, summarise


class SizeByLayer(SweepCallback):
    """Logs, in a run of its own at the end of a sweep, how sizes change from layer to layer.

    ``size_by_layer/…`` against ``layer_index`` is one curve a sweep, so that several sweeps lie over each other on one
    chart. The figures ``size_by_layer`` and ``recovery`` are those of the report; ``sizes`` is the table of all layers.
    """

    def on_sweep_end(self, results: SweepResults) -> None:
        """Log curve, figures, table and summary."""
        by_layer = sizes_by_layer(results)
        with rc_context(STYLE):
            figures = {
                "size_by_layer": figure_of(size_by_layer(results.sizes)),
                "recovery": figure_of(recovery(results.table)),
            }
        summary = summarise(results.table, results.sizes)
        for logger in results.loggers:
            for row in by_layer.to_dict("records"):
                index = int(row.pop("layer_index"))
                axis = {} if isinstance(logger, TensorBoardLogger) else {"layer_index": index}
                values = {f"size_by_layer/{name}": float(value) for name, value in row.items() if name != "layer"}
                logger.log_metrics({**axis, **values}, step=index)
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(dict(results.facts), summary)
            else:
                logger.log_metrics(summary)
            log_sizes(logger, results.sizes)
            for name, figure in figures.items():
                _log_figure(logger, name, figure)


def sizes_by_layer(results: SweepResults) -> pd.DataFrame:
    """One row a layer, in the network's order.

    Returns:
        Columns ``layer, layer_index, median, mean, lower_quartile, upper_quartile, lower_bounds``; the last is a share.
    """
    places = results.table.groupby("layer")["layer_index"].first()
    rows = []
    for layer, sizes in results.sizes.groupby("layer", sort=False):
        values = sizes["representation_size"]
        rows.append(
            {
                "layer": layer,
                "layer_index": int(places[layer]),
                "median": values.median(),
                "mean": values.mean(),
                "lower_quartile": values.quantile(0.25),
                "upper_quartile": values.quantile(0.75),
                "lower_bounds": lower_bounds(sizes).mean(),
            }
        )
    return pd.DataFrame(rows).sort_values("layer_index", ignore_index=True)


def _log_figure(logger: Logger, name: str, figure: Figure) -> None:
    if isinstance(logger, WandbLogger):
        import wandb

        logger.experiment.log({name: wandb.Image(figure)})
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(name, figure, close=False)
    elif isinstance(logger, CSVLogger):
        figure.savefig(Path(logger.log_dir) / f"{name}.png", dpi=150)
