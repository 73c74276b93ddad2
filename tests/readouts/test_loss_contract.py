"""Rules for every loss; a new class is one entry of :data:`LOSSES`."""

from collections.abc import Callable

import pytest
import torch

from readout.data import Samples, UniformNoise
from readout.external.joined import SumOverLayers
from readout.readouts import (
    FeatureLoss,
    MeanSquaredError,
    MeanSquaredErrorAndCosine,
    RelativeSquaredError,
    WhitenedError,
)
from tests.tiny import TinyNet, concrete_classes


def whitened() -> FeatureLoss:
    loss = WhitenedError(UniformNoise(16, (5, 2, 2)))
    loss.meet(TinyNet(), Samples.of(()), (5, 2, 2))
    loss.prepare(lambda inputs: inputs.flatten(2) - 0.5, "tokens")
    return loss


LOSSES: dict[str, Callable[[], FeatureLoss]] = {
    "squared error": MeanSquaredError,
    "relative squared error": RelativeSquaredError,
    "squared error and cosine": MeanSquaredErrorAndCosine,
    "sum over layers": lambda: SumOverLayers(MeanSquaredError(), {"a": (1,), "b": (3,)}, {"b": 2.0}),
    "balanced sum": lambda: SumOverLayers(MeanSquaredError(), {"a": (1,), "b": (3,)}, "balanced"),
    "whitened": whitened,
}
FEATURE, TARGET = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(5) < torch.tensor([[5], [3], [2]])


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> FeatureLoss:
    return LOSSES[request.param]()


def test_every_class_has_an_entry() -> None:
    assert {type(make()) for make in LOSSES.values()} == concrete_classes(FeatureLoss)


def test_a_problem_has_the_loss_it_has_alone(loss: FeatureLoss) -> None:
    together = loss(FEATURE, TARGET)
    assert together.shape == (3,)
    torch.testing.assert_close(torch.cat([loss(FEATURE[i : i + 1], TARGET[i : i + 1]) for i in range(3)]), together)


def test_the_loss_is_zero_at_the_target_and_only_there(loss: FeatureLoss) -> None:
    torch.testing.assert_close(loss(TARGET, TARGET), torch.zeros(3))
    assert (loss(FEATURE, TARGET) > 0.1).all()
    assert (loss(TARGET + 0.1 * FEATURE, TARGET) < loss(TARGET + FEATURE, TARGET)).all()


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "whitened"], indirect=True)  # for images
@pytest.mark.parametrize("fill", [0.0, 1e6, torch.nan])
def test_padding_enters_neither_a_loss_nor_its_gradient_nor_the_scale(loss: FeatureLoss, fill: float) -> None:
    feature, target = (side.masked_fill(~MASK[..., None], fill) for side in (FEATURE, TARGET))
    feature.requires_grad_()
    padded = loss(feature, target, MASK)
    cut = [(FEATURE[i : i + 1, MASK[i]], TARGET[i : i + 1, MASK[i]]) for i in range(3)]
    torch.testing.assert_close(padded, torch.cat([loss(*pair) for pair in cut]))
    torch.testing.assert_close(loss.scale(target, MASK), torch.cat([loss.scale(alone) for _, alone in cut]))
    if fill == 0:  # what is not a number has no gradient that is one
        (gradient,) = torch.autograd.grad(padded.sum(), feature)
        assert gradient[MASK].all()
        assert not gradient[~MASK].any()


def test_the_scale_grows_with_the_features_spread_and_not_with_the_batch(loss: FeatureLoss) -> None:
    scale = loss.scale(TARGET)
    assert scale.shape == (3,)
    assert (scale > 0).all()
    torch.testing.assert_close(torch.cat([loss.scale(TARGET[i : i + 1]) for i in range(3)]), scale)
