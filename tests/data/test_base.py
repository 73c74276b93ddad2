import pytest
import torch
from torch import Tensor

from readout.data import InputData, Sample, load_inputs
from readout.errors import ReadoutError


class Given(InputData):
    """Inputs given by hand."""

    def __init__(self, *samples: Sample) -> None:
        super().__init__()
        self.samples: tuple[Sample, ...] = ()
        self.given = samples
        self.hooks: list[str] = []

    def prepare_data(self) -> None:
        self.hooks.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.hooks.append(f"setup {stage}")
        self.samples = self.given

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def ramp(*shape: int) -> Tensor:
    return torch.linspace(0, 1, torch.Size(shape).numel()).view(shape)


def test_inputs_are_prepared_set_up_and_loaded_in_order() -> None:
    data = Given(Sample("b", ramp(3, 4, 4)), Sample("a", ramp(3, 4, 4).flip(0)))
    inputs = load_inputs(data)
    assert list(inputs) == ["b", "a"]
    assert torch.equal(inputs["a"], ramp(3, 4, 4).flip(0))
    assert data.hooks == ["prepare_data", "setup fit"]


def test_names_have_to_differ() -> None:
    with pytest.raises(ReadoutError, match="Two inputs are called 'cat'"):
        load_inputs(Given(Sample("cat", ramp(4)), Sample("cat", ramp(4).flip(0))))


def test_shapes_have_to_agree() -> None:
    with pytest.raises(ReadoutError, match=r"'b' has shape \(4, 4\), the first has \(16,\)"):
        load_inputs(Given(Sample("a", ramp(16)), Sample("b", ramp(4, 4))))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_have_to_be_finite(value: float) -> None:
    x = ramp(4)
    x[1] = value
    with pytest.raises(ReadoutError, match="'bad' holds values that are not finite"):
        load_inputs(Given(Sample("good", ramp(4)), Sample("bad", x)))


def test_a_constant_input_is_refused() -> None:
    with pytest.raises(ReadoutError, match="'grey' is constant"):
        load_inputs(Given(Sample("good", ramp(4)), Sample("grey", torch.full((4,), 0.3))))


def test_no_inputs_at_all_is_an_error() -> None:
    with pytest.raises(ReadoutError, match="no inputs; give at least one"):
        load_inputs(Given())
