"""Readouts in one pass, through the whole pipeline, against their closed forms."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from readout import cli, load_results
from readout.data import InputData, Sample, UniformNoise
from readout.representation import flip_probability, linear_distance, two_way_accuracy, wiener_distance
from tests.helpers import CPU, write_config
from tests.tiny import TinyClassifier

Spec = dict[str, Any]


def spec(class_path: str, **init_args: Any) -> Spec:
    return {"class_path": class_path, "init_args": init_args}


LEVELS = [0.0, 0.3, 0.5, 0.7, 0.9]


class PinkNoise(InputData):
    """Vectors of 100 values of equal energy, with variances that fall nearly as 1/k along dimension k."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__()
        self.count, self.seed = count, seed
        white = torch.randn(count, 100, generator=torch.Generator().manual_seed(seed))
        # the closed form is of means over inputs, so that it holds for each of them only where energies are equal
        self.values = nn.functional.normalize(white / torch.arange(1, 101).sqrt())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"pink_{index:05d}", self.values[index])


def fit(folder: Path, readout: Spec, data: Spec, layer: str = "linear", **sweep: Any) -> pd.DataFrame:
    """Run the command; return its results."""
    output = folder / "out"
    sweep = {"layers": layer, "levels": LEVELS, "output": str(output), **sweep}
    config = {"seed_everything": 0, "model": readout, "data": data, "sweep": sweep, "trainer": CPU}
    assert cli.main(["fit", "--config", str(write_config(folder / "config.yaml", config))]) == 0
    return load_results(output)


def by_level(results: pd.DataFrame, column: str = "distance") -> pd.Series:
    return results.groupby("level")[column].mean()


def linear(shape: list[int], expansion: float, mean: float = 0.5) -> Spec:
    return spec("OrthonormalLinear", input_shape=shape, expansion=expansion, mean=mean)


def test_a_linear_decoder_reads_white_inputs_at_linear_distance(tmp_path: Path) -> None:
    shape = [3, 8, 8]
    training = spec("UniformNoise", count=2000, shape=shape, seed=1)
    decoder = spec("LinearDecoder", extractor=linear(shape, 4), training_data=training, clamp=False)
    results = fit(tmp_path, decoder, spec("UniformNoise", count=40, shape=shape))
    np.testing.assert_allclose(by_level(results), linear_distance(LEVELS, 4), atol=0.02)
    assert set(results["training_inputs"]) == {2000}


@pytest.mark.parametrize(
    "decoder",
    [spec("LinearDecoder", clamp=False), spec("TrainedDecoder", clamp=False, training_steps=100, batch_size=32)],
    ids=lambda decoder: decoder["class_path"],
)
def test_a_decoder_reads_pink_inputs_at_wieners_distance(tmp_path: Path, decoder: Spec) -> None:
    def pink(count: int, seed: int) -> Spec:
        return spec("tests.test_closed_forms.PinkNoise", count=count, seed=seed)

    inputs = {"extractor": linear([100], 8, mean=0), "training_data": pink(1500, 2)}
    readout, levels = spec(decoder["class_path"], **decoder["init_args"], **inputs), [0.3, 0.7, 0.9]
    results = fit(tmp_path, readout, pink(200, 3), levels=levels, draws=3)
    variances = PinkNoise(50_000, 4).values.square().mean(0)
    # the standard error of 600 problems is 0.008 at 0.9, and less below
    np.testing.assert_allclose(by_level(results), wiener_distance(levels, variances, 8), atol=0.02)


def test_identification_tells_two_white_inputs_apart_as_often_as_it_should(tmp_path: Path) -> None:
    count, levels = 200, [0.8, 0.9, 0.95]
    readout = spec("Identification", extractor=linear([100], 1))
    results = fit(tmp_path, readout, spec("UniformNoise", count=count, shape=[100]), levels=levels, draws=4)
    errors = results.groupby("level")["two_way"].sem()  # of means over 800 problems, at most 0.01
    assert ((by_level(results, "two_way") - two_way_accuracy(levels, 100)).abs() < 4 * errors).all()
    assert errors.max() < 0.01
    np.testing.assert_allclose(results["chance"], 1 / count, rtol=1e-6)
    np.testing.assert_allclose(results["two_way"], (count - results["rank"]) / (count - 1), rtol=1e-6)
    assert (results["distance"] == (results["rank"] > 1)).all()
    assert ((results["recovered_sample"] == results["sample"]) == (results["rank"] == 1)).all()


def test_a_class_flips_as_often_as_noise_crosses_the_margin(tmp_path: Path) -> None:
    draws, inputs = 20, UniformNoise(20, (3, 8, 8))
    readout = spec("ClassReadout", extractor=spec("tests.tiny.TinyClassifier"))
    results = fit(tmp_path, readout, spec("UniformNoise", count=20, shape=[3, 8, 8]), layer="image", draws=draws)
    weight, bias = TinyClassifier().network.state_dict().values()
    apart, chances = weight[0] - weight[1], []
    for sample in inputs:
        h = sample.input.flatten()
        margin = float(apart @ h + bias[0] - bias[1])
        chances.append(flip_probability(margin, float(apart.norm()), float(h.std(correction=0)), LEVELS))
    expected, variance = draws * np.sum(chances, 0), draws * np.sum(np.multiply(chances, np.subtract(1, chances)), 0)
    flips = results.groupby("level")["distance"].sum()
    assert (np.abs(flips - expected) <= 4 * np.sqrt(variance)).all()  # as many coins with these chances
    assert ((results["recovered_class"] == results["true_class"]) == (results["distance"] == 0)).all()
    assert ((results["probability"] > 0.5) == (results["distance"] == 0)).all()
