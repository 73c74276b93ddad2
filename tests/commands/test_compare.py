"""The command ``compare``, as a user runs it on a tiny network."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from readout import cli
from readout.analysis.similarity import layer_features
from readout.commands.compare import matched_responses
from readout.common.errors import ReadoutError
from readout.data import TextFiles, UniformNoise, load_samples
from readout.extractors import LanguageModel
from readout.metrics import CKA
from tests.helpers import run_cli, tiny_config, write_config
from tests.tiny import TinyNet
from tests.tiny_text import WORDS, save_tiny

COUNT = 12
NAMES = [f"noise_{place:03d}" for place in range(COUNT)]
RESPONSES = np.random.default_rng(0).normal(size=(COUNT, 3))


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"count": COUNT, "shape": [3, 12, 12]}
    config = tiny_config(Path("swept"), data={"init_args": data}, sweep={"layers": "all"})
    write_config(Path("config.yaml"), config)


def compare(*arguments: str) -> int:
    return cli.main(["compare", "--config", "config.yaml", "--resamples", "9", *arguments])


def written(folder: str = "runs/compare") -> pd.DataFrame:
    return pd.read_csv(Path(folder) / "similarity.csv")


def features(layer: str) -> np.ndarray:
    x = torch.stack([sample.input for sample in UniformNoise(COUNT, (3, 12, 12))])
    return TinyNet().extract(x, layer).flatten(1).numpy()


def test_layers_are_compared_with_each_other(tmp_path: Path) -> None:
    done = run_cli("compare", "--config", "config.yaml", "--resamples", "9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"CKA over {COUNT} inputs" in done.stdout
    assert len(written()) == 6
    assert Path("runs/compare/figures/similarity.png").is_file()
    assert compare("--config", "runs/compare/config.yaml", "--output", "again") == 0
    pd.testing.assert_frame_equal(written(), written("again"))


def test_layers_are_compared_with_those_of_another_network(capsys: pytest.CaptureFixture[str]) -> None:
    other = ["--other", "tests.tiny.TinyNet", "--other_layers", "[late, middle]"]
    assert compare(*other, "--measure", "OneToOne", "--units", "100") == 0
    assert "in brackets: band over inputs" in capsys.readouterr().out
    table = written()
    assert table["other"].tolist() == ["middle", "late"] * 3
    same = table[table["layer"] == table["other"]]  # of the same network, with the same units drawn
    assert same["similarity"].tolist() == pytest.approx([1, 1])
    assert compare(*other, "--other.seed", "1") == 0
    assert (written()["similarity"] < 0.999).all()


def test_layers_are_compared_with_responses_to_the_same_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    order = np.random.default_rng(0).permutation(COUNT)[:10]
    noise = np.random.default_rng(1).normal(size=(10, 50))
    responses: dict[str, Any] = {"V1": 2 * features("early")[order] + 1, "noise": noise}
    np.savez("responses.npz", names=[f"{NAMES[place]}.png" for place in order], **responses)
    assert compare("--responses", "responses.npz", "--measure", "CKA", "--measure.debiased", "false") == 0
    assert f"10 of {COUNT} inputs have responses" in capsys.readouterr().out
    values = written().set_index(["layer", "other"])
    assert values["similarity"]["early", "V1"] == pytest.approx(1, abs=1e-5)
    assert values["p"]["early", "V1"] == 0.1
    assert values["similarity"].drop(("early", "V1")).max() < 0.999


def test_sizes_stand_beside(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "--config", "config.yaml", "--data.count", "2", "--trainer.max_steps", "2"]) == 0
    capsys.readouterr()
    assert compare("--sizes", "swept") == 0
    said = capsys.readouterr().out
    assert "ρ with size" in said
    assert "fewer than 4 layers have sizes" in said
    sizes = pd.read_csv("swept/sizes.csv").groupby("layer")["representation_size"].median()
    assert written().groupby("layer")["size"].first().to_dict() == sizes.to_dict()
    assert compare("--sizes", "swept", "--model.extractor.seed", "1") == 2
    assert "are of other weights than those of TinyNet" in capsys.readouterr().err


def test_each_language_model_reads_texts_with_its_own_tokenizer() -> None:
    Path("texts").mkdir()
    for place in range(8):
        Path(f"texts/{place}.txt").write_text(" ".join(WORDS[place : place + 5]), encoding="utf-8")
    networks = [LanguageModel(save_tiny(Path(kind), kind)) for kind in ("llama", "gpt2")]
    init = {"class_path": "readout.extractors.LanguageModel", "init_args": {"weights": "llama"}}
    model = {"class_path": "TextInversion", "init_args": {"extractor": init, "prior": "TokenLogits"}}
    data = {"class_path": "TextFiles", "init_args": {"path": "texts", "max_tokens": 8}}
    write_config(Path("texts.yaml"), {"model": model, "data": data, "sweep": {"layers": ["embeddings"]}})
    other = ("--other", "LanguageModel", "--other.weights", "gpt2", "--other_layers", "embeddings")
    assert cli.main(["compare", "--config", "texts.yaml", "--resamples", "1", *other]) == 0
    samples = [load_samples(TextFiles("texts", max_tokens=8), network) for network in networks]
    sides = [layer_features(*pair, ["embeddings"])["embeddings"] for pair in zip(networks, samples, strict=True)]
    assert written()["similarity"].item() == pytest.approx(CKA()(*sides).item(), abs=1e-5)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"names": [*"abcdefghijkl"], "V1": RESPONSES}, "has one of the names 'noise_000', "),
        ({"names": NAMES, "V1": RESPONSES, "V2": RESPONSES[:5]}, r"'V2' of 'responses.npz' has shape \(5, 3\)"),
    ],
)
def test_responses_that_can_not_be_used_are_refused(arrays: dict[str, Any], words: str) -> None:
    np.savez("responses.npz", **arrays)
    with pytest.raises(ReadoutError, match=words):
        matched_responses("responses.npz", None, NAMES)


def test_repeats_are_averaged_and_a_response_belongs_to_one_input() -> None:
    np.savez("responses.npz", names=NAMES * 2, V1=np.concatenate([RESPONSES + 1, RESPONSES - 1]))
    rows, found = matched_responses("responses.npz", None, NAMES[:5])
    assert rows == NAMES[:5]
    np.testing.assert_allclose(found["V1"], RESPONSES[:5], rtol=1e-5)
    with pytest.raises(ReadoutError, match="is that of two inputs"):
        matched_responses("responses.npz", None, [f"{folder}/{NAMES[0]}" for folder in "ab"])


def test_what_can_not_be_compared_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert compare(*arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    np.savez("responses.npz", names=NAMES, V1=RESPONSES * np.nan)
    assert "3 of 3 targets of 'V1'" in said("--responses", "responses.npz")
    assert "--responses is not set" in said("--mask", "V1")
    assert "both set" in said("--responses", "responses.npz", "--other", "tests.tiny.TinyNet")
    assert "CKA got 2 inputs; give at least 4" in said("--data.count", "2")
    assert "measure: there is no class CAK (did you mean CKA?)" in said("--measure", "CAK")
    assert "There is no option --respones (did you mean --responses?)" in said("--respones", "responses.npz")
