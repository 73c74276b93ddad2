from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from readout.common.errors import ReadoutError
from readout.extractors import VGG19, FeatureExtractor, OrthonormalLinear
from readout.extractors.validate import (
    CHECKS,
    Trial,
    check_finite,
    check_frozen,
    check_gradient,
    check_layout,
    check_mode,
    check_repeatable,
    check_rows,
    check_type,
    contrasting_pair,
    validate,
)
from tests.tiny import Identity, TinyNet


class Function(nn.Module):
    """A network out of a function."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


class Bare(FeatureExtractor):
    """A network whose inputs are not preprocessed."""

    def preprocess(self, x: Tensor) -> Tensor:
        return x


def of(*steps: Callable[[Tensor], Any]) -> FeatureExtractor:
    """An extractor with the one layer "last"."""
    network = nn.Sequential(*(step if isinstance(step, nn.Module) else Function(step) for step in steps))
    return FeatureExtractor(network, {"last": str(len(steps) - 1)})


def pair(*shape: int) -> Tensor:
    x = torch.rand(shape or (3, 8, 8), generator=torch.Generator().manual_seed(0))
    return contrasting_pair(x)


def refusal(extractor: FeatureExtractor, example: Tensor | None = None, layer: str = "last") -> str:
    """The one sentence a user reads."""
    with pytest.raises(ReadoutError) as raised:
        validate(extractor, layer, pair() if example is None else example)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")
    return str(raised.value)


# What is right


@pytest.mark.parametrize(
    ("extractor", "layers", "example"),
    [
        (VGG19("random"), ["conv1_1", "conv3_3", "conv5_4"], pair(3, 32, 32)),
        (TinyNet(), ["early", "middle", "late"], pair()),
        (Identity(), ["identity"], pair()),
        (OrthonormalLinear((3, 4, 4)), ["linear"], pair(3, 4, 4)),
        (OrthonormalLinear((2, 12), expansion=1), ["linear"], pair(2, 12)),
    ],
    ids=["VGG19", "TinyNet", "Identity", "OrthonormalLinear", "OrthonormalLinear, no image"],
)
def test_what_can_be_inverted_passes(extractor: FeatureExtractor, layers: list[str], example: Tensor) -> None:
    for layer in layers:
        validate(extractor, layer, example)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: torch.cat([x, -x], 1),  # its sum has no gradient
        lambda x: x.flatten(1).softmax(1),
        lambda x: F.layer_norm(x, x.shape[1:]),  # neither has the sum of its squares
        lambda x: 1000 * x + 1e6,  # float32 holds 1e6 to 0.06
        lambda x: x.bfloat16(),
        lambda x: (x * torch.ones(3, 1, 1), "more"),
    ],
    ids=["both signs", "softmax", "layer norm", "offset", "bfloat16", "tuple"],
)
def test_features_of_every_kind_pass(step: Callable[[Tensor], Any]) -> None:
    validate(of(step), "last", pair())


def test_rounding_is_no_difference() -> None:
    eps = torch.finfo(torch.float32).eps
    validate(of(lambda x: 1 + 5 * eps * x + 2 * eps * (len(x) == 1)), "last", pair())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_precision_passes(dtype: torch.dtype) -> None:
    validate(TinyNet().to(dtype), "late", pair().to(dtype))


def test_validating_changes_nothing() -> None:
    extractor, example = TinyNet(), pair()
    before, state = example.clone(), torch.get_rng_state()
    with torch.no_grad():  # asked for by a caller
        validate(extractor, "late", example)
    assert torch.equal(example, before)
    assert not example.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in extractor.parameters())


def test_layers_after_the_one_asked_for_do_not_matter() -> None:
    extractor = FeatureExtractor(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(9)), {"first": "0", "pool": "1"})
    validate(extractor, "first", pair())
    assert "'pool'" in refusal(extractor, layer="pool")


# What is wrong: each of these fails one check and passes the others


def in_training() -> FeatureExtractor:
    extractor = of(nn.Conv2d(3, 4, 3))
    extractor.network.train()
    return extractor


def not_frozen() -> FeatureExtractor:
    extractor = of(nn.Conv2d(3, 4, 3))
    extractor.network[0].bias.requires_grad_()  # type: ignore[index, union-attr]
    return extractor


def one_infinity(x: Tensor) -> Tensor:
    return torch.where(x == x.max(), torch.inf, x)


class Drifts(nn.Module):
    """Another feature each time a batch comes, but not for single inputs."""

    batches = 0

    def forward(self, x: Tensor) -> Tensor:
        drift = self.batches * torch.linspace(0, 1, 8)
        self.batches += len(x) > 1
        return x + drift * (len(x) > 1)


def tokens_first(x: Tensor) -> Tensor:
    return x.flatten(2).permute(2, 0, 1)


def minus_mean_of_batch(x: Tensor) -> Tensor:
    return x - x.mean(0, keepdim=True) / 2


FAULTS: list[tuple[Callable[[Trial], None], Callable[[], FeatureExtractor], str]] = [
    (check_mode, in_training, r"FeatureExtractor is in training mode \(at 'network'\).*`eval\(\)`"),
    (check_frozen, not_frozen, r"not frozen: 'network\.0\.bias'.*`requires_grad_\(False\)`"),
    (check_finite, lambda: of(one_infinity), "'last' of FeatureExtractor returns values that are not finite"),
    (check_repeatable, lambda: of(Drifts()), "a different feature when it runs again; remove dropout"),
    (check_layout, lambda: of(tokens_first), r"\(64, 2, 3\) for 2 inputs and \(64, 1, 3\) for one.*`feature`"),
    (check_layout, lambda: of(lambda x: x.mean()), r"shape \(\) for 2 inputs"),
    (check_layout, lambda: of(lambda x: x.permute(1, 0, 2, 3)[:2]), r"\(2, 2, 8, 8\) for 2 inputs and \(2, 1, 8, 8\)"),
    (check_rows, lambda: of(minus_mean_of_batch), "a different feature for an input in a batch"),
    (check_rows, lambda: of(lambda x: 100 + minus_mean_of_batch(x)), "in a batch than alone"),
    (check_rows, lambda: of(lambda x: (60000 * minus_mean_of_batch(x)).half()), "in a batch than alone"),
    (check_rows, lambda: of(lambda x: F.batch_norm(x, None, None, training=True)), "in a batch than alone"),
    (check_rows, lambda: of(lambda x: x.flip(0)), "in a batch than alone"),
    (check_rows, lambda: of(lambda x: x + 0.1 * x[:1]), "in a batch than alone"),
    (check_rows, lambda: of(lambda x: x + 0.1 * x[-1:]), "in a batch than alone"),
    (check_gradient, lambda: of(lambda x: x.detach()), r"passes no gradient to its input; remove `torch\.no_grad`"),
    (check_gradient, lambda: of(torch.no_grad()(lambda x: 2 * x)), "passes no gradient to its input"),
    (check_gradient, lambda: of(torch.inference_mode()(lambda x: 2 * x)), "passes no gradient to its input"),
    (check_gradient, lambda: of(lambda x: (8 * x).round()), "passes no gradient to its input"),
    (check_gradient, lambda: of(lambda x: x.detach().requires_grad_()), "passes no gradient to its input"),
]


MEANINGLESS_AFTER: dict[Callable[[Trial], None], tuple[Callable[[Trial], None], ...]] = {
    check_finite: (check_repeatable, check_rows),  # nothing equals what is not finite
    check_layout: (check_repeatable, check_rows),  # there are no rows to compare
}


@pytest.mark.parametrize(("check", "make", "sentence"), FAULTS)
def test_a_fault_fails_its_own_check_and_no_other(
    check: Callable[[Trial], None], make: Callable[[], FeatureExtractor], sentence: str
) -> None:
    trial = Trial(make(), "last", pair())
    failing = []
    for candidate in CHECKS:
        try:
            if candidate not in MEANINGLESS_AFTER.get(check, ()):
                candidate(trial)
        except ReadoutError:
            failing.append(candidate)
    assert failing == [check]
    with pytest.raises(ReadoutError, match=sentence):
        validate(make(), "last", pair())


def test_every_check_has_a_fault() -> None:
    # integers have no gradient either, so they have a test of their own
    assert {check for check, _, _ in FAULTS} | {check_type} == set(CHECKS)


@pytest.mark.parametrize(("kind", "word"), [(torch.int64, "int64"), (torch.bool, "bool"), (torch.cfloat, "complex64")])
def test_what_is_no_real_number_is_refused(kind: torch.dtype, word: str) -> None:
    assert f"returns {word} values" in refusal(of(lambda x: (9 * x).to(kind)))


def test_dropout_that_ignores_the_mode_is_named() -> None:
    assert "dropout" in refusal(of(lambda x: F.dropout(x, 0.1, training=True)))


def test_batch_norm_in_training_mode_is_refused() -> None:
    extractor = of(nn.BatchNorm2d(3))
    validate(extractor, "last", pair())
    extractor.network[0].train()  # type: ignore[index]
    assert "(at 'network.0')" in refusal(extractor)


def test_a_gradient_that_breaks_is_explained() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            raise NotImplementedError("no backward for this\nsecond line")

    assert "has no gradient (NotImplementedError: no backward for this)" in refusal(of(Broken.apply))


# Inputs that don't fit


@pytest.mark.parametrize(
    "step",
    [
        nn.Conv2d(3, 4, 9),
        nn.Conv2d(3, 4, 3, dilation=6),
        nn.Conv2d(3, 4, 16, 16),
        nn.MaxPool2d(9),
        nn.AvgPool2d(9),
        nn.ReflectionPad2d(8),
        nn.Unfold(9),
        nn.Sequential(Function(lambda x: x[..., :1, :1]), nn.InstanceNorm2d(3)),
        nn.Sequential(Function(lambda x: x[..., :0]), nn.AdaptiveMaxPool2d(1)),
        nn.Upsample(scale_factor=0.1),
        Function(lambda x: x[..., 8:, 8:]),
    ],
)
def test_inputs_that_are_too_small_are_named_with_the_layer(step: nn.Module) -> None:
    sentence = refusal(of(step))
    assert sentence == (
        "Layer 'last' of FeatureExtractor can't be reached with inputs of 3 × 8 × 8, which are too small for it; "
        "use larger inputs."
    )


def test_vgg19_refuses_images_that_pooling_uses_up() -> None:
    extractor = VGG19("random")
    validate(extractor, "conv4_4", pair())
    assert "'conv5_1' of VGG19 can't be reached with inputs of 3 × 8 × 8" in refusal(extractor, layer="conv5_1")


def test_whatever_else_breaks_is_one_sentence() -> None:
    sentence = refusal(OrthonormalLinear((2, 6)), pair(2, 5), "linear")
    assert "inputs of 2 × 5 (RuntimeError: " in sentence
    assert "mat1 and mat2 shapes cannot be multiplied" in sentence

    def fail(x: Tensor) -> Tensor:
        raise KeyError

    assert "(KeyError)" in refusal(of(fail))


def test_a_network_that_writes_on_its_inputs_is_refused() -> None:
    extractor = Bare(nn.Sequential(nn.ReLU(inplace=True)), {"last": "0"})
    assert "in-place operation" in refusal(extractor)


def test_what_the_extractor_says_itself_is_left_alone() -> None:
    assert refusal(TinyNet(), layer="earlier").startswith("TinyNet has no layer 'earlier'. Did you mean early")


def test_one_input_is_not_enough() -> None:
    with pytest.raises(ValueError, match="two or more"):
        validate(TinyNet(), "early", pair()[:1])


def test_a_contrasting_pair_differs_in_every_statistic() -> None:
    x = torch.tensor([[0.0, 0.2], [0.6, 1.0]])
    assert torch.equal(contrasting_pair(x), torch.tensor([[[0.0, 0.2], [0.6, 1.0]], [[0.1, 0.0], [0.5, 0.3]]]))
