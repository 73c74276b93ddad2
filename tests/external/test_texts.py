"""Texts out of features, with answers that are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from readout import cli, load_results
from readout.common.errors import ReadoutError
from readout.external.collect import Found
from readout.external.joined import extract_several
from readout.external.texts import as_text_features, true_texts, unknown_text
from readout.extractors import LanguageModel
from readout.priors.tokens import FREE
from readout.readouts import MeanSquaredErrorAndCosine, TextInversion
from readout.representation import verdict
from readout.store import ResultStore
from tests.external.test_files import save
from tests.helpers import tiny_config, write_config
from tests.test_cli import refused
from tests.tiny_text import MAX_TOKENS, TEXT, WIDTH, save_tiny

LAYER = "layer.1"
STEPS = 150


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: save_tiny(tmp_path_factory.mktemp(kind), kind) for kind in ("bert", "gpt2")}


@pytest.fixture(scope="module")
def bert(folders: dict[str, str]) -> LanguageModel:
    return LanguageModel(folders["bert"])


def texts(model: LanguageModel) -> dict[str, Tensor]:
    """A longer and a shorter text."""
    return {"long": model.frame(model.tokenize(TEXT)[:9]), "short": model.frame(model.tokenize(TEXT)[9:13])}


def features(model: LanguageModel, *layers: str, noise: float = 0.0) -> dict[str, dict[str, NDArray[Any]]]:
    """Layer → text → feature, moved by noise."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, dict[str, NDArray[Any]]] = {layer: {} for layer in layers}
    with torch.no_grad():
        for name, ids in texts(model).items():
            for layer, (feature,) in extract_several(model, model.embed(ids[None]), layers).items():
                moved = feature + noise * feature.std() * torch.randn(feature.shape, generator=generator)
                found[layer][name] = moved.numpy()
    return found


def config(folder: Path, weights: str, model: str = "TextInversion", **settings: Any) -> Path:
    extractor = {"class_path": "LanguageModel", "init_args": {"weights": weights}}
    inversion = {"class_path": model, "init_args": {"extractor": extractor, **settings}}
    whole = tiny_config(folder / "fit", trainer={"max_steps": STEPS}) | {"model": inversion}
    return write_config(folder / "text.yaml", whole)


def invert(config: Path, *more: str | Path) -> int:
    output = [] if "--output" in more else ["--output", str(config.parent / "out")]
    return cli.main(["invert", "--config", str(config), *map(str, more), *output])


def recovered(folder: Path) -> dict[str, list[int]]:
    results = load_results(folder)
    tensors = ResultStore(folder).load_recovered(results["key"])
    return {sample: tensors[key].tolist() for sample, key in zip(results["sample"], results["key"], strict=True)}


