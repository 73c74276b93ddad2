import pytest
import torch

from readout.prediction import predict_size, prediction_table
from tests.tiny import TinyNet


def test_one_row_a_layer_sample_and_level() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.rand(3, 8, 8, generator=generator) for name in ("a", "b")}
    table = prediction_table(TinyNet(), ["early", "late"], inputs, levels=(0.3, 0.6), threshold=0.2)
    assert table[["layer", "sample", "level"]].apply(tuple, axis=1).tolist() == [
        (layer, sample, level) for layer in ("early", "late") for sample in ("a", "b") for level in (0.3, 0.6)
    ]
    alone = predict_size(TinyNet(), "late", inputs["b"], levels=(0.3, 0.6), threshold=0.2)
    rows = table[(table["layer"] == "late") & (table["sample"] == "b")]
    assert rows["predicted_distance"].tolist() == list(alone.distances)
    assert rows["predicted_size"].tolist() == pytest.approx([alone.size] * 2)
    assert rows["standard_error"].tolist() == list(alone.standard_errors)
