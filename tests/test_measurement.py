from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import readout
from readout import cli
from readout.common.errors import ReadoutError
from readout.data import UniformNoise
from readout.data.images import read_image, to_pixels
from readout.extractors import FeatureExtractor
from readout.priors import Pixels
from readout.readouts import ClassReadout, Identification, ImageInversion, LinearDecoder, Readout
from readout.representation import linear_distance
from tests.helpers import CPU, write_noise_images
from tests.tiny import TinyClassifier, TinyNet

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
QUICK: dict[str, Any] = {"levels": [0, 0.5], "steps": 5, "trainer": CPU, "prior": Pixels(), "lr": 0.05}


def test_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    measured = readout.measure(TinyNet(), IMAGES, layers=["early", "late"], **QUICK)
    assert len(measured.problems) == 2 * 2 * 2
    assert measured.sizes[["layer", "sample"]].to_numpy().tolist() == [
        [layer, sample] for layer in ("early", "late") for sample in ("image_000", "image_001")
    ]
    assert measured.output is None
    assert set(measured.recovered) == set(measured.problems["key"])
    torch.testing.assert_close(measured.inputs["image_001"], IMAGES[1])
    assert "image_000" in measured._repr_html_()
    first, names, *_ = repr(measured).splitlines()
    assert first == "Measurement of 8 inversions; sizes:"
    assert names.split() == ["layer", "early", "late"]
    printed = capsys.readouterr().out
    assert "8/8 inversions" in printed
    assert "report" not in printed
    assert capsys.readouterr().out == ""


def test_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    readout.measure(TinyNet(), IMAGES[:1], layers="early", progress=False, **QUICK)
    assert capsys.readouterr().out == ""


def test_a_notebook_has_a_bar_that_redraws_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    readout.measure(TinyNet(), IMAGES[:1], layers="early", **QUICK)
    printed = capsys.readouterr().out
    assert "\r" in printed
    assert "100%" in printed
    assert "2/2 inversions" in printed


@pytest.mark.usefixtures("reports")
def test_a_kept_folder_is_gone_on_from(tmp_path: Path) -> None:
    first = readout.measure(TinyNet(), IMAGES, layers="early", output=tmp_path / "out", **QUICK)
    parts = {part: part.stat().st_mtime_ns for part in (tmp_path / "out" / "results").iterdir()}
    again = readout.measure(TinyNet(), IMAGES, layers="early", output=tmp_path / "out", **QUICK)
    assert {part: part.stat().st_mtime_ns for part in (tmp_path / "out" / "results").iterdir()} == parts
    assert again.problems["key"].tolist() == first.problems["key"].tolist()
    assert (tmp_path / "out" / "report.html").is_file()
    assert readout.load_results(tmp_path / "out")["key"].tolist() == first.problems["key"].tolist()


def test_a_report_that_is_made_again_has_the_same_sizes(tmp_path: Path) -> None:
    asked = {**QUICK, "layers": "early", "estimator": "crossing", "threshold": 0.4}
    measured = readout.measure(TinyNet(), IMAGES, output=tmp_path / "out", **asked)
    written = (tmp_path / "out" / "sizes.csv").read_text()
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "sizes.csv").read_text() == written
    assert set(measured.sizes["estimator"]) == {"crossing"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"estimator": "best"}, "choose 'max', 'contiguous' or 'crossing'"),
        ({"search": "luck"}, "'grid' or 'bisection'"),
    ],
)
def test_choices_that_there_are_not(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        readout.measure(TinyNet(), IMAGES, layers="early", **QUICK, **asked)


def test_a_plain_module_stays_as_it_is_and_is_measured_by_module_path() -> None:
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Dropout(), nn.Conv2d(4, 4, 3))
    module.train()
    quick = QUICK | {"levels": [0]}
    by_leaf = readout.measure(module, IMAGES[:1], layers="all", **quick)
    assert by_leaf.sizes["layer"].tolist() == ["0.0", "0.1", "1", "2"]
    assert by_leaf.problems["model"].unique().tolist() == ["Sequential"]
    by_path = readout.measure(module, IMAGES[:1], layers=["0"], **quick)
    assert by_path.sizes["layer"].tolist() == ["0"]
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    with pytest.raises(ReadoutError, match=r"Sequential has no submodule '0.2'. Did you mean"):
        readout.measure(module, IMAGES, layers=["0.2"], **quick)