def write_texts(folder: Path, model: LanguageModel, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        ids = texts(model)[name]
        (folder / f"{name}.txt").write_text(model.decode(ids[~model.is_special(ids)]) + "\n")
    return folder


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_texts_come_back_from_features_that_nothing_moved(
    tmp_path: Path, folders: dict[str, str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = LanguageModel(folders[kind])
    path = save(tmp_path / "decoded.npz", features(model, LAYER)[LAYER])
    assert invert(config(tmp_path, folders[kind]), "--features", path, "--layer", LAYER) == 0
    out, whole = tmp_path / "out", {name: ids.tolist() for name, ids in texts(model).items()}
    assert recovered(out) == whole
    results = load_results(out).set_index("sample")
    assert results["input_dim"].to_dict() == {name: len(ids) for name, ids in whole.items()}
    assert results["feature_dim"].to_dict() == {name: len(ids) * WIDTH for name, ids in whole.items()}
    assert results["loss"].abs().max() < 1e-6
    assert results[f"target_distance.{LAYER}"].max() < 1e-6
    for name in ("distance", "best_distance", "floor", "scale", "feature_distance", "recovered_feature_distance"):
        assert results[name].isna().all(), name
    unknown = ("verdict", "exact_match", "embedding_cosine", "true_text", "true_tokens", "wrong_tokens")
    assert results[[*unknown, f"feature_distance.{LAYER}"]].isna().all().all()
    said = {name: model.decode(torch.tensor(ids)) for name, ids in whole.items()}
    assert results["recovered_text"].to_dict() == said
    for name, text in said.items():
        assert (out / "recovered" / LAYER / f"{name}.txt").read_text() == f"recovered: {text}\n"
    table = pd.read_csv(out / "recovered.csv")
    assert table["recovered_text"].tolist() == list(said.values())
    assert not {"true_text", "recovered_tokens", "distance", "verdict", "exact_match"} & set(table.columns)
    printed = capsys.readouterr().out
    assert "2, 0 with a true input" in printed
    assert "to be recovered: " in printed
    assert all(text in printed for text in said.values())


@pytest.mark.parametrize("special", ["known", "free"])
def test_a_known_truth_brings_scores_and_changes_nothing_that_is_recovered(
    tmp_path: Path, bert: LanguageModel, folders: dict[str, str], special: str
) -> None:
    path = save(tmp_path / "decoded.npz", features(bert, LAYER, noise=1.5)[LAYER])
    settings = config(tmp_path, folders["bert"], special_tokens=special)
    given: list[str | Path] = ["--features", path, "--layer", LAYER]
    true = write_texts(tmp_path / "true", bert, "long")
    assert invert(settings, *given, "--output", tmp_path / "unknown") == 0
    assert invert(settings, *given, "--true", true, "--output", tmp_path / "known") == 0
    assert invert(settings, *given, "--true", true / "long.txt", "--output", tmp_path / "file") == 0
    unknown, known, file = (load_results(tmp_path / name, trajectories=True) for name in ("unknown", "known", "file"))
    assert recovered(tmp_path / "unknown") == recovered(tmp_path / "known") == recovered(tmp_path / "file")
    for name in ("loss", f"loss.{LAYER}", f"target_distance.{LAYER}"):
        assert unknown[name].tolist() == known[name].tolist() == file[name].tolist()
    for before, after in zip(unknown["trajectory_loss"], known["trajectory_loss"], strict=True):
        assert before.tolist() == after.tolist()
    of_long, of_short = known.to_dict("records")
    assert (of_long["sample"], of_short["sample"]) == ("long", "short")
    ids, found = texts(bert)["long"], torch.tensor(recovered(tmp_path / "known")["long"])
    scored = slice(1, -1) if special == "known" else slice(None)
    rate = (ids != found)[scored].float().mean().item()
    assert 0 < rate < 1  # the noise must do something
    assert of_long["distance"] == pytest.approx(rate)
    clean, moved = (torch.from_numpy(features(bert, LAYER, noise=noise)[LAYER]["long"])[None] for noise in (0, 1.5))
    assert of_long["floor"] == pytest.approx(MeanSquaredErrorAndCosine()(clean, moved).item(), rel=1e-5)
    judged = {name: of_long[name] for name in ("distance", "loss", "floor", "scale")}
    assert of_long["verdict"] == verdict(**judged, threshold=0.3)
    assert of_long["wrong_tokens"].tolist() == (ids != found).nonzero().flatten().tolist()
    assert of_long["true_text"] == bert.decode(ids)
    assert np.isnan([of_short["distance"], of_short["floor"], of_short["exact_match"]]).all()
    assert of_short["verdict"] is None or np.isnan(of_short["verdict"])
    assert f"true:      {of_long['true_text']}\n" in (tmp_path / "known/recovered" / LAYER / "long.txt").read_text()


def test_a_text_s_answer_does_not_depend_on_what_shares_its_batch(
    tmp_path: Path, bert: LanguageModel, folders: dict[str, str]
) -> None:
    both = features(bert, LAYER, noise=0.5)[LAYER]
    settings = config(tmp_path, folders["bert"])
    for name, arrays in {"together": both, "alone": {"short": both["short"]}}.items():
        path = save(tmp_path / f"{name}.npz", arrays)
        assert invert(settings, "--features", path, "--layer", LAYER, "--output", tmp_path / name) == 0
    assert recovered(tmp_path / "together")["short"] == recovered(tmp_path / "alone")["short"]
    together = load_results(tmp_path / "together").set_index("sample").loc["short"]
    alone = load_results(tmp_path / "alone").iloc[0]
    for name in ("loss", f"loss.{LAYER}", f"target_distance.{LAYER}"):
        assert together[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-6)


def test_layers_are_summed_and_padding_enters_none(
    tmp_path: Path, bert: LanguageModel, folders: dict[str, str]
) -> None:
    layers = ("layer.0", "layer.2")
    found = features(bert, *layers, noise=0.3)
    for layer, arrays in found.items():
        (tmp_path / "decoded" / layer).mkdir(parents=True)
        for name, values in arrays.items():
            np.save(tmp_path / "decoded" / layer / f"{name}.npy", values)  # type: ignore[arg-type]
    settings = config(tmp_path, folders["bert"])
    given: list[str | Path] = ["--features", tmp_path / "decoded"]
    assert invert(settings, *given, "--output", tmp_path / "both") == 0
    assert invert(settings, *given, "--layer_weights", "{layer.0: 0}", "--output", tmp_path / "weighted") == 0
    assert invert(settings, *given, "--layer", "layer.2", "--output", tmp_path / "alone") == 0
    assert invert(settings, *given, "--layer_weights", "balanced", "--output", tmp_path / "balanced") == 0
    whole = {name: ids.tolist() for name, ids in texts(bert).items()}
    assert recovered(tmp_path / "both") == recovered(tmp_path / "balanced") == whole
    both, weighted, alone = (load_results(tmp_path / name) for name in ("both", "weighted", "alone"))
    # loss.LAYER is that of the text by itself, without padding
    np.testing.assert_allclose(both["loss"], both["loss.layer.0"] + both["loss.layer.2"], rtol=1e-5)
    np.testing.assert_allclose(weighted["loss"], weighted["loss.layer.2"], rtol=1e-5)
    np.testing.assert_allclose(alone["loss"], alone["loss.layer.2"], rtol=1e-5)
    assert both["feature_dim"].tolist() == [2 * WIDTH * len(ids) for ids in whole.values()]


def test_a_search_token_by_token_reads_given_features(tmp_path: Path, folders: dict[str, str]) -> None:
    model = LanguageModel(folders["gpt2"])
    path = save(tmp_path / "decoded.npz", features(model, LAYER)[LAYER])
    settings = config(tmp_path, folders["gpt2"], "TokenSearch")
    assert invert(settings, "--features", path, "--layer", LAYER) == 0
    assert recovered(tmp_path / "out") == {name: ids.tolist() for name, ids in texts(model).items()}
    results = load_results(tmp_path / "out", trajectories=True)
    assert results["loss"].max() < 1e-9
    assert results["distance"].isna().all()
    assert pd.isna(np.concatenate(results["trajectory_distance"].tolist())).all()


def test_a_search_token_by_token_wants_one_layer(
    tmp_path: Path, folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = features(LanguageModel(folders["gpt2"]), "layer.0", "layer.1")
    path = save(tmp_path / "decoded.npz", {layer: of_layer["long"] for layer, of_layer in found.items()})
    capsys.readouterr()
    settings = config(tmp_path, folders["gpt2"], "TokenSearch")
    assert "TokenSearch reads one layer; name it with --layer" in refused(invert(settings, "--features", path), capsys)


def test_the_report_is_made_again_from_disk_alone(tmp_path: Path, bert: LanguageModel, folders: dict[str, str]) -> None:
    path = save(tmp_path / "decoded.npz", features(bert, LAYER, noise=1.5)[LAYER])
    true = write_texts(tmp_path / "true", bert, "long")
    settings = config(tmp_path, folders["bert"])
    assert invert(settings, "--features", path, "--layer", LAYER, "--true", true, "--trainer.max_steps", "5") == 0
    page = tmp_path / "out" / "report.html"
    before = page.read_text()
    page.unlink()
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert page.read_text() == before


def found(values: NDArray[Any], layer: str = LAYER, name: str = "cat") -> Found:
    return Found(f"'{name}' of 'f.npz'", layer, name, values)


VALUES = np.random.default_rng(0).random((3, 7, WIDTH)).astype(np.float32)


@pytest.mark.parametrize(("values", "count"), [(VALUES[0], 1), (VALUES[:1], 1), (VALUES, 3)])
def test_one_text_or_several_of_one_length(bert: LanguageModel, values: NDArray[Any], count: int) -> None:
    given = as_text_features([found(values)], {LAYER: WIDTH}, TextInversion(bert))
    assert [*given] == (["cat"] if count == 1 else ["cat_000", "cat_001", "cat_002"])
    for row, of_layers in enumerate(given.values()):
        torch.testing.assert_close(of_layers[LAYER], torch.from_numpy(VALUES[row]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (VALUES[0, :, :20], r"has shape 7 × 20, but layer.1 of bert .* gives tokens × 24 for a text \(several of"),
        (VALUES[0].T, r"has shape 24 × 7, .*; save `array.transpose\(1, 0\)`"),
        (VALUES.transpose(0, 2, 1), r"save `array.transpose\(0, 2, 1\)`"),
        (VALUES[0, 0], "has shape 24, but"),
        (np.resize(VALUES, (MAX_TOKENS + 1, WIDTH)), f"has 41 tokens, but bert .* takes at most {MAX_TOKENS}"),
        (VALUES[0, :2], "'cat' has no tokens beyond the special ones"),
        (VALUES[0, :1], "'cat' has no tokens beyond the special ones"),
        (VALUES[0, :0], "is empty"),
        (np.full((7, WIDTH), np.nan, dtype=np.float32), "168 of 168 values"),
    ],
)
def test_what_is_no_feature_of_a_text(bert: LanguageModel, values: NDArray[Any], words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        as_text_features([found(values)], {LAYER: WIDTH}, TextInversion(bert))


def test_layers_of_a_text_have_its_tokens_each(bert: LanguageModel) -> None:
    both = [found(VALUES[0], "layer.0"), found(VALUES[0, :6])]
    with pytest.raises(ReadoutError, match=r"'cat' differ in their number of tokens \(7 in layer.0, 6 in layer.1\)"):
        as_text_features(both, {"layer.0": WIDTH, LAYER: WIDTH}, TextInversion(bert))


def test_of_an_unknown_text_its_frame_is_known_unless_it_is_free(bert: LanguageModel) -> None:
    start, end = bert.frame(torch.empty(0, dtype=torch.long)).tolist()
    assert unknown_text(TextInversion(bert), 5).tolist() == [start, FREE, FREE, FREE, end]
    assert unknown_text(TextInversion(bert, special_tokens="free"), 2).tolist() == [FREE, FREE]


class TestTrueTexts:
    """Found by name, and exactly as long as their features."""

    @staticmethod
    def read(path: Path, model: LanguageModel, special: Any = "known", **lengths: int) -> dict[str, Tensor]:
        given = {name: {LAYER: torch.zeros(length, WIDTH)} for name, length in lengths.items()}
        return true_texts(str(path), given, TextInversion(model, special_tokens=special))

    def test_by_name(self, tmp_path: Path, bert: LanguageModel) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "cat.txt").write_text("a small cat\n")
        (tmp_path / "other.txt").write_bytes(b"\xff\xfe no feature is called so")
        read = self.read(tmp_path, bert, cat=5, dog=4)
        assert {name: bert.decode(ids) for name, ids in read.items()} == {"cat": "[CLS] a small cat [SEP]"}

    @pytest.mark.parametrize(
        ("files", "length", "words"),
        [
            ({"cat.txt": "a small cat"}, 6, "'cat' has 5 tokens, special ones included, but its feature has 6; give"),
            ({"cat.txt": "a [SEP] cat"}, 5, "holds a special token"),
            ({"dog.txt": "a small dog"}, 5, "has one of the names 'cat', so give .* cat.txt"),
            ({"cat.txt": "a", "deep/cat.txt": "a"}, 3, "Two texts in .* are named 'cat'"),
            ({"cat.md": "a"}, 3, "holds no .txt files"),
        ],
    )
    def test_what_is_refused(
        self, tmp_path: Path, bert: LanguageModel, files: dict[str, str], length: int, words: str
    ) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        with pytest.raises(ReadoutError, match=words):
            self.read(tmp_path, bert, cat=length)

    def test_a_special_token_in_the_text_is_one_to_find_where_they_are_free(
        self, tmp_path: Path, bert: LanguageModel
    ) -> None:
        (tmp_path / "cat.txt").write_text("a [SEP] cat")
        assert [*self.read(tmp_path / "cat.txt", bert, "free", cat=5)] == ["cat"]


def test_the_side_of_images_means_nothing_for_texts(
    tmp_path: Path, bert: LanguageModel, folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "decoded.npz", features(bert, LAYER)[LAYER])
    capsys.readouterr()
    settings = config(tmp_path, folders["bert"])
    line = refused(invert(settings, "--features", path, "--layer", LAYER, "--size", "32"), capsys)
    assert "--size is for images" in line
