"""Which submodules are layers: each network here has one peculiarity, and an answer that is known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.extractors.submodules import Submodules
from readout.extractors.validate import contrasting_pair, validate
from readout.measurement import PlainModule

IMAGE = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))


class HeadFirst(nn.Module):
    """Registered in another order than it runs, with a module that never runs and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 5)
        self.unused = nn.Linear(3, 3)
        self.act = nn.ReLU()
        self.conv = nn.Conv2d(3, 4, 3)
        self.reduce = nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.reduce(self.act(self.conv(x))))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


class Tokens(nn.Module):
    """Attention, recurrence and a module that runs on something other than the input; the batch may come second."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.bias = nn.Sequential(nn.Linear(2, 8), nn.ReLU())
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.memory = nn.GRU(8, 6, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).permute((0, 2, 1) if self.batch_first else (2, 0, 1))
        x = x + self.bias(torch.ones(1, 2))
        x = self.attention(x, x, x)[0]
        states: Tensor = self.memory(x)[0]
        return states


class Windows(nn.Module):
    """Windows of 4 × 4 pixels in the batch dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.inside, self.after = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        windows = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        x = self.inside(windows).unflatten(0, (len(x), 2, 2)).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)
        result: Tensor = self.after(x)
        return result


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


class Functional(nn.Module):
    """No submodule runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.conv.weight)


def parametrised() -> nn.Module:
    first = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    return nn.Sequential(first, nn.ReLU(), parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)))


def scripted_inside() -> nn.Module:
    scripted = torch.jit.trace(nn.Conv2d(4, 4, 3), torch.zeros(1, 4, 6, 6))  # type: ignore[no-untyped-call]
    return nn.Sequential(nn.Conv2d(3, 4, 3), scripted, nn.ReLU())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "head first": (HeadFirst, ["conv", "act", "reduce", "head"]),
    "tokens": (Tokens, ["patches", "attention", "memory"]),
    "batch second": (lambda: Tokens(batch_first=False), ["patches"]),
    "windows": (Windows, ["before", "after"]),
    "parametrised": (parametrised, ["0", "1", "2"]),
    "one number": (lambda: nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 1)), ["0", "1"]),
    "constant": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Constant()), ["0"]),
    "bare": (lambda: nn.Conv2d(3, 4, 3), ["Conv2d"]),
    "functional": (Functional, ["Functional"]),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.ReLU()), ["0.0", "0.1", "1"]),
    "in place": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)), ["0", "1"]),
    "scripted inside": (scripted_inside, ["0", "2"]),
    "half": (lambda: HeadFirst().half(), ["conv", "act", "reduce", "head"]),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize(("make", "layers"), NETWORKS.values(), ids=NETWORKS)
def test_layers_are_what_runs_once_per_input_in_the_order_of_a_forward_pass(
    make: Callable[[], nn.Module], layers: list[str]
) -> None:
    for extractor in (FeatureExtractor(make()), PlainModule(make())):
        extractor.find_layers(IMAGE[None])
        assert extractor.resolve("all") == layers
        assert extractor.resolve("depth:0") == layers[:1]
        assert extractor.resolve("depth:1") == layers[-1:]
        for layer in layers:
            validate(extractor, layer, contrasting_pair(IMAGE))


@pytest.mark.parametrize("kind", [FeatureExtractor, Submodules])
def test_without_inputs_a_size_that_the_network_takes_is_found(kind: Callable[[nn.Module], FeatureExtractor]) -> None:
    assert kind(HeadFirst()).resolve("depth:0,1") == ["conv", "head"]
    dense = kind(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)))
    assert list(dense.layers) == ["0", "1"]
    assert dense.find_size() == 32
    grey = kind(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
    with pytest.raises(ReadoutError, match=r"images of 28 to 512 pixels .*to have 1 channels.*; name the layers"):
        grey.resolve("all")
    assert grey.extract(torch.rand(2, 1, 8, 8), "0").shape == (2, 4, 6, 6)


def test_a_module_that_runs_twice_is_shown_and_taken_at_its_first_run() -> None:
    extractor = FeatureExtractor(HeadFirst())
    assert extractor.shapes(IMAGE[None]) == {"conv": (4, 6, 6), "act": (4, 6, 6), "reduce": (4, 2, 2), "head": (5,)}
    assert extractor.extract(IMAGE[None], "act").shape == (1, 4, 6, 6)


def test_any_submodule_can_be_asked_for_where_they_go_by_their_paths() -> None:
    extractor = Submodules(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.ReLU()))
    assert list(extractor.layers) == ["0.0", "0.1", "0", "1"]  # a block gives its feature after what is inside it
    assert extractor.resolve(["0", "all"]) == ["0.0", "0.1", "0", "1"]
    assert extractor.resolve(["0"]) == ["0"]


@pytest.mark.parametrize(
    ("network", "layer", "words"),
    [
        (HeadFirst, "unused", "'unused' of HeadFirst never runs in evaluation mode; choose another"),
        (Tokens, "bias.0", "'bias.0' of Tokens does not depend on the input"),
        (
            Windows,
            "inside",
            r"'inside' of Windows returns shape \(8, 4, 4, 4\) for two inputs and \(4, 4, 4, 4\) for one",
        ),
        (NETWORKS["one number"][0], "2", "'2' of Sequential returns one number per input, which has no correlation"),
        (parametrised, "0.parametrizations.weight.0", "does not depend on the input"),
        (HeadFirst, "heads", "HeadFirst has no submodule 'heads'. Did you mean head"),
    ],
)
def test_a_submodule_that_is_no_layer_is_explained(network: Callable[[], nn.Module], layer: str, words: str) -> None:
    extractor = PlainModule(network())
    extractor.find_layers(IMAGE[None])
    with pytest.raises(ReadoutError, match=words):
        extractor.resolve([layer])


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.detach()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Detached, "Detached has no layer: its output does not depend on the input, or passes no gradient"),
        (lambda: nn.Conv2d(3, 4, 9), r"can't be run on inputs of 3 × 8 × 8 \(.*\); try larger ones"),
        (lambda: nn.Linear(3, 4), r"can't be run on inputs of 3 × 8 × 8 \(.*\); check that the network accepts such"),
        (lambda: nn.Conv2d(3, 4, 3, device="meta"), "'weight' of Conv2d is on the meta device, without values; load"),
        (lambda: nn.LazyConv2d(4, 3), "'weight' of LazyConv2d has no values before the network's first run; run the"),
        (lambda: scripted_inside().get_submodule("1"), "TorchScript module, whose submodules can't be watched"),
    ],
)  # fmt: skip
def test_networks_without_layers_are_one_sentence(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ReadoutError, match=words) as raised:
        PlainModule(make()).find_layers(IMAGE[None])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_another_type_runs_in_it_and_gives_the_inputs_type(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).to(dtype)
    extractor = FeatureExtractor(network)
    feature = extractor.extract(IMAGE[None], "1")
    assert feature.dtype == torch.float32
    assert torch.equal(feature, network(IMAGE[None].to(dtype)).float())
    assert extractor.extract(IMAGE[None].to(dtype), "1").dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):  # which chooses types itself
        assert extractor.weights_type(IMAGE) == torch.float32


class Compiled(nn.Module):
    """What ``torch.compile`` returns, without the seconds that its import takes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