def test_layers_of_a_plain_module_come_in_the_order_in_which_they_run() -> None:
    class HeadFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.conv = nn.Linear(4 * 4 * 4, 5), nn.Conv2d(3, 4, 4, 4)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.head(self.conv(x).flatten(1))
            return scores

    measured = readout.measure(HeadFirst().bfloat16(), IMAGES[:1], progress=False, **QUICK)
    by_layer = measured.problems.groupby("layer")["layer_index"].first()
    assert by_layer.to_dict() == {"conv": 0, "head": 1}
    # of files, those sizes are tried that the network might take: here the head wants 16 pixels, which none of them is
    with pytest.raises(ReadoutError, match="HeadFirst can't be run on images of 28 to 512 pixels"):
        readout.measure(HeadFirst(), [Image.new("RGB", (20, 20))], **QUICK)


@pytest.mark.parametrize("kind", ["folder", "paths", "pil", "one path"])
def test_images_of_every_kind(tmp_path: Path, kind: str) -> None:
    write_noise_images(tmp_path, 20)
    paths = sorted(tmp_path.glob("*.png"))
    images: Any = {
        "folder": tmp_path,
        "paths": paths,
        "pil": [Image.fromarray(to_pixels(read_image(path))) for path in paths],
        "one path": str(paths[0]),
    }[kind]
    measured = readout.measure(TinyNet(), images, layers="early", size=16, progress=False, **QUICK)
    names = {"pil": ["image_000", "image_001"], "one path": ["0.png"]}.get(kind, ["0.png", "1.png"])
    assert list(measured.inputs) == names
    assert {tuple(x.shape) for x in measured.inputs.values()} == {(3, 16, 16)}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[0], r"shape \(3, 16, 16\)"),
        (IMAGES.mul(255).byte(), "uint8 values"),
        (IMAGES * 255, r"scale images to \[0, 1\]"),
        (IMAGES.permute(0, 2, 3, 1), r"channels last; pass images\.permute\(0, 3, 1, 2\)"),
        ([], "a folder, or a list"),
        ([3], "image_000 is a int"),
        ("nowhere", "There is no folder 'nowhere'"),
    ],
)
def test_images_that_are_none(images: Any, words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        readout.measure(TinyNet(), images, layers="early", **QUICK)


def test_a_model_that_is_none() -> None:
    with pytest.raises(ReadoutError, match="The model is a str; give a network"):
        readout.measure("vgg19", IMAGES)  # type: ignore[arg-type]


def test_a_readout_of_ones_own() -> None:
    inversion = ImageInversion(TinyNet(), Pixels(), metrics=[])
    measured = readout.measure(inversion.extractor, IMAGES, "early", readout=inversion, progress=False, **QUICK)
    assert measured.problems["prior"].unique().tolist() == ["Pixels"]
    assert "ssim" not in measured.problems


@pytest.mark.parametrize("kind", ["class", "candidate", "input"])
def test_a_readout_in_one_pass_needs_no_steps(kind: str) -> None:
    readouts: dict[str, Readout] = {
        "class": ClassReadout(TinyClassifier()),
        "candidate": Identification(TinyNet()),
        "input": LinearDecoder(TinyNet(), UniformNoise(24, (3, 8, 8), seed=9)),
    }
    images = IMAGES[:, :, :8, :8]
    measured = readout.measure(None, images, "depth:0", [0, 0.5], readout=readouts[kind], trainer=CPU, progress=False)
    assert measured.problems["signal"].unique().tolist() == [kind]
    assert measured.problems["steps"].tolist() == [0] * 4
    assert len(measured.sizes) == 2
    assert all(0 <= one.min() <= one.max() <= 1 for one in measured.recovered.values())
    assert {one.numel() for one in measured.recovered.values()} == {3 * 8 * 8 if kind == "input" else 1}


def test_one_readout_measures_images_of_several_sizes() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    made = ClassReadout(FeatureExtractor(network, layers={"conv": "0"}))
    for side in (16, 8):
        images = IMAGES[:, :, :side, :side]
        measured = readout.measure(None, images, "conv", [0], readout=made, trainer=CPU, progress=False)
        assert measured.problems["distance"].tolist() == [0, 0]


def test_the_linear_closed_form() -> None:
    from readout.extractors import OrthonormalLinear

    def newton(parameters: Any) -> torch.optim.SGD:
        return torch.optim.SGD(parameters, lr=8 * 3 * 16 * 16 / 2)

    images: Tensor = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    network = OrthonormalLinear((3, 16, 16), expansion=8)
    inversion = ImageInversion(network, Pixels(clamp=False), optimizer=newton, lr_schedule=None)
    measured = readout.measure(network, images, levels=[0, 0.5], readout=inversion, steps=3, trainer=CPU)
    means = measured.problems.groupby("level")["distance"].mean()
    assert means[0.5] == pytest.approx(float(linear_distance(0.5, 8)), abs=0.02)
