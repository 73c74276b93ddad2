from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor, ONet, TimmModel
from readout.extractors.jacobian import Jacobian
from tests.extractors.test_base import counting
from tests.tiny import Identity, TinyNet


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


class TinyDINO(FeatureExtractor):
    """Attention as transformers runs it, which ends in a fused kernel unless told otherwise."""

    def __init__(self) -> None:
        sizes: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 28}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Dinov2Model(Dinov2Config(**sizes, patch_size=7, initializer_range=0.2))
        super().__init__(network, layers={"last": "encoder.layer.1"})


class Once(torch.autograd.Function):
    """Doubles; its backward pass can't be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def applied(function: Callable[[Tensor], Tensor]) -> FeatureExtractor:
    return FeatureExtractor(nn.Sequential(Applied(function)), {"only": "0"})


@pytest.mark.parametrize("layer", ["early", "middle", "late"])
def test_products_are_those_of_the_whole_matrix(layer: str) -> None:
    extractor, x = TinyNet(), noise(3, 6, 6)
    dense = torch.autograd.functional.jacobian(lambda z: extractor.extract(z.unsqueeze(0), layer).flatten(), x)
    dense = dense.flatten(1)
    jacobian = Jacobian(extractor, layer, x, copies=3)
    v, w = noise(3, 3, 6, 6, seed=1), noise(3, *jacobian.feature.shape, seed=2)
    torch.testing.assert_close(jacobian.forward(v).flatten(1), v.flatten(1) @ dense.t())
    torch.testing.assert_close(jacobian.transpose(w).flatten(1), w.flatten(1) @ dense)
    torch.testing.assert_close(jacobian.feature, extractor.extract(x.unsqueeze(0), layer)[0])


@pytest.mark.parametrize(
    ("make", "layer", "shape"),
    [
        (TinyDINO, "last", (3, 28, 28)),
        (lambda: TimmModel("test_vit", weights=None), "blocks.2", (3, 160, 160)),
        (lambda: TimmModel("test_resnet", weights=None), "layer2", (3, 64, 64)),
        (lambda: TimmModel("test_convnext", weights=None), "stages.1", (3, 64, 64)),
        (lambda: ONet(weights=None), "conv3", (3, 48, 48)),
    ],
)
def test_real_architectures_are_linearised(
    make: Callable[[], FeatureExtractor], layer: str, shape: tuple[int, ...]
) -> None:
    extractor = make().double()
    x, v = noise(*shape).double(), noise(2, *shape, seed=1).double() - 0.5
    jacobian = Jacobian(extractor, layer, x, copies=2)
    step = 1e-6
    moved = torch.cat([x + step * v, x - step * v])
    up, down = extractor.extract(moved, layer).chunk(2)
    product = jacobian.forward(v)
    torch.testing.assert_close(product, (up - down) / (2 * step), rtol=1e-3, atol=1e-4 * float(product.abs().max()))
    w = noise(*product.shape, seed=2).double()
    left, right = (product * w).flatten(1).sum(1), (v * jacobian.transpose(w)).flatten(1).sum(1)
    torch.testing.assert_close(left, right)


def test_the_network_runs_once_however_many_products() -> None:
    extractor = TinyNet()
    with counting(extractor.network) as runs:
        jacobian = Jacobian(extractor, "middle", noise(3, 8, 8), copies=2)
        for _ in range(3):
            jacobian.transpose(jacobian.forward(noise(2, 3, 8, 8)))
    assert runs == {"0": 1, "1": 1, "2": 1}


def test_an_identity_network_gives_vectors_back() -> None:
    jacobian, v = Jacobian(Identity(), "identity", noise(3, 4, 4)), noise(1, 3, 4, 4, seed=1)
    assert torch.equal(jacobian.forward(v), v)
    assert torch.equal(jacobian.transpose(v), v)


@pytest.mark.parametrize("function", [Once.apply, torch.sign, torch.ones_like, torch.Tensor.detach])
def test_what_cannot_be_linearised_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ReadoutError, match="Layer 'only' can't be linearised"):
        Jacobian(applied(function), "only", noise(3, 4, 4))


def test_a_feature_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ReadoutError, match="not finite"):
        Jacobian(applied(lambda x: x / 0), "only", noise(3, 4, 4))


def test_it_works_where_gradients_are_switched_off() -> None:
    v = noise(1, 3, 4, 4)
    with torch.no_grad():
        jacobian = Jacobian(TinyNet(), "early", noise(3, 4, 4))
        assert not jacobian.forward(v).requires_grad
    torch.testing.assert_close(jacobian.forward(v), Jacobian(TinyNet(), "early", noise(3, 4, 4)).forward(v))
