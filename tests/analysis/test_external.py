"""The page of features that were given."""

import html
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console

from readout import cli, load_results
from readout.analysis.external import losses, print_external
from readout.data.images import write_png
from readout.extractors import LanguageModel
from tests.analysis.chromium import Look, needs_chromium
from tests.analysis.helpers import make_results
from tests.helpers import tiny_config, write_config
from tests.tiny import TinyNet
from tests.tiny_text import TEXT, save_tiny

NARROW = 400
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two features, one with its true input; names that could be markup."""
    folder = tmp_path_factory.mktemp("images")
    features = TinyNet().extract(IMAGES, "early").numpy()
    (folder / "true").mkdir()
    write_png(IMAGES[0], folder / "true" / "cat.png")
    return predicted(folder, {"cat": features[0], "a <b>": features[1]}, "early")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of texts, so far off that tokens are wrong, and one as long as the model takes."""
    folder = tmp_path_factory.mktemp("texts")
    weights = save_tiny(folder / "bert")
    model = LanguageModel(weights)
    (folder / "true").mkdir()
    arrays: dict[str, NDArray[np.float32]] = {}
    generator = torch.Generator().manual_seed(0)
    for name, ids in {"cat": model.tokenize(TEXT)[:6], "dog": model.tokenize(f"{TEXT} {TEXT}")[:38]}.items():
        with torch.no_grad():
            feature = model.extract(model.embed(model.frame(ids)[None]), "layer.1")[0]
        arrays[name] = (feature + 2 * torch.randn(feature.shape, generator=generator)).numpy()
    (folder / "true" / "cat.txt").write_text(model.decode(model.tokenize(TEXT)[:6]))
    bert = {"class_path": "BERT", "init_args": {"weights": weights}}
    return predicted(folder, arrays, "layer.1", model={"class_path": "TextInversion", "init_args": {"extractor": bert}})


def predicted(folder: Path, arrays: dict[str, NDArray[np.float32]], layer: str, **sections: object) -> Path:
    """The page of some features."""
    np.savez(folder / "decoded.npz", **arrays)  # type: ignore[arg-type]
    config = write_config(folder / "config.yaml", tiny_config(folder / "fit") | sections)
    given = ["--features", str(folder / "decoded.npz"), "--layer", layer, "--true", str(folder / "true")]
    assert cli.main(["invert", "--config", str(config), *given, "--output", str(folder / "out")]) == 0
    return folder / "out" / "report.html"


def plain(page: Path) -> str:
    """Without figures and settings."""
    return re.sub(r"<svg.*?</svg>|<details>.*?</details>|<style>.*?</style>", "", page.read_text(), flags=re.S)


@pytest.mark.parametrize("of", ["images", "texts"])
def test_the_page_needs_nothing_but_itself(of: str, request: pytest.FixtureRequest) -> None:
    page = plain(request.getfixturevalue(of))
    assert all(address.startswith("data:image/") for address in re.findall(r'src="([^"]*)"', page))
    assert "href=" not in page
    assert not re.search(r"https?://", page)
    assert not re.search(r"\b(nan|None)\b", re.sub(r"data:[^\"]*", "", page))


def test_texts_stand_beside_the_true_ones_with_wrong_tokens_marked(texts: Path) -> None:
    page = plain(texts)
    cat, dog = re.findall(r'<dl class="pair">(.*?)</dl>', page, flags=re.S)
    assert len(re.findall(r'<mark title="true: \w+">', cat)) > 0
    assert html.escape("[CLS] the quick dog ran over the [SEP]") in cat
    assert "<dt>true</dt>" not in dog
    assert "<mark" not in dog
    assert "[SEP]" in dog
    assert "Wrong tokens are marked" in page
    assert "data:image" not in page


def test_the_page_speaks_of_what_was_given(images: Path) -> None:
    page = plain(images)
    assert "The external feature fits another input as well." in page
    assert "level" not in page
    assert "Moved" not in page
    (known,) = (card for card in re.findall(r'<div class="card">.*?</dl>', page, flags=re.S) if ">cat<" in card)
    row = pd.read_csv(images.parent / "recovered.csv").set_index("sample").loc["cat"]
    assert (
        f"d_H {row['target_distance.early']:.3f}; the decoder's own error {row['feature_distance.early']:.3f}" in known
    )
    assert f"d_X is below {row['threshold']:g}" in page
    assert "the first" not in page
    assert "are shown" not in page  # none of the features is missing


def test_the_page_says_of_which_loss_it_speaks(texts: Path, images: Path) -> None:
    assert "The loss is that of the recovered tokens" in plain(texts)
    assert "the optimised mixture of tokens" in plain(texts)
    assert "tokens" not in plain(images)


