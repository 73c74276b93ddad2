import pytest
import torch
from torch.nn import functional as F

from readout.common.errors import ReadoutError
from readout.readouts import MeanSquaredError, MeanSquaredErrorAndCosine

FEATURE, TARGET = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(5) < torch.tensor([[5], [3], [1]])
LOSSES = [MeanSquaredError(), MeanSquaredErrorAndCosine()]


def test_the_squared_error_is_torchs() -> None:
    expected = torch.stack([F.mse_loss(a, b) for a, b in zip(FEATURE, TARGET, strict=True)])
    torch.testing.assert_close(MeanSquaredError()(FEATURE, TARGET), expected)


def test_the_cosine_is_taken_token_by_token() -> None:
    stretched = TARGET * torch.rand(3, 5, 1, generator=torch.Generator().manual_seed(1))
    cosine = MeanSquaredErrorAndCosine(squared_error=0)
    assert cosine(stretched, TARGET).tolist() == pytest.approx([0] * 3, abs=1e-6)
    assert cosine(-TARGET, TARGET).tolist() == pytest.approx([2] * 3, abs=1e-6)


def test_the_weights_weigh() -> None:
    squared, cosine = MeanSquaredErrorAndCosine(1, 0)(FEATURE, TARGET), MeanSquaredErrorAndCosine(0, 1)(FEATURE, TARGET)
    torch.testing.assert_close(MeanSquaredErrorAndCosine(2, 3)(FEATURE, TARGET), 2 * squared + 3 * cosine)


def test_weights_that_say_nothing_are_refused() -> None:
    with pytest.raises(ReadoutError, match="both 0"):
        MeanSquaredErrorAndCosine(0, 0)
