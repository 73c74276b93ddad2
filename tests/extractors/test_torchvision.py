from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import models

from readout import cli
from readout.common.errors import ReadoutError
from readout.extractors import TorchvisionModel
from readout.extractors.validate import contrasting_pair, validate
from readout.extractors.vgg import IMAGENET_MEAN, IMAGENET_STD

DEFAULTS = "depth:0,0.25,0.5,0.75,1"
"""The layers that `measure` takes when left alone."""

IMAGE = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "never_runs"),
    # one is plain, one runs its ReLUs twice, one has auxiliary heads
    [("squeezenet1_1", None), ("resnet18", None), ("googlenet", "aux1.conv.conv")],
)
def test_default_layers_are_what_hooks_see_in_a_forward_pass(name: str, never_runs: str | None) -> None:
    extractor = TorchvisionModel(name, None)
    extractor.find_layers(IMAGE[None])
    layers = extractor.resolve(DEFAULTS)
    seen: dict[str, Tensor] = {}

    def keep(_module: Any, _args: Any, output: Tensor, layer: str) -> None:
        seen.setdefault(layer, output.clone())

    for layer in layers:
        extractor.network.get_submodule(layer).register_forward_hook(partial(keep, layer=layer))
    x = contrasting_pair(IMAGE)
    with torch.no_grad():
        extractor.network((x - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1))
    assert list(seen) == layers
    for layer in layers:
        torch.testing.assert_close(extractor.extract(x, layer), seen[layer])
    validate(extractor, layers[-1], x)
    if never_runs:
        with pytest.raises(ReadoutError, match=f"'{never_runs}' of torchvision {name} never runs"):
            extractor.resolve([never_runs])


def test_blocks_go_by_their_paths_and_weights_by_file(tmp_path: Path) -> None:
    network = models.squeezenet1_1(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    extractor = TorchvisionModel("squeezenet1_1", str(tmp_path / "weights.pth"))
    x = contrasting_pair(IMAGE)
    with torch.no_grad():
        expected = network.features[:4]((x - extractor.mean) / extractor.std)
    assert torch.equal(extractor.extract(x, "features.3"), expected)
    assert (extractor.name, extractor.weights_name) == ("torchvision squeezenet1_1", str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "resnet19"}, r"no classifier 'resnet19'\. Did you mean resnet1"),
        ({"name": "resnet18", "weights": "IMAGENET"}, "no weights 'IMAGENET' for resnet18.*are IMAGENET1K_V1"),
    ],
)
def test_what_does_not_exist_is_one_sentence(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        TorchvisionModel(**arguments)


def test_weights_that_cannot_be_had_or_do_not_fit_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_args: Any, **_options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ReadoutError, match=r"weights DEFAULT of squeezenet1_1 \(no route to host\); connect.*\.pth"):
        TorchvisionModel("squeezenet1_1")
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.raises(ReadoutError, match="does not fit torchvision's squeezenet1_1"):
        TorchvisionModel("squeezenet1_1", str(tmp_path / "weights.pth"))


def test_classes_are_those_of_torchvisions_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    state = models.squeezenet1_1(weights=None).state_dict()
    monkeypatch.setattr(models.SqueezeNet1_1_Weights, "get_state_dict", lambda *_, **__: state)
    classes = TorchvisionModel("squeezenet1_1").classes
    assert classes is not None
    assert (len(classes), classes[0]) == (1000, "tench")
    assert TorchvisionModel("squeezenet1_1", None).classes is None


def test_the_command_lists_layers_and_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", "TorchvisionModel", "--model.name", "squeezenet1_1", "--model.weights", "random"]
    assert cli.main(["layers", *model, "--size", "64"]) == 0
    rows = [line.split()[1:] for line in capsys.readouterr().out.splitlines() if "features.3" in line]
    assert [row[0] for row in rows][-1] == "features.3"  # a block after what is inside it
    assert " ".join(rows[-1]).startswith("features.3 │ 128 × 15 × 15")
