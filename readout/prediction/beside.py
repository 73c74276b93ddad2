"""Predictions beside the results of a sweep: made once per (network, layer, input) and kept in its folder."""

import io
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.files import read_whole
from readout.common.seal import UNSEALED
from readout.extractors import FeatureExtractor
from readout.metrics import CorrelationDistance, SampleMetric
from readout.prediction.table import prediction_table
from readout.problems import Problem
from readout.problems.names import set_aside_if_damaged
from readout.store import ResultStore

FILE = "predicted.csv"
SEAL = "seal"
"""Column whose first row holds the digest of the file."""

ADVICE = "delete it, and predictions are made again"

KEY = ["weights_digest", "layer", "input_digest", "threshold"]

TEXTS = ["layer", "sample", "weights_digest", "input_digest"]

NUMBERS = ["level", "predicted_distance", "threshold"]

FURTHER = ["standard_error", "predicted_size", "seconds", "participation_ratio"]
"""Numbers that a file may lack."""


def check_predictable(metric: SampleMetric, inputs: Sequence[Tensor]) -> None:
    """Raise a :class:`ReadoutError` unless the metric is the correlation distance and all inputs are images."""
    if not isinstance(metric, CorrelationDistance):
        raise ReadoutError(
            f"sweep.predict predicts correlation distances, but the metric is {metric.name}; leave out sweep.predict."
        )
    if not all(x.is_floating_point() for x in inputs):
        raise ReadoutError("sweep.predict takes images, not texts; leave it out.")
    if any(x.ndim == 1 for x in inputs):
        raise ReadoutError("sweep.predict takes images, not codes; leave it out.")


def predict_beside(
    store: ResultStore,
    extractor: FeatureExtractor,
    fingerprint: str,
    problems: Iterable[Problem],
    inputs: Mapping[str, Tensor],
    threshold: float,
) -> None:
    """Predict every (layer, input) of a sweep that has no prediction yet, by :func:`readout.prediction.predict_size`.

    Args:
        store: The output folder.
        extractor: The frozen network.
        fingerprint: Fingerprint of the network.
        problems: Problems of the sweep, which name its layers and inputs.
        inputs: True inputs by sample name.
        threshold: t, in units of d_X.

    Raises:
        ReadoutError: if the file can't be read.
    """
    known = read_predictions(store)
    done = set() if known.empty else set(known[KEY].itertuples(index=False, name=None))
    tables = [known]
    for problem in {(each.layer, each.sample): each for each in problems}.values():
        key = (fingerprint[:16], problem.layer, problem.input_digest, threshold)
        if key in done:
            continue
        x = {problem.sample: inputs[problem.sample]}
        table = prediction_table(extractor, [problem.layer], x, dimension=True, threshold=threshold)
        table[KEY] = key
        tables.append(table)
        write_predictions(store, pd.concat(tables))


def write_predictions(store: ResultStore, table: pd.DataFrame) -> None:
    """Write all predictions of an output folder."""
    sealed = table.assign(**{SEAL: [UNSEALED] + [""] * (len(table) - 1)})
    store.write_text(FILE, sealed.to_csv(index=False))


def read_predictions(store: ResultStore) -> pd.DataFrame:
    """Read the predictions of an output folder; empty if there are none.

    Raises:
        ReadoutError: if the file can't be read.
    """
    path = store.folder / FILE
    if not path.is_file():
        return pd.DataFrame()
    text = read_whole(path, ADVICE)
    try:
        # as text, because pandas 2 may change the last digit of a float that it reads
        table = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys([*TEXTS, *NUMBERS, *FURTHER], str))
        if table.empty or (SEAL in table and len(str(table[SEAL].iloc[0])) != len(UNSEALED)):
            raise ValueError("cut short")
        numbers = [*NUMBERS, *(name for name in FURTHER if name in table)]
        return table.astype(dict.fromkeys(numbers, float)).drop(columns=SEAL, errors="ignore")
    except (KeyError, ValueError) as error:
        raise ReadoutError(f"{str(path)!r} can't be read; {ADVICE}.") from error


def set_aside_broken(store: ResultStore) -> list[str]:
    """Rename the file of predictions if it can't be read; return the sentences to print."""
    then = "`sweep.predict` makes its predictions again"
    return set_aside_if_damaged(store.folder / FILE, lambda _: read_predictions(store), then)
