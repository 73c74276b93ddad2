"""`invert` with readouts in one pass, of features in files."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from readout import cli, load_results
from readout.data.images import read_image
from readout.extractors import FeatureExtractor, OrthonormalLinear
from readout.store import ResultStore
from tests.external.test_files import save
from tests.helpers import tiny_config, write_config, write_noise_images
from tests.test_cli import refused
from tests.tiny import TinyClassifier, TinyNet

SIDE = 8
TINY = {"class_path": "tests.tiny.TinyNet"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six images; of two of them there is a copy in ``true``."""
    folder, true = tmp_path / "images", tmp_path / "true"
    folder.mkdir()
    true.mkdir()
    write_noise_images(folder, SIDE, 6)
    for name in ("1.png", "3.png"):
        shutil.copy(folder / name, true / name)
    return folder


def decode(images: Path, extractor: FeatureExtractor, layer: str, error: float = 0.3) -> Path:
    """A file of the features of images 1, 3 and 5 with an error, as a decoder from brains makes it."""
    generator = torch.Generator().manual_seed(0)
    features = {}
    for name in ("1", "3", "5"):
        h = extractor.extract(read_image(images / f"{name}.png").unsqueeze(0), layer)[0]
        features[name] = (h + error * h.std() * torch.randn(h.shape, generator=generator)).numpy()
    return save(images.parent / "decoded.npz", features)


def invert(folder: Path, readout: dict[str, Any], *more: str | Path, layer: str = "middle") -> int:
    shape = {"init_args": {"count": 2, "shape": [3, SIDE, SIDE]}}
    config = write_config(folder / "config.yaml", tiny_config(folder / "fit", data=shape) | {"model": readout})
    given = ["--features", str(folder / "decoded.npz"), "--layer", layer, "--output", str(folder / "out")]
    return cli.main(["invert", "--config", str(config), *given, *map(str, more)])


def results(folder: Path) -> pd.DataFrame:
    return load_results(folder / "out").set_index("sample")


def identification(images: Path) -> dict[str, Any]:
    folder = {"class_path": "ImageFolder", "init_args": {"folder": str(images), "size": SIDE}}
    return {"class_path": "Identification", "init_args": {"extractor": TINY, "candidates": folder}}


