"""The commands ``encode`` and ``decode`` as a lab uses them, and the known answers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import savemat
from torch import Tensor

from readout import cli, load_results
from readout.data.images import read_image
from readout.encoding import EncodingModel, Responses, decode
from readout.encoding.stimuli import make_folds
from readout.extractors import FeatureExtractor, OrthonormalLinear
from readout.representation import linear_distance
from tests.helpers import tiny_config, write_config, write_noise_images
from tests.tiny import TinyNet

SIDE, EXPANSION = 4, 4
VARIANCE = 1 / 12
"""Of an input value, uniform in [0, 1]."""

NETWORK = (
    *("--config", "linear_check.yaml", "--model.extractor.input_shape", "[3, 4, 4]"),
    *("--model.extractor.expansion", str(EXPANSION)),
)
LINEAR = (*NETWORK, "--size", str(SIDE))
NEWTON = ("--model.optimizer.init_args.lr", str(SIDE**2 * 3 * EXPANSION / 2))


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stimuli(count: int, side: int) -> tuple[list[str], Tensor]:
    """Write images of noise; return their names and what a command reads back."""
    Path("stimuli").mkdir()
    write_noise_images(Path("stimuli"), side, count)
    names = [str(place) for place in range(count)]
    return names, torch.stack([read_image(Path(f"stimuli/{name}.png")) for name in names])


def ready(*arguments: str) -> None:
    assert cli.main(list(arguments)) == 0


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_from_a_mat_file_to_pictures_ceilings_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    names, images = stimuli(40, 16)
    features = TinyNet().extract(images, "early").flatten(1)
    signal = (features - features.mean(0)) @ noise(features.shape[1], 30)
    trials = (signal / signal.std(0)).unsqueeze(1) + 0.5 * noise(40, 3, 30)
    savemat("responses.mat", {"responses": trials.numpy(), "names": np.array(names, dtype=object)})
    write_config(Path("tiny.yaml"), tiny_config(Path("runs/sizes")))
    mine = ("--config", "tiny.yaml", "--responses", "responses.mat", "--stimuli", "stimuli", "--size=16")

    ready("encode", *mine, "--layer", "early", "--output", "runs/encode")
    assert "Mean noise ceiling 0.9" in capsys.readouterr().out
    scores = pd.read_csv("runs/encode/scores.csv")
    assert scores["ceiling"].mean() == pytest.approx((1 + 0.25 / 3) ** -0.5, abs=0.01)
    assert (scores["low"] < scores["score"]).all()
    assert (scores["score"] < scores["high"]).all()

    ready("decode", *mine, "--layer", "early", "middle", "--output", "runs/decode", "--trainer.max_steps", "2")
    said = " ".join(capsys.readouterr().out.split())
    _, _, command = said.partition("To see what was decoded: python -m readout.cli ")
    decoded = pd.read_csv("runs/decode/decoded.csv")
    assert decoded.groupby("layer").size().to_dict() == {"early": 40, "middle": 40}
    assert pd.read_csv("runs/decode/layers.csv")["position"].isin(["inside", "outside", "as the mean"]).all()

    ready(*command.split(), "--output", "runs/invert")
    assert len(list(Path("runs/invert/recovered").rglob("*.png"))) == 40
    recovered = pd.read_csv("runs/invert/recovered.csv", dtype={"sample": str}).set_index("sample")
    for layer, own in decoded.astype({"sample": str}).groupby("layer"):
        # what decode said is what invert finds
        expected = own.set_index("sample")["feature_distance"].loc[recovered.index]
        np.testing.assert_allclose(recovered[f"feature_distance.{layer}"], expected, atol=1e-4)

    residuals = ("ResidualPerturbation", "--sweep.perturbation.residuals", "runs/encode/residuals.npz")
    ready("fit", "--config", "tiny.yaml", "--config", "runs/encode/encoding.yaml", "--sweep.perturbation", *residuals)
    assert set(load_results("runs/sizes")["layer"]) == {"responses"}


def test_shuffled_responses_are_at_chance() -> None:
    names, images = stimuli(60, 16)
    features = TinyNet().extract(images, "early").flatten(1)
    signal = (features - features.mean(0)) @ noise(features.shape[1], 300)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    # noise of its own makes the scores of targets independent, so that their mean shows a bias
    shuffled = signal[order] / signal.std() + 3 * noise(60, 300)
    np.savez("responses.npz", responses=shuffled, names=names)
    write_config(Path("tiny.yaml"), tiny_config(Path("runs/sizes")))
    mine = ("--config", "tiny.yaml", "--responses", "responses.npz", "--stimuli", "stimuli", "--size", "16")
    ready("encode", *mine, "--layer", "early", "--output", "runs/encode")
    ready("decode", *mine, "--layer", "early", "--output", "runs/decode")
    scores = pd.read_csv("runs/encode/scores.csv")
    assert abs(scores["score"].mean()) < 0.03
    assert 1 < (scores["low"] > 0).sum() < 15  # where 7.5 of 300 are expected
    (layer,) = pd.read_csv("runs/decode/layers.csv").to_dict("records")
    assert layer["two_way_low"] < 0.5 < layer["two_way_high"]
    assert layer["feature_distance"] >= layer["chance_distance"] - 1e-3
    assert layer["position"] == "as the mean"


@pytest.fixture
def white() -> tuple[list[str], Tensor, Tensor]:
    """Names, features and images of noise, seen by a linear network."""
    names, images = stimuli(1000, SIDE)
    return names, OrthonormalLinear((3, SIDE, SIDE), EXPANSION).extract(images, "linear"), images


def test_scores_reach_the_ceiling_less_what_the_fit_costs(white: tuple[list[str], Tensor, Tensor]) -> None:
    names, features, _ = white
    signal = features @ noise(features.shape[1], 100)
    trials = (signal / signal.std(0)).unsqueeze(1) + noise(1000, 2, 100)
    np.savez("responses.npz", responses=trials, names=names)
    ready("encode", *LINEAR, "--responses", "responses.npz", "--stimuli", "stimuli", "--layer", "linear")
    scores = pd.read_csv("runs/encode/scores.csv")
    # regression on p of n stimuli adds p/n of the noise of a mean, σ²/K = 1/2, to the error
    expected = (1 + 0.5 * 48 / 800) ** -0.5
    assert scores["normalised"].mean() == pytest.approx(expected, abs=0.01)
    assert scores["ceiling"].mean() == pytest.approx(1.5**-0.5, abs=0.01)


@pytest.mark.slow
def test_a_trained_decoder_errs_alike_in_feature_and_image(white: tuple[list[str], Tensor, Tensor]) -> None:
    """h = Vx with unit noise: V undone gives d_H 0.553 and d_X 0.293, a decoder with infinite data 0.293 for both."""
    names, features, _ = white
    responses = (features + VARIANCE**0.5 * noise(*features.shape)).numpy()
    np.savez("train.npz", responses=responses[:980], names=names[:980])
    np.savez("test.npz", responses=responses[980:], names=names[980:])
    np.savez("undone.npz", linear=responses[980:], names=names[980:])
    seen = ("--responses", "train.npz", "--test", "test.npz", "--stimuli", "stimuli", "--layer", "linear")
    ready("decode", *LINEAR, *seen)
    inverted = {}
    for name, path in {"decoded": "runs/decode/features", "undone": "undone.npz"}.items():
        ready("invert", *LINEAR, *NEWTON, "--features", path, "--true", "stimuli", "--output", f"runs/{name}")
        table = pd.read_csv(f"runs/{name}/recovered.csv")
        assert len(table) == 20
        inverted[name] = table[["feature_distance.linear", "distance"]].mean()
    assert inverted["undone"].tolist() == pytest.approx([1 - 5**-0.5, 1 - 2**-0.5], abs=0.02)
    feature, image = inverted["decoded"]
    assert feature == pytest.approx(image, abs=0.005)
    assert 0.29 < image < 0.36  # 0.41, 0.34, 0.30 with 360, 980, 4,000 stimuli
    (layer,) = pd.read_csv("runs/decode/layers.csv").to_dict("records")
    assert layer["feature_distance"] == pytest.approx(feature, abs=1e-4)
    assert layer["position"] == "outside"


@pytest.mark.slow
def test_the_size_of_responses_is_that_of_a_linear_network(white: tuple[list[str], Tensor, Tensor]) -> None:
    """Responses that are the feature itself, with isotropic noise, assumed or measured."""
    names, features, _ = white
    trials = features.unsqueeze(1) + 1e-3 * noise(1000, 2, features.shape[1])
    np.savez("responses.npz", responses=trials, names=names)
    ready("encode", *LINEAR, "--responses", "responses.npz", "--stimuli", "stimuli", "--layer", "linear")
    # responses have unit variance, and so a Newton step is smaller by the variance of a feature
    rate = ("--model.optimizer.init_args.lr", str(SIDE**2 * 3 / 2 * VARIANCE))
    own = ["--data.shape", f"[3, {SIDE}, {SIDE}]", "--sweep.levels", "[0, 0.5]", "--trainer.max_steps", "12"]
    own += ["--data.count", "64", "--sweep.batch_size", "64"]
    configs = (*NETWORK, "--config", "runs/encode/encoding.yaml")
    ready("fit", *configs, *rate, *own, "--sweep.output", "runs/assumed")
    noisy = ("ResidualPerturbation", "--sweep.perturbation.residuals", "runs/encode/residuals.npz")
    covariance = ("--sweep.perturbation", *noisy, "--sweep.perturbation.draw", "covariance")
    ready("fit", *configs, *rate, *own, "--sweep.output", "runs/measured", *covariance)
    for folder in ("runs/assumed", "runs/measured"):
        found = load_results(folder).groupby("level")["distance"].mean()
        assert found[0] < 0.01
        assert found[0.5] == pytest.approx(linear_distance(0.5, EXPANSION), abs=0.02)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"--folds": "5"}, "12 stimuli are too few for 5 folds of at least 3; give more, or fewer folds."),
        ({"--folds": "1"}, "--folds is 1; give a whole number of at least 2"),
        ({"--layer": "early middle"}, "--layer names 2 layers; give one here."),
        ({"--layer": "erly"}, "has no layer 'erly'. Did you mean early?"),
        ({"--stimuli": "few"}, "10 of 12 stimuli, such as '2', have no image in 'few'; add them"),
        ({"--stimuli": "nowhere"}, "There is no folder 'nowhere'"),
        ({"--responses": None}, "--responses must be set"),
        ({"--mask": "V1"}, "--mask is for NIfTI and BData"),
    ],
)
def test_what_can_not_be_encoded_is_one_sentence(
    more: Mapping[str, str | None], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names, _ = stimuli(12, 16)
    Path("few").mkdir()
    write_noise_images(Path("few"), 16)
    np.savez("responses.npz", responses=noise(12, 3).numpy(), names=names)
    write_config(Path("tiny.yaml"), tiny_config(Path("runs/sizes")))
    usual = {"--responses": "responses.npz", "--stimuli": "stimuli", "--layer": "early", "--size": "16"}
    given = [part for option, value in {**usual, **more}.items() if value for part in (option, *value.split())]
    assert cli.main(["encode", "--config", "tiny.yaml", *given]) == 2
    assert sentence in capsys.readouterr().err


def test_test_responses_are_of_other_stimuli_and_the_same_targets(capsys: pytest.CaptureFixture[str]) -> None:
    names, _ = stimuli(12, 16)
    write_config(Path("tiny.yaml"), tiny_config(Path("runs/sizes")))
    np.savez("train.npz", responses=noise(10, 3).numpy(), names=names[:10])
    mine = ("--config", "tiny.yaml", "--responses", "train.npz", "--stimuli", "stimuli", "--layer", "early")
    for targets, shown, sentence in (
        (3, names[9:], "Stimuli '9' and '9' are the same image; leave one out"),
        (3, [*names[10:], "S1/3"], "Stimuli '3' and 'S1/3' are the same image"),
        (2, names[10:], "The responses to test have 2 targets, but the others 3"),
        (3, names[11:], "There is one stimulus to decode"),
    ):
        np.savez("test.npz", responses=noise(len(shown), targets), names=shown)
        assert cli.main(["decode", *mine, "--size", "16", "--test", "test.npz"]) == 2
        assert sentence in capsys.readouterr().err


def test_nothing_of_a_fold_is_used_to_decode_it() -> None:
    """A unit that answers no stimulus to train on says nothing of the others."""
    features, names = noise(12, 7), [str(place) for place in range(12)]
    quiet = noise(12, 1, 5).double()
    quiet[..., 4] = 0
    (_, fold), *_ = make_folds(12, 3, 0)
    loud = quiet.clone()
    loud[fold[0], :, 4] = 9
    Path("features").mkdir()
    Path("features/earlier.npz").touch()
    found = []
    for trials in (quiet, loud):
        decode(lambda _: features, ["layer"], Responses(names, trials), Path(), folds=3)
        found.append(np.load("features/layer.npz")["layer"])
    np.testing.assert_array_equal(found[0][fold], found[1][fold])
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert [path.name for path in Path("features").iterdir()] == ["layer.npz"]


def test_an_encoding_model_belongs_to_its_network(tmp_path: Path) -> None:
    from readout.common.errors import ReadoutError
    from readout.decoders.linear_map import fit_linear_map
    from readout.encoding.model import store

    network, images = TinyNet(), torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    features = network.extract(images, "middle").flatten(1)
    fitted = fit_linear_map(features, features[:, :700])
    store(fitted, tmp_path / "encoding.safetensors", network, "middle")
    model: FeatureExtractor = EncodingModel(network, str(tmp_path))
    torch.testing.assert_close(model.extract(images, "responses"), fitted(features), atol=1e-4, rtol=1e-4)
    with pytest.raises(ReadoutError, match="can't be used on TinyNet"):
        EncodingModel(TinyNet(1), str(tmp_path))
    with pytest.raises(ReadoutError, match="fitted to features of 1024 dimensions"):
        model.extract(images[..., :8], "responses")
    with pytest.raises(ReadoutError, match="There is no encoding model"):
        EncodingModel(network, str(tmp_path / "nowhere"))
    content = bytearray((tmp_path / "encoding.safetensors").read_bytes())
    content[-3] ^= 1
    (tmp_path / "encoding.safetensors").write_bytes(content)
    with pytest.raises(ReadoutError, match="it was changed since it was written"):
        EncodingModel(network, str(tmp_path))
