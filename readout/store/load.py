"""Results as tables: loaded from output folders, and judged."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from readout.common.checks import check_threshold
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.representation import verdicts
from readout.store.columns import JUDGED, SORTED
from readout.store.config import read_config
from readout.store.results import ResultStore


def load_results(
    folder: str | Path | Sequence[str | Path], threshold: float | None = None, trajectories: bool = False
) -> pd.DataFrame:
    """Load all results of an output folder, or of several, into one table, one row per problem.

    Args:
        folder: Output folder of a sweep, or several. A problem that several folders hold is loaded from the first.
        threshold: t to judge by; None for the threshold and tolerance of each folder's last sweep.
        trajectories: Also load the values at recorded steps (columns :data:`TRAJECTORY`).

    Raises:
        ReadoutError: if the folder holds no results, or a part or the configuration can't be read.

    Examples:
        >>> import torch
        >>> from readout import measure
        >>> from readout.extractors import OrthonormalLinear
        >>> images, fast = torch.rand(1, 3, 16, 16), {"steps": 2, "batch_size": 2, "progress": False}
        >>> _ = measure(OrthonormalLinear(expansion=1), images, levels=[0, 0.5], output="runs/linear", **fast)
        >>> load_results("runs/linear")[["layer", "sample", "level", "steps"]]
            layer     sample  level  steps
        0  linear  image_000    0.0      2
        1  linear  image_000    0.5      2
    """
    if threshold is not None:
        check_threshold("threshold", threshold)
    folders = [folder] if isinstance(folder, str | Path) else folder
    tables = [_load_folder(one, threshold, trajectories) for one in folders]
    if len(tables) == 1:
        return tables[0]
    table = pd.concat(tables, ignore_index=True).drop_duplicates("key")
    return table.sort_values(list(SORTED), ignore_index=True)


def _load_folder(folder: str | Path, threshold: float | None, trajectories: bool) -> pd.DataFrame:
    table = ResultStore(folder).load(trajectories)
    if table.empty:
        begun = (user_path(folder) / "checkpoints").is_dir()
        advice = "it has not finished a batch yet" if begun else "give the output folder of a sweep, or run it first"
        raise ReadoutError(f"{str(folder)!r} holds no results; {advice}.")
    last = read_config(folder).get("sweep") or {}
    threshold = threshold or last.get("threshold")
    return table if threshold is None else judge(table, threshold, last.get("tolerance"))


def judge(table: pd.DataFrame, threshold: float, tolerance: float | None = None) -> pd.DataFrame:
    """Judge results anew by a threshold and a tolerance.

    Args:
        table: One row per problem.
        threshold: t, in units of d_X.
        tolerance: See :func:`readout.representation.verdict`; None keeps the tolerance of each row.

    Returns:
        A copy of the table with new verdicts; None for problems whose true input is unknown.
    """
    if tolerance is not None:
        table = table.assign(tolerance=tolerance)
    unknown = table[["distance", "floor", "scale"]].isna().all(axis=1) & ~table["dead"].astype(bool)
    judged = verdicts(**{name: table[name] for name in JUDGED}, threshold=threshold).astype(object)
    judged[unknown.to_numpy()] = None
    return table.assign(threshold=threshold, verdict=pd.Series(judged.tolist(), index=table.index))
