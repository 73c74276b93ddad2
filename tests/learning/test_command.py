"""The command ``learn``, as a user runs it."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from readout import cli, load_results, measure
from readout.codes import LayerCoder, OnePass, OrthonormalDictionary, StoredDictionary
from readout.data import UniformNoise
from readout.extractors import OrthonormalLinear
from readout.learning import AlternatingLearner, SparseAutoencoder
from readout.priors import Pixels
from readout.sweep.checkpoints import Checkpoint

SMALL = ["--config", "superposition_dictionary.yaml", "--data.inputs.count", "300", "--model.restarts", "2"]
AUTOENCODER = [
    *("--config", "superposition_dictionary.yaml", "--model", "SparseAutoencoder", "--model.latents", "16"),
    *("--model.encoder", "ReLUEncoder", "--trainer.max_steps", "60", "--data.inputs.count", "300"),
]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_dictionary_is_learnt_stored_shown_and_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["learn", *SMALL, "--trainer.max_steps", "60"]) == 0
    folder = Path("runs/superposition_dictionary")
    said = capsys.readouterr().out
    facts = yaml.safe_load((folder / "learned.yaml").read_text(encoding="utf-8"))
    assert facts["rows"] == 270
    assert f"explain {facts['explained_variance']:.1%} of the variance of rows that were held out" in said
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "16 atoms of 8 dimensions" in page
    assert "<svg" in page
    assert cli.main(["learn", "--config", str(folder / "config.yaml")]) == 0  # nothing is learnt again
    arguments = ["--data.count", "8", "--sweep.levels", "[0, 0.5]", "--trainer.max_steps", "60"]
    assert cli.main(["fit", "--config", "superposition.yaml", "--config", "learned_dictionary.yaml", *arguments]) == 0
    assert len(load_results("runs/learned_dictionary")) == 2 * 8 * 4


def test_patches_are_drawn() -> None:
    arguments = ["--model.latents", "9", "--model.most_rows", "300", "--trainer.max_steps", "3", "--output", "out"]
    size = ["--data.extractor.size", "6", "--data.inputs.size", "64", "--data.inputs.names", "[astronaut, china]"]
    assert cli.main(["learn", "--config", "patches_dictionary.yaml", *arguments, *size]) == 0
    assert Path("out/figures/atoms.png").is_file()


@pytest.mark.parametrize(
    ("learner", "arguments"),
    [(AlternatingLearner, [*SMALL, "--trainer.max_steps", "30"]), (SparseAutoencoder, AUTOENCODER)],
)
def test_an_interrupted_learner_goes_on_to_the_bit(
    learner: type, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(checkpoint: Checkpoint, trainer: object, module: AlternatingLearner, *rest: object) -> None:
        if module.steps_taken == 13:
            checkpoint.stop.asked = 2
        batch_end(checkpoint, trainer, module, *rest)  # type: ignore[arg-type]

    batch_end = Checkpoint.on_train_batch_end
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_train_batch_end", interrupt)
        assert cli.main(["learn", *arguments, "--output", "one"]) == 130
    assert "Stopped after step 13" in capsys.readouterr().err
    assert not Path("one/dictionary.safetensors").exists()
    assert cli.main(["learn", *arguments, "--output", "one"]) == 0
    assert "going on at step 13" in re.sub(r"\s+", " ", capsys.readouterr().out)
    assert cli.main(["learn", *arguments, "--output", "whole"]) == 0
    found = [StoredDictionary(folder) for folder in ("one", "whole")]
    assert found[0].fingerprint() == found[1].fingerprint()


def test_a_run_is_logged(tmp_path: Path) -> None:
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs", "--trainer.log_every_n_steps", "5"]
    assert cli.main(["learn", *AUTOENCODER, *logger]) == 0
    (metrics,) = Path("logs").rglob("metrics.csv")
    assert "explained_variance" in metrics.read_text(encoding="utf-8")


def test_what_can_not_be_used_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert cli.main(list(arguments)) == 2
        return capsys.readouterr().err

    short = ["--trainer.max_steps", "2", "--output", "out"]
    assert cli.main(["learn", *SMALL, *short]) == 0
    assert "was learnt from other features or in another way" in said("learn", *SMALL, *short, "--model.seed", "1")
    codes = ["fit", "--config", "vgg_sae_codes.yaml", "--model.extractor.weights", "null", "--data.size", "32"]
    used = [*codes, "--model.dictionary.path", "out", "--model.coder", "FISTA"]
    assert "was learnt at layer 'superposition' of Superposition" in said(*used)
    assert "data must be set; add, for example, --config vgg_sae.yaml" in said("learn")
    assert "has no encoder" in said(*codes, "--model.dictionary.path", "out")
    shutil.copy("out/learned.yaml", "out/dictionary.safetensors")
    assert "can't be read as a dictionary" in said(*used)
    assert "There is no dictionary" in said(*codes, "--model.dictionary.path", "nowhere")


def test_a_denoiser_stands_in_front_of_any_readout() -> None:
    """A code that keeps every latent of a complete dictionary changes nothing; one latent leaves little."""
    images, network = UniformNoise(2, (3, 12, 12)), OrthonormalLinear((3, 12, 12), 1)
    fast: dict[str, Any] = {"levels": [0, 0.3], "prior": Pixels(), "lr": 0.1, "steps": 60, "progress": False}
    plain = measure(network, images, **fast).problems
    found = {}
    for active in (None, 1):
        denoiser = LayerCoder(OrthonormalDictionary(432), OnePass(active=active, nonnegative=False))
        found[active] = measure(network, images, denoiser=denoiser, **fast).problems
        assert set(found[active]["denoiser"]) == {"OnePass"}
        assert not set(found[active]["key"]) & set(plain["key"])
        torch.testing.assert_close(*(torch.tensor(each["feature_distance"]) for each in (plain, found[active])))
    assert found[None]["distance"].to_numpy() == pytest.approx(plain["distance"].to_numpy(), abs=0.005)
    assert (found[1]["distance"] > 0.5).all()
