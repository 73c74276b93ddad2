from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1
from torchvision.models.vgg import cfgs, make_layers


@pytest.fixture(scope="module")
def random_backbones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Random weights where torch.hub would have put SqueezeNet's, and in place of VGG16's."""
    folder = tmp_path_factory.mktemp("torch")
    checkpoints = folder / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = squeezenet1_1(weights=None).state_dict()
        torch.save(state, checkpoints / SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[1])
        features = make_layers(cfgs["D"])
        patch.setenv("TORCH_HOME", str(folder))
        patch.setattr("torchmetrics.functional.image.dists.vgg16", lambda weights: SimpleNamespace(features=features))
        yield
