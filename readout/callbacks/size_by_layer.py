"""SizeByLayer: representation size against layer, for a whole sweep."""

import pandas as pd
from matplotlib import rc_context

from readout.analysis.plots import STYLE, figure_of, recovery, size_by_layer
from readout.analysis.sizes import lower_bounds
from readout.callbacks.base import SweepCallback, SweepResults
from readout.callbacks.loggers import adapter_for
from readout.callbacks.problem_table import summarise


class SizeByLayer(SweepCallback):
    """Logs the sizes of all layers at the end of a sweep, in a run of their own.

    ``size_by_layer/…`` against ``layer_index`` is one curve per sweep, so that several sweeps share a chart. The
    figures ``size_by_layer`` and ``recovery`` are those of the report; ``sizes`` is the table of all layers.
    """

    def on_sweep_end(self, results: SweepResults) -> None:
        """Log curves, summary, table and figures."""
        by_layer = sizes_by_layer(results)
        with rc_context(STYLE):
            figures = {
                "size_by_layer": figure_of(size_by_layer(results.sizes)),
                "recovery": figure_of(recovery(results.table)),
            }
        summary = summarise(results.table, results.sizes)
        for logger in map(adapter_for, results.loggers):
            for row in by_layer.drop(columns="layer").to_dict("records"):
                index = int(row.pop("layer_index"))
                values = {f"size_by_layer/{name}": float(value) for name, value in row.items()}
                logger.log_curve(values, index, axis="layer_index")
            logger.log_summary(summary, results.facts)
            logger.log_table("sizes", results.sizes)
            for name, figure in figures.items():
                logger.log_figure(name, figure)


def sizes_by_layer(results: SweepResults) -> pd.DataFrame:
    """Summarise the sizes of each layer, in the network's order.

    Returns:
        One row per layer with columns ``layer, layer_index, median, mean, lower_quartile, upper_quartile,
        lower_bounds``; the last is a share.
    """
    places = results.table.groupby("layer")["layer_index"].first()
    rows = []
    for layer, sizes in results.sizes.groupby("layer", sort=False):
        values = sizes["representation_size"].dropna()
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
