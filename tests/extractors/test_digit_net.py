from pathlib import Path
from typing import Any

import pytest
import torch

from readout.common.errors import ReadoutError
from readout.data import Digits, load_samples
from readout.extractors import DigitNet, OrthonormalLinear
from readout.extractors.rest import RestOfNetwork


def small(folder: Path, epochs: int = 1, **options: Any) -> DigitNet:
    return DigitNet(64, epochs, widths=(4, 4, 8), folder=folder, **options)


def test_it_learns_digits_that_it_was_not_trained_on(tmp_path: Path) -> None:
    network, random = (DigitNet(600, epochs, widths=(16, 32, 32), folder=tmp_path) for epochs in (8, 0))
    test = Digits()
    test.prepare_for(network)
    right, chance = (
        float((made.run(test.images()).argmax(1) == test.labels()).float().mean()) for made in (network, random)
    )
    assert right > 0.8 > 0.3 > chance
    assert network.classes == tuple("0123456789")


def test_every_layer_is_a_cut(tmp_path: Path) -> None:
    network = small(tmp_path)
    assert list(network.layers) == ["conv1", "conv2", "conv3", "conv4", "dense", "logits"]
    x = Digits([0]).images()
    assert all(RestOfNetwork(network, layer, x).is_cut for layer in network.layers)


def test_weights_are_kept_and_trained_again_where_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = small(tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim, "Adam", None)
        assert small(tmp_path).fingerprint() == first.fingerprint()
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    torch.rand(1)  # weights depend on their own seed alone
    assert small(tmp_path).fingerprint() == first.fingerprint()
    assert capsys.readouterr().err == f"{file} is damaged; training again.\n"


@pytest.mark.parametrize("other", [{"epochs": 2}, {"lr": 0.01}, {"seed": 1}])
def test_every_setting_has_weights_of_its_own(other: dict[str, Any], tmp_path: Path) -> None:
    assert small(tmp_path).fingerprint() != small(tmp_path, **other).fingerprint()
    assert len([*tmp_path.iterdir()]) == 2


def test_weights_go_to_the_cache_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_CACHE", str(tmp_path))
    with torch.no_grad():
        DigitNet(32, 1, widths=(2, 2, 2))
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]


def test_a_sweep_leaves_out_digits_of_the_training(tmp_path: Path) -> None:
    network = small(tmp_path)
    known = {f"digit_{index:04d}" for index in network.trained_on}
    assert len(known) == 64
    names = list(load_samples(Digits(), network))
    assert len(names) == 1797 - 64
    assert not known & {*names}
    assert list(load_samples(Digits(limit=10), network)) == names[:10]
    # unless they are asked for, or the network is another
    chosen = network.trained_on[:3]
    assert list(load_samples(Digits(chosen), network)) == [f"digit_{index:04d}" for index in chosen]
    assert len(load_samples(Digits(), OrthonormalLinear((1, 8, 8)))) == 1797


def test_data_of_two_networks_are_those_of_the_last(tmp_path: Path) -> None:
    first, second = small(tmp_path), small(tmp_path, seed=1)
    digits = Digits(limit=1700)
    for network in (first, second, first):
        digits.prepare_for(network)
        assert len(digits) == 1700
        assert not {*network.trained_on} & {*digits.indices}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": 1797}, "images is 1797; give a whole number from 1 to 1796"),
        ({"epochs": -1}, "epochs is -1"),
        ({"lr": 0}, "lr is 0; give a number above 0"),
        ({"widths": [4, 4]}, r"widths is \[4, 4\]; give three numbers"),
        ({"widths": [4, 4, 0]}, "A width is 0; give a whole number of at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=words):
        DigitNet(folder=tmp_path, **arguments)