def test_candidates_are_called_by_name_and_have_no_losses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = TinyNet().extract(IMAGES, "early").numpy()
    for name, image in zip(("cat", "dog"), IMAGES, strict=True):
        for folder in ("candidates", "true")[: 1 + (name == "cat")]:
            (tmp_path / folder).mkdir(exist_ok=True)
            write_png(image, tmp_path / folder / f"{name}.png")
    data = {"class_path": "ImageFolder", "init_args": {"folder": str(tmp_path / "candidates"), "size": 16}}
    model = {"extractor": {"class_path": "tests.tiny.TinyNet"}, "candidates": data}
    arrays = {"cat": features[0], "unknown": features[1]}
    page = predicted(tmp_path, arrays, "early", model={"class_path": "Identification", "init_args": model})
    assert re.findall(r'<span>([^<]+)<br><span class="sub">recovered</span>', plain(page)) == ["cat.png", "dog.png"]
    assert "TinyNet (own) · early · Identification · 2 features, 1 with a true input" in plain(page)
    assert not re.search(r"\b(nan|None)\b|[Aa]long the optimisation|<dt>loss", re.sub(r"data:[^\"]*", "", plain(page)))
    printed = capsys.readouterr().out
    assert re.search(r"cat .* 0\.000 .* recovered .* cat\.png", printed)
    assert re.search(r"unknown .* – .* – .* dog\.png", printed)
    assert {"recovered_sample", "rank", "chance", "feature_distance.early"} <= {
        *pd.read_csv(page.parent / "recovered.csv")
    }


def test_curves_that_are_left_out_are_counted(tmp_path: Path) -> None:
    features = TinyNet().extract(torch.rand(11, 3, 16, 16), "early").numpy()
    (tmp_path / "true").mkdir()
    write_png(IMAGES[0], tmp_path / "true" / "f00.png")
    page = predicted(tmp_path, {f"f{place:02d}": feature for place, feature in enumerate(features)}, "early")
    assert "; the first 10 of 11 features." in plain(page)
    axes = losses(load_results(page.parent, trajectories=True))
    colours = [line.get_color() for line in axes.lines if line.get_linestyle() == "-"]
    assert len({*colours}) == len(colours) == 10


def test_long_texts_are_printed_in_full(texts: Path) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    results = load_results(texts.parent)
    print_external(results, console)
    printed = console.export_text()
    assert "…" not in printed
    (unknown,) = results.loc[results["distance"].isna(), "recovered_text"]
    assert set(unknown.split()) <= set(re.sub(r"[│┃]", " ", printed).split())


def test_losses_that_are_all_0_are_drawn() -> None:
    results = make_results({("early", "cat"): (0.0, 0.1)}, floor=float("nan"))
    assert losses(results).get_yscale() == "log"
    results["trajectory_loss"] = [[0.0, 0.0, 0.0]] * 2
    assert losses(results).get_yscale() == "linear"


@needs_chromium
@pytest.mark.parametrize("width", [None, NARROW])
def test_images_in_chromium(images: Path, look: Look, width: int | None) -> None:
    seen = look(images, 'return {width: innerWidth, figures: seen("figure svg").length}', width=width)
    assert seen["width"] == (width or 1000)
    assert seen["pictures"] == seen["loaded"] == 3
    assert seen["figures"] == 1
    assert (seen["outside"], seen["overflow"], seen["unnamed"], seen["headless"]) == ([], 0, 0, 0)


@needs_chromium
@pytest.mark.parametrize("width", [None, NARROW])
def test_texts_in_chromium(texts: Path, look: Look, width: int | None) -> None:
    steps = """return {
      width: innerWidth,
      texts: seen("#features .text").map((one) => one.textContent),
      marks: seen("#features mark").length,
      beyond: all("#features *").filter((one) => one.getBoundingClientRect().right > innerWidth).length,
      cards: all("#features .card").map((one) => one.getBoundingClientRect().top),
    }"""
    seen = look(texts, steps, width=width)
    assert seen["width"] == (width or 1000)
    assert len(seen["texts"]) == 3
    assert all(text.startswith("[CLS]") and text.endswith("[SEP]") for text in seen["texts"])
    assert seen["texts"][1] == "[CLS] the quick dog ran over the [SEP]"
    assert seen["marks"] > 0
    assert seen["beyond"] == 0
    assert len({*seen["cards"]}) == (2 if width else 1)  # below each other where there is no room
    assert (seen["outside"], seen["overflow"], seen["unnamed"], seen["headless"]) == ([], 0, 0, 0)