def test_features_are_identified_among_the_images_of_a_folder(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decode(images, TinyNet(), "middle")
    assert invert(tmp_path, identification(images)) == 0
    found = results(tmp_path)
    assert found["recovered_sample"].to_dict() == {"1": "1.png", "3": "3.png", "5": "5.png"}
    assert found[["distance", "rank", "two_way", "verdict"]].isna().all(axis=None)
    table = pd.read_csv(tmp_path / "out" / "recovered.csv")
    assert table["recovered_sample"].tolist() == ["1.png", "3.png", "5.png"]
    assert not {"loss", "distance", "verdict"} & {*table.columns}
    printed = capsys.readouterr().out
    assert "┃ feature ┃ recovered ┃" in printed
    assert "│ 5       │ 5.png     │" in printed


def test_true_images_bring_ranks_and_verdicts(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decode(images, TinyNet(), "middle")
    shutil.copy(images / "4.png", tmp_path / "true" / "3.png")  # so that the feature of 3 is far from the true one
    assert invert(tmp_path, identification(images), "--true", tmp_path / "true") == 0
    found = results(tmp_path)
    assert found["verdict"].iloc[:2].tolist() == ["recovered", "unrecovered"]
    assert found["distance"].iloc[:2].tolist() == [0, 1]
    assert found["rank"].iloc[0] == 1 < found["rank"].iloc[1]
    assert found.loc["5", ["distance", "rank", "verdict"]].isna().all()
    assert found["recovered_sample"].tolist() == ["1.png", "3.png", "5.png"]
    assert "d_S" in capsys.readouterr().out


def classes(**more: Any) -> dict[str, Any]:
    model = {"extractor": {"class_path": "tests.tiny.TinyClassifier"}, "classes": ["cat", "dog"], **more}
    return {"class_path": "ClassReadout", "init_args": model}


def test_classes_of_features_are_those_that_the_head_gives(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = TinyClassifier()
    features = decode(images, network, "image")
    assert invert(tmp_path, classes(), "--true", tmp_path / "true", layer="image") == 0
    found = results(tmp_path)
    with np.load(features) as given:
        weight, bias = network.network.state_dict().values()
        answers = {name: weight @ torch.from_numpy(given[name]) + bias for name in given}
    for name, answer in answers.items():
        assert found.loc[name, "recovered_class"] == ["cat", "dog"][int(answer.argmax())]
    for name in ("1", "3"):
        true = int(network.run(read_image(images / f"{name}.png").unsqueeze(0)).argmax())
        assert found.loc[name, "true_class"] == ["cat", "dog"][true]
        assert found.loc[name, "probability"] == pytest.approx(float(answers[name].softmax(0)[true]), abs=1e-6)
    assert found.loc["5", ["true_class", "probability", "distance", "verdict"]].isna().all()
    # nobody knows a label
    line = refused(invert(tmp_path, classes(truth="label"), "--true", tmp_path / "true", layer="image"), capsys)
    assert "Input '1' has no label" in line
    assert invert(tmp_path, classes(truth="label"), "--output", tmp_path / "labels", layer="image") == 0
    unknown = load_results(tmp_path / "labels").set_index("sample")
    assert unknown["recovered_class"].to_dict() == found["recovered_class"].to_dict()
    assert unknown["true_class"].isna().all()


def test_a_linear_decoder_gives_back_the_images_behind_the_features(tmp_path: Path, images: Path) -> None:
    decode(images, OrthonormalLinear((3, SIDE, SIDE)), "linear", error=0)
    extractor = {"class_path": "OrthonormalLinear", "init_args": {"input_shape": [3, SIDE, SIDE]}}
    noise = {"class_path": "UniformNoise", "init_args": {"count": 400, "shape": [3, SIDE, SIDE]}}
    readout = {"class_path": "LinearDecoder", "init_args": {"extractor": extractor, "training_data": noise}}
    assert invert(tmp_path, readout, layer="linear") == 0
    found = results(tmp_path)
    recovered = ResultStore(tmp_path / "out").load_recovered(found["key"])
    for name, key in found["key"].items():
        torch.testing.assert_close(recovered[key], read_image(images / f"{name}.png"), rtol=0, atol=1e-3)
    assert found["target_distance.linear"].max() < 1e-4
    assert set(found["training_inputs"]) == {400}


def test_what_cannot_be_told_is_one_sentence(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decode(images, TinyNet(), "middle")
    nothing = {"class_path": "Identification", "init_args": {"extractor": TINY}}
    assert "There is no candidate" in refused(invert(tmp_path, nothing), capsys)
    (images / "1.png").unlink()
    line = refused(invert(tmp_path, identification(images), "--true", tmp_path / "true"), capsys)
    assert "1 of 2 inputs, such as '1', are not among the 5 candidates" in line
    both = {layer: TinyNet().extract(torch.rand(2, 3, SIDE, SIDE), layer).numpy() for layer in ("early", "middle")}
    save(tmp_path / "decoded.npz", both)
    line = refused(invert(tmp_path, identification(images), "--layer", "early", "middle"), capsys)
    assert "Identification reads one layer" in line
    noise = {"class_path": "UniformNoise", "init_args": {"count": 64, "shape": [3, SIDE, SIDE]}}
    start = {"class_path": "LinearDecoder", "init_args": {"training_data": noise}}
    refined = {"class_path": "RefinedInversion", "init_args": {"extractor": TINY, "start": start, "metrics": []}}
    line = refused(invert(tmp_path, refined, "--layer", "early", "middle"), capsys)
    assert "RefinedInversion reads one layer" in line
