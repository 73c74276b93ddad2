"""What readouts refuse, in one sentence, before anything is computed; what is finished is left alone."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from readout.extractors import FeatureExtractor
from readout.readouts import one_pass
from tests.helpers import tiny_config
from tests.test_cli import fit, refused

Spec = dict[str, Any]


class Branch(nn.Module):
    """What its convolution adds to."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Residual(FeatureExtractor):
    """A classifier whose convolution is no cut, because what it adds to passes beside it."""

    def __init__(self) -> None:
        network = nn.Sequential(Branch(), nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
        super().__init__(network, layers={"branch": "0.conv", "sum": "0"})


def spec(class_path: str, **init_args: Any) -> Spec:
    return {"class_path": class_path, "init_args": init_args}


def noise(count: int, seed: int = 0, side: int = 8) -> Spec:
    return spec("UniformNoise", count=count, shape=[3, side, side], seed=seed)


TINY = spec("tests.tiny.TinyNet")
CLASSIFIER = spec("tests.tiny.TinyClassifier")
RESIDUAL = spec("tests.readouts.test_refusals.Residual")

# fmt: off
REFUSED = {
    "candidates without the inputs": (
        spec("Identification", extractor=TINY, candidates=noise(5, seed=1)),
        "3 of 3 inputs, such as 'noise_000', are not among the 5 candidates",
    ),
    "too many candidates for the memory": (
        spec("Identification", extractor=TINY), "Features of 3 candidates at layer 'early' take",
    ),
    "training on what is read": (
        spec("LinearDecoder", extractor=TINY, training_data=noise(20)),
        "Input 'noise_000' is also in training_data, as 'noise_000'; take it out",
    ),
    "too little to train on": (
        spec("LinearDecoder", extractor=TINY, training_data=noise(15, seed=1)),
        "training_data has 15 inputs, too few to train on; give at least 16.",
    ),
    "training on another shape": (
        spec("LinearDecoder", extractor=TINY, training_data=noise(20, seed=1, side=16)),
        "training_data has inputs of 3×16×16, but those to be read are 3×8×8; set its size.",
    ),
    "too many features for the memory": (
        spec("LinearDecoder", extractor=TINY, training_data=noise(20, seed=1)),
        "Features of 20 training inputs at layer 'early' take",
    ),
    "a network that is no classifier": (
        spec("ClassReadout", extractor=TINY), "TinyNet is no classifier: it returns 16 × 4 × 4 per input",
    ),
    "a layer that is no cut": (
        spec("ClassReadout", extractor=RESIDUAL),
        "Layer 'branch' of Residual is no cut: the answer also depends on what runs beside it; choose 'sum'",
    ),
    "a label that is no class": (
        spec("ClassReadout", extractor=CLASSIFIER, truth="label"),
        "Input 'noise_000' has no label, but one of the 2 classes '0' to '1' is needed",
    ),
    "too few names of classes": (
        spec("ClassReadout", extractor=CLASSIFIER, classes=["cat"]),
        "model.classes has 1 names, but the network has 2 outputs",
    ),
}
# fmt: on


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished sweep."""
    folder = tmp_path_factory.mktemp("finished")
    assert fit(config(folder, spec("Identification", extractor=TINY)), folder) == 0
    return folder


def config(folder: Path, model: Spec) -> Spec:
    return tiny_config(folder / "out", data=noise(3), sweep={"layers": "all", "batch_size": "auto"}) | {"model": model}


@pytest.mark.parametrize("fault", REFUSED)
def test_it_is_one_sentence_and_nothing_is_lost(
    finished: Path, fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "memory" in fault:
        monkeypatch.setattr(one_pass, "SHARES", dict.fromkeys(one_pass.SHARES, 0.0))
    before = {path: path.read_bytes() for path in (finished / "out").rglob("*.*")}
    capsys.readouterr()
    model, words = REFUSED[fault]
    line = refused(fit(config(finished, model), finished, "--seed_everything", "1"), capsys)
    assert words in line
    assert {path: path.read_bytes() for path in (finished / "out").rglob("*.*")} == before


def test_a_single_candidate_is_nothing_to_tell_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = config(tmp_path, spec("Identification", extractor=TINY)) | {"data": noise(1)}
    assert "There is only one candidate" in refused(fit(alone, tmp_path), capsys)
