"""Results on disk: Parquet parts, each written whole or not at all, looked up by problem key."""

from readout.store.columns import COLUMNS, TOKENS, TRAJECTORY
from readout.store.config import read_config
from readout.store.load import judge, load_results
from readout.store.pictures import readable_name
from readout.store.recovered import save_file
from readout.store.results import ResultStore, svg

__all__ = [
    "COLUMNS",
    "TOKENS",
    "TRAJECTORY",
    "ResultStore",
    "judge",
    "load_results",
    "read_config",
    "readable_name",
    "save_file",
    "svg",
]
