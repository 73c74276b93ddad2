from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from readout import cli, load_results
from readout.common.errors import ReadoutError
from readout.common.padding import PADDING
from readout.extractors import LanguageModel
from readout.perturbations import GaussianPerturbation
from readout.priors.tokens import FREE
from readout.problems import cross
from readout.readouts import ImageInversion, ProblemBatch, TextInversion
from readout.readouts.run import read
from tests.helpers import runtime, tiny_config, write_config
from tests.tiny import TinyNet
from tests.tiny_text import TEXT, save_tiny

KINDS = ["bert", "gpt2", "opt-350m"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: save_tiny(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, folders: dict[str, str]) -> LanguageModel:
    return LanguageModel(folders[request.param])


def texts(model: LanguageModel) -> dict[str, Tensor]:
    """A longer and a shorter text."""
    return {"long": model.frame(model.tokenize(TEXT)[:9]), "short": model.frame(model.tokenize(TEXT)[9:13])}


def run(
    model: LanguageModel,
    names: list[str],
    levels: list[float],
    steps: int = 60,
    layer: str = "layer.1",
    **settings: Any,
) -> tuple[list[dict[str, Any]], list[Tensor]]:
    inversion = TextInversion(model, **settings)
    problems = cross("s", [(name, name) for name in names], layer, levels, draws=1, seed=0)
    trainer = runtime(steps).make_bare_trainer()
    return read(
        inversion, problems, texts(model), GaussianPerturbation(), lambda module: trainer.fit(module, range(steps))
    )


def test_an_unperturbed_text_comes_back(model: LanguageModel) -> None:
    rows, recovered = run(model, ["long"], [0.0], steps=200)
    assert rows[0]["distance"] == 0
    assert torch.equal(recovered[0], texts(model)["long"])
    assert rows[0]["exact_match"] == 1
    assert rows[0]["embedding_cosine"] == pytest.approx(1, abs=1e-6)
    assert rows[0]["loss"] == pytest.approx(0, abs=1e-6)  # that of the tokens, not of the mixture
    assert rows[0]["recovered_text"] == rows[0]["true_text"] == model.decode(texts(model)["long"])
    assert rows[0]["wrong_tokens"] == []


def test_a_texts_result_alone_is_its_result_in_a_padded_batch(model: LanguageModel) -> None:
    together, recovered = run(model, ["long", "short"], [0.0, 0.4])
    alone, recovered_alone = run(model, ["short"], [0.0, 0.4])
    assert recovered[2].shape == texts(model)["short"].shape  # without padding
    assert [text.tolist() for text in recovered[2:]] == [text.tolist() for text in recovered_alone]
    for padded, single in zip(together[2:], alone, strict=True):
        exact = ("distance", "feature_dim", "input_dim", "recovered_text", "steps", "wrong_tokens")
        assert {name: padded[name] for name in exact} == {name: single[name] for name in exact}
        for name in ("floor", "scale", "feature_distance", "loss", "recovered_feature_distance"):
            assert padded[name] == pytest.approx(single[name], rel=1e-4, abs=1e-6), name
        assert padded["trajectory_loss"] == pytest.approx(single["trajectory_loss"], rel=1e-2, abs=1e-5)


def test_special_tokens_are_given_and_not_scored_unless_set_free(folders: dict[str, str]) -> None:
    model = LanguageModel(folders["bert"])
    rows, recovered = run(model, ["short"], [0.0], steps=1)
    ids = texts(model)["short"]
    assert torch.equal(recovered[0][[0, -1]], ids[[0, -1]])
    assert rows[0]["distance"] == (recovered[0] != ids)[1:-1].float().mean()
    rows, recovered = run(model, ["short"], [0.0], steps=1, special_tokens="free")
    assert rows[0]["distance"] == (recovered[0] != ids).float().mean()
    assert not torch.equal(recovered[0][[0, -1]], ids[[0, -1]])


def test_the_number_of_dimensions_leaves_padding_out(folders: dict[str, str]) -> None:
    model = LanguageModel(folders["bert"])
    rows, _ = run(model, ["long", "short"], [0.0], steps=1)
    assert [row["input_dim"] for row in rows] == [11, 6]
    assert [row["feature_dim"] for row in rows] == [11 * 24, 6 * 24]


def test_what_is_scored_of_a_batch(folders: dict[str, str]) -> None:
    inversion = TextInversion(LanguageModel(folders["bert"]))
    ids = torch.tensor([[2, 9, 8, 3, PADDING]])
    assert inversion.signal(ids).tolist() == [[PADDING, 9, 8, PADDING, PADDING]]


def test_of_an_unknown_text_nothing_is_known_but_its_frame(folders: dict[str, str]) -> None:
    inversion = TextInversion(LanguageModel(folders["bert"]))
    ids = torch.tensor([[2, 9, 8, 3, PADDING], [2, FREE, FREE, FREE, 3]])
    batch = ProblemBatch(ids, "layer.0", torch.zeros(2), [0, 1], [0, 1], GaussianPerturbation())
    assert batch.known.tolist() == [True, False]
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [4, 5]
    assert (inversion.signal(ids)[1] == PADDING).all()
    embedded = inversion.embed(ids)
    assert embedded[0].isfinite().all()
    assert embedded[1].isnan().all(1).tolist() == [False, True, True, True, False]
    inversion.load(batch)
    assert inversion.prior.read_out(embedded)[1, [0, -1]].tolist() == [2, 3]
    described = inversion.describe_recovered(1, torch.tensor([2, 9, 8, 7, 3]))
    assert [name for name, value in described.items() if value is None] == ["true_text", "true_tokens", "wrong_tokens"]


def test_texts_and_images_are_told_apart(folders: dict[str, str]) -> None:
    with pytest.raises(ReadoutError, match="TextInversion inverts texts; choose text data"):
        TextInversion(LanguageModel(folders["bert"])).embed(torch.rand(1, 3, 8, 8))
    with pytest.raises(ReadoutError, match="ImageInversion can't invert texts; set the model to TextInversion"):
        ImageInversion(TinyNet()).embed(torch.tensor([[1, 2]]))
    with pytest.raises(ReadoutError, match="special_tokens is 'kept'; choose"):
        TextInversion(LanguageModel(folders["bert"]), special_tokens="kept")  # type: ignore[arg-type]


def test_the_defaults_are_the_papers(folders: dict[str, str]) -> None:
    described = TextInversion(LanguageModel(folders["bert"])).describe()
    assert described["optimizer"]["class"] == "torch.optim.adamw.AdamW"
    assert described["optimizer"]["lr"] == 0.1
    assert "lr_schedule" not in described
    assert described["loss"]["squared_error"] == described["loss"]["cosine"] == 1
    assert described["prior"]["temperature"] == 1
    assert described["prior"]["relaxation"] == "softmax"


# Through the command line


def text_config(weights: str, output: Path, texts: Path) -> dict[str, Any]:
    model = {
        "class_path": "TextInversion",
        "init_args": {"extractor": {"class_path": "LanguageModel", "init_args": {"weights": weights}}},
    }
    return tiny_config(
        output,
        model=model,
        data={"class_path": "TextFiles", "init_args": {"path": str(texts), "per_line": True, "max_tokens": 12}},
        sweep={"layers": "depth:0,1", "levels": [0, 0.5], "output": str(output), "batch_size": 3},
        trainer={"accelerator": "cpu", "devices": 1, "max_steps": 40},
    )


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text(f"{TEXT[:40]}\nthe old man and the cat\n")
    return path


@pytest.mark.usefixtures("reports")
def test_a_sweep_over_texts_leaves_what_one_over_images_does(
    folders: dict[str, str], tmp_path: Path, lines: Path
) -> None:
    config = write_config(tmp_path / "config.yaml", text_config(folders["bert"], tmp_path / "out", lines))
    assert cli.main(["fit", "--config", str(config)]) == 0
    results = load_results(tmp_path / "out")
    assert len(results) == 8
    assert set(results["metric"]) == {"token_error_rate"}
    assert set(results["threshold"]) == {0.3}
    assert set(results["prior"]) == {"TokenLogits"}
    assert results["true_text"].str.contains("cat|dog").all()
    kept = (tmp_path / "out" / "recovered" / "layer.3").rglob("*.txt")
    assert all(text.read_text().startswith("true:      [CLS] the") for text in kept)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<mark title=" in page
    assert "Deep Image Prior" not in page
    # nothing is left to do, and the page is made again
    before = results["key"].tolist()
    assert cli.main(["fit", "--config", str(config)]) == 0
    assert load_results(tmp_path / "out")["key"].tolist() == before
    assert cli.main(["report", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 500}, r"max_tokens is 500, but bert accepts at most 40"),
        ({"path": "nowhere.txt"}, "nowhere.txt"),
        ({"min_tokens": 30, "max_tokens": 40}, "holds no text of 30 tokens or more"),
    ],
)
def test_bad_texts_are_one_sentence(
    folders: dict[str, str],
    tmp_path: Path,
    lines: Path,
    changes: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = text_config(folders["bert"], tmp_path / "out", lines)
    config["data"]["init_args"] |= changes
    path = write_config(tmp_path / "config.yaml", config)
    assert cli.main(["fit", "--config", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.real_weights
def test_the_shipped_configuration_recovers_english_from_bert(tmp_path: Path) -> None:
    arguments = ["--sweep.output", str(tmp_path), "--sweep.layers", "layer.0", "--sweep.levels", "[0, 0.3]"]
    arguments += ["--trainer.max_steps", "120", "--data.count", "1", "--data.max_tokens", "16"]
    assert cli.main(["fit", "--config", "bert_tokens.yaml", *arguments]) == 0
    results = load_results(tmp_path)
    assert results["distance"].tolist() == [0, 0]
    assert set(results["verdict"]) == {"recovered"}
    assert results["recovered_text"].str.startswith("[CLS] ").all()


@pytest.mark.real_weights
def test_the_shipped_configuration_of_a_causal_model_runs(tmp_path: Path) -> None:
    arguments = ["--sweep.output", str(tmp_path), "--sweep.layers", "layer.0", "--sweep.levels", "[0]"]
    arguments += ["--trainer.max_steps", "40", "--data.count", "1", "--data.max_tokens", "8"]
    assert cli.main(["fit", "--config", "causal_tokens.yaml", *arguments]) == 0
    (row,) = load_results(tmp_path, trajectories=True).to_dict("records")
    # forty steps read some of the tokens and bring the loss down
    assert row["distance"] < row["trajectory_distance"][0]
    assert row["trajectory_loss"][-1] < 0.5 * row["trajectory_loss"][0]
    assert row["model"] == "llama"
    assert row["weights"] == "smollm2"


@pytest.mark.parametrize(("kind", "owner"), [("bert", "BERT"), ("gpt2", "GPT2"), ("opt-350m", "OPT")])
def test_the_papers_configuration_takes_every_family(
    folders: dict[str, str], tmp_path: Path, lines: Path, kind: str, owner: str
) -> None:
    extractor = ["--model.extractor", owner, "--model.extractor.weights", folders[kind]]
    data = ["--data", "TextFiles", "--data.path", str(lines), "--data.limit", "1", "--data.max_tokens", "12"]
    small = ["--trainer.max_steps", "3", "--sweep.levels", "[0, 0.99]", "--sweep.output", str(tmp_path / "out")]
    configs = ["--config", "bert_tokens.yaml", "--config", "text_paper.yaml"]
    assert cli.main(["fit", *configs, *extractor, *data, *small]) == 0
    results = load_results(tmp_path / "out")
    assert set(results["layer"]) == {"embeddings", *(f"layer.{block}" for block in range(4))}
    assert set(results["model"]) == {owner}
    assert set(results["protocol"]) == {"paper"}
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["model"]["init_args"]
    assert config["optimizer"]["init_args"]["lr"] == 0.1
    assert config["lr_schedule"] is None