def test_wrappers_are_taken_off() -> None:
    for wrapped in (nn.DataParallel(HeadFirst()), Compiled(nn.DataParallel(Compiled(HeadFirst())))):
        extractor = PlainModule(wrapped)
        extractor.find_layers(IMAGE[None])
        assert extractor.name == "HeadFirst"
        assert extractor.resolve("all") == NETWORKS["head first"][1]


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_that_a_run_left_in_a_graph_are_copied(norm: Callable[[nn.Module], nn.Module]) -> None:
    network = nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU())
    network(IMAGE[None])
    copied = PlainModule(network)
    assert torch.equal(copied.extract(IMAGE[None], "1"), network.eval()(IMAGE[None]))


def test_a_module_that_cannot_be_copied_is_one_sentence() -> None:
    network: Any = nn.Sequential(nn.Conv2d(3, 4, 3))
    network.stream = (number for number in range(3))
    with pytest.raises(ReadoutError, match=r"Sequential can't be copied \(.*generator.*\); give `FeatureExtractor"):
        PlainModule(network)


def test_keys_do_not_depend_on_the_inputs_that_layers_were_found_with() -> None:
    extractor = PlainModule(HeadFirst())
    before = extractor.fingerprint()
    extractor.find_layers(IMAGE[None])
    assert extractor.fingerprint() == before
