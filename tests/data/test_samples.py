import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data import InputData, Sample, load_samples
from tests.tiny import TinyNet


class Given(InputData):
    """Inputs given by hand."""

    def __init__(self, *samples: Sample) -> None:
        super().__init__()
        self.samples: tuple[Sample, ...] = ()
        self.given = samples
        self.hooks: list[str] = []
        self.loaded: list[str] = []

    def prepare_data(self) -> None:
        self.hooks.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.hooks.append(f"setup {stage}")
        self.samples = self.given

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.loaded.append(self.samples[index].name)
        return self.samples[index]


def ramp(*shape: int) -> Tensor:
    return torch.linspace(0, 1, torch.Size(shape).numel()).view(shape)


def test_inputs_are_prepared_set_up_and_loaded_in_order() -> None:
    data = Given(Sample("b", ramp(3, 4, 4)), Sample("a", ramp(3, 4, 4).flip(0)))
    samples = load_samples(data, TinyNet())
    assert list(samples) == ["b", "a"]
    assert torch.equal(samples["a"].input, ramp(3, 4, 4).flip(0))
    assert data.hooks == ["prepare_data", "setup fit"]


def test_inputs_that_fit_in_memory_are_loaded_once_and_not_copied() -> None:
    data = Given(Sample("a", ramp(4)), Sample("b", ramp(4).flip(0)))
    samples = load_samples(data, TinyNet())
    assert samples["a"].input is data.given[0].input
    assert samples.inputs["b"] is data.given[1].input
    assert data.loaded == ["a", "b"]


def test_inputs_that_do_not_fit_are_loaded_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readout.data.samples.MEMORY", ramp(4).nbytes)
    data = Given(Sample("a", ramp(4)), Sample("b", ramp(4).flip(0), "cat"), Sample("c", ramp(4).square()))
    samples = load_samples(data, TinyNet())
    assert list(samples) == [*"abc"]
    assert samples.metadata["b"].label == "cat"
    assert {name: (x.shape, x.dtype) for name, x in samples.shapes.items()} == dict.fromkeys(
        "abc", (torch.Size([4]), torch.float32)
    )
    assert data.loaded == [*"abc"]
    assert torch.equal(samples.stack(["c", "a", "b"]), torch.stack([ramp(4).square(), ramp(4), ramp(4).flip(0)]))
    assert data.loaded == [*"abc", *"cb"]
    assert sum(sample.input.nbytes for sample in samples._kept.values()) == ramp(4).nbytes


@pytest.mark.parametrize("now", [Sample("b", ramp(4).square()), Sample("c", ramp(4).flip(0))])
def test_an_input_that_changes_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch, now: Sample) -> None:
    monkeypatch.setattr("readout.data.samples.MEMORY", 0)
    data = Given(Sample("a", ramp(4)), Sample("b", ramp(4).flip(0)))
    samples = load_samples(data, TinyNet())
    data.samples = (data.samples[0], now)
    assert torch.equal(samples["a"].input, ramp(4))
    with pytest.raises(ReadoutError, match="Input 'b' has changed since the run began; run the same command again"):
        samples["b"]


def test_names_have_to_differ() -> None:
    with pytest.raises(ReadoutError, match="Two inputs are named 'cat'"):
        load_samples(Given(Sample("cat", ramp(4)), Sample("cat", ramp(4).flip(0))), TinyNet())


def test_shapes_have_to_agree() -> None:
    with pytest.raises(ReadoutError, match=r"'b' has shape \(4, 4\), but the first has \(16,\)"):
        load_samples(Given(Sample("a", ramp(16)), Sample("b", ramp(4, 4))), TinyNet())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_have_to_be_finite(value: float) -> None:
    x = ramp(4)
    x[1] = value
    with pytest.raises(ReadoutError, match="'bad' has values that are not finite"):
        load_samples(Given(Sample("good", ramp(4)), Sample("bad", x)), TinyNet())


def test_a_constant_input_is_refused() -> None:
    with pytest.raises(ReadoutError, match="'grey' is constant"):
        load_samples(Given(Sample("good", ramp(4)), Sample("grey", torch.full((4,), 0.3))), TinyNet())


def test_no_inputs_at_all_is_an_error() -> None:
    with pytest.raises(ReadoutError, match="no inputs; give at least one"):
        load_samples(Given(), TinyNet())


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4)])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 255.0), (-2.1, 2.6), (0.0, 1.01)])
def test_images_have_to_lie_in_0_to_1(shape: tuple[int, ...], low: float, high: float) -> None:
    with pytest.raises(ReadoutError, match=f"'b' has values from {low:.4g} to {high:.4g}; scale images to"):
        load_samples(Given(Sample("a", ramp(*shape)), Sample("b", low + (high - low) * ramp(*shape))), TinyNet())


def test_rounding_may_leave_0_to_1() -> None:
    x = ramp(3, 4, 4) * 1.000001 - 1e-7
    assert x.min() < 0 < 1 < x.max()
    assert list(load_samples(Given(Sample("a", x)), TinyNet())) == ["a"]


@pytest.mark.parametrize("shape", [(48,), (5, 8), (4, 3, 4)])
def test_what_is_no_image_may_have_any_values(shape: tuple[int, ...]) -> None:
    assert list(load_samples(Given(Sample("a", 9 * ramp(*shape) - 4)), TinyNet())) == ["a"]


def test_a_sample_has_no_label_unless_given_one() -> None:
    assert Sample("a", ramp(4)).label is None
    assert Sample("a", ramp(4), "cat").label == "cat"
