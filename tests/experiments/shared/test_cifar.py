from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from experiments.shared import cifar
from experiments.shared.cifar import CifarNet, CifarTask, Training, main
from experiments.shared.harness import Experiment
from experiments.shared.task import hits_and_misses, right
from readout.common.errors import ReadoutError
from readout.data import ImageFolder
from readout.extractors.rest import RestOfNetwork

QUICK = Training(epochs=3, kept=(0, 1, 3), width=4, batch=16, lr=0.05, bfloat16=False)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that is brighter at the top in one class and at the bottom in the other."""
    folder = tmp_path_factory.mktemp("images")
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 32), ("test", 16)):
        for name, bright in (("sea", slice(16, 32)), ("sky", slice(0, 16))):
            (folder / split / name).mkdir(parents=True)
            for place in range(count):
                pixels = torch.randint(0, 128, (32, 32, 3), dtype=torch.uint8, generator=generator)
                pixels[bright] += 100
                Image.fromarray(pixels.numpy()).save(folder / split / name / f"{place}.png")
    return folder


def test_it_learns_and_keeps_weights_along_training(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = {epoch: CifarNet(images, tmp_path, QUICK, epoch) for epoch in QUICK.kept}
    monkeypatch.setattr(cifar, "_train", None)  # once is enough
    last = CifarNet(images, tmp_path, QUICK)
    assert last.classes == ["sea", "sky"]
    assert last.fingerprint() == networks[3].fingerprint()
    assert len({network.fingerprint() for network in networks.values()}) == 3
    assert [network.weights_name for network in networks.values()] == ["epoch 0", "epoch 1", "epoch 3"]
    experiment = Experiment("hit_or_miss", None, tmp_path, images=images)
    monkeypatch.setenv("READOUT_CACHE", str(tmp_path))
    task = CifarTask(QUICK)
    test = task.test(experiment)
    assert sorted(sample.name for sample in test) == [sample.name for sample in ImageFolder(str(images / "test"), 32)]
    assert task.network(experiment).fingerprint() == last.fingerprint()
    trained, untrained = right(last, test), right(networks[0], test)
    assert sum(trained) / len(test) > 0.9
    assert sum(untrained) / len(test) < 0.7
    chosen = hits_and_misses(test, untrained, 3)
    assert [sample.label for sample in chosen] == ["miss", "hit"] * (len(chosen) // 2)
    assert [Path(sample.name).parent for sample in chosen[::2]] == [Path(sample.name).parent for sample in chosen[1::2]]


def test_layers_are_cuts_but_not_the_branches(images: Path, tmp_path: Path) -> None:
    network = CifarNet(images, tmp_path, QUICK, 0)
    x = ImageFolder(str(images / "test"), 32)[0].input.unsqueeze(0)
    assert list(network.shapes(x)) == ["conv1", "conv2", "block2", "conv3", "conv4", "block4", "logits"]
    assert all(RestOfNetwork(network, layer, x).is_cut for layer in network.layers)
    network.layers = {"branch": "2.body.1"}
    assert not RestOfNetwork(network, "branch", x).is_cut


def test_crops_are_shifted_mirrored_parts_of_their_images() -> None:
    images = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    crops = cifar._crops(images, torch.Generator().manual_seed(0))
    assert crops.shape == (6, 3, 32, 32)
    # what stays inside whatever the shift, in the middle, is somewhere in the image or its mirror image
    for image, crop in zip(images.float() / 255, crops, strict=True):
        assert sum(_holds(shown, crop[:, 8:24, 8:24]) for shown in (image, image.flip(2))) == 1
    again = cifar._crops(images, torch.Generator().manual_seed(0))
    assert torch.equal(again, crops)
    assert crops.is_contiguous(memory_format=torch.channels_last)


def _holds(image: Tensor, part: Tensor) -> bool:
    windows = image.unfold(1, 16, 1).unfold(2, 16, 1)
    return bool((windows == part[:, None, None]).all(0).flatten(2).all(2).any())


def test_the_command_prints_accuracy_along_training(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--folder", str(images), "--output", str(tmp_path), "--epochs", "1"])
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("after 0 epochs: ")
    assert second.startswith("after 1 epochs: ")


def test_a_folder_without_training_images_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"There is no folder '.*train'; give the path of a folder of images"):
        CifarNet(tmp_path, tmp_path)
