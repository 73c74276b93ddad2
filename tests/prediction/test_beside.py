from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from readout.analysis.outputs import read_outputs
from readout.common.errors import ReadoutError
from readout.data import UniformNoise
from readout.extractors import FeatureExtractor
from readout.metrics import CorrelationDistance, TokenErrorRate
from readout.prediction import beside, predict_size, prediction_table
from readout.priors import Pixels
from readout.readouts import FeatureInversion
from readout.store import ResultStore
from readout.sweep import Sweep
from tests.helpers import runtime
from tests.tiny import TinyNet


def run(folder: Path, count: int = 1, layers: tuple[str, ...] = ("early",)) -> pd.DataFrame:
    inversion = FeatureInversion(TinyNet(), Pixels(), record_every=5)
    sweep = Sweep(layers, [0, 0.5], output=str(folder), predict=True)
    return sweep.run(inversion, UniformNoise(count, (3, 16, 16)), runtime(5))


def test_a_sweep_predicts_what_it_measures_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    table = beside.read_predictions(ResultStore(tmp_path))
    (x,) = ResultStore(tmp_path).load_inputs(["noise_000"]).values()
    expected = predict_size(TinyNet(), "early", x)
    assert table["predicted_distance"].tolist() == pytest.approx(list(expected.distances), rel=1e-3)
    made: list[tuple[str, ...]] = []

    def counted(
        extractor: FeatureExtractor, layers: Sequence[str], inputs: Mapping[str, torch.Tensor], **more: Any
    ) -> pd.DataFrame:
        made.append((*layers, *inputs))
        return prediction_table(extractor, layers, inputs, **more)

    monkeypatch.setattr(beside, "prediction_table", counted)
    run(tmp_path, count=2, layers=("early", "middle"))
    assert sorted(made) == [("early", "noise_001"), ("middle", "noise_000"), ("middle", "noise_001")]


@pytest.mark.usefixtures("reports")
def test_every_recovery_figure_and_page_has_the_line(tmp_path: Path) -> None:
    run(tmp_path)
    assert '"predicted":[[' in (tmp_path / "report.html").read_text()
    (output,) = read_outputs([tmp_path])
    assert len(output.predictions) == 10
    other = replace(output, results=output.results.assign(weights_digest="of another network"))
    assert other.predictions.empty


def test_numbers_are_read_back_to_the_last_digit(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).random((100, len(beside.NUMBERS)))
    table = pd.DataFrame(numbers, columns=beside.NUMBERS).assign(**dict.fromkeys(beside.TEXTS, "a"))
    beside.write_predictions(ResultStore(tmp_path), table)
    read = beside.read_predictions(ResultStore(tmp_path))
    assert (read[beside.NUMBERS].to_numpy() == numbers).all()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / beside.FILE).write_text("layer,predicted_distance\nearly,x")
    with pytest.raises(ReadoutError, match="can't be read; delete it"):
        beside.read_predictions(ResultStore(tmp_path))


def test_texts_and_other_distances_are_refused_before_anything_is_inverted() -> None:
    image, text = torch.rand(3, 8, 8), torch.tensor([1, 2])
    beside.check_predictable(CorrelationDistance(), [image])
    with pytest.raises(ReadoutError, match="takes images, not texts"):
        beside.check_predictable(CorrelationDistance(), [image, text])
    with pytest.raises(ReadoutError, match=r"the metric is token_error_rate; leave out sweep\.predict"):
        beside.check_predictable(TokenErrorRate(), [image])
