import pytest
import torch

from readout.priors import expected_embedding as module
from readout.priors.expected_embedding import expected_embedding

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(7, 11, generator=GENERATOR, dtype=torch.float64)
TABLE = torch.randn(11, 3, generator=GENERATOR, dtype=torch.float64)


@pytest.fixture(autouse=True, params=[1, 2, 100])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One, two, and more rows at a time than there are."""
    monkeypatch.setattr(module, "CHUNK_BYTES", request.param * 11 * 8)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_value_and_gradient_are_the_plain_ones(temperature: float) -> None:
    ours, plain = (LOGITS.clone().requires_grad_() for _ in range(2))
    upstream = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = expected_embedding(ours, TABLE, temperature)
    expected = (plain / temperature).softmax(1) @ TABLE
    torch.testing.assert_close(found, expected)
    found.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, plain.grad)


def test_under_autocast_only_the_products_are_rounded() -> None:
    rounded, plain = (LOGITS.float().requires_grad_() for _ in range(2))
    upstream = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        found = expected_embedding(rounded, TABLE.float())
    expected = expected_embedding(plain, TABLE.float())
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    found.backward(upstream)
    expected.backward(upstream)
    assert not torch.equal(rounded.grad, plain.grad)  # type: ignore[arg-type]
    torch.testing.assert_close(rounded.grad, plain.grad, rtol=0.02, atol=0.01)


def test_the_gradient_is_that_of_finite_differences() -> None:
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: expected_embedding(x, TABLE, 0.7), logits)


def test_hard_takes_the_likeliest_token_with_the_soft_gradient() -> None:
    hard, soft = (LOGITS.clone().requires_grad_() for _ in range(2))
    taken = expected_embedding(hard, TABLE, hard=True)
    assert torch.equal(taken, TABLE[LOGITS.argmax(1)])
    taken.sum().backward()
    expected_embedding(soft, TABLE).sum().backward()
    assert torch.equal(hard.grad, soft.grad)  # type: ignore[arg-type]


def test_nothing_of_the_logits_size_is_kept_beside_them() -> None:
    kept: list[torch.Tensor] = []
    logits = LOGITS.clone().requires_grad_()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        expected_embedding(logits, TABLE)
    assert any(tensor.data_ptr() == logits.data_ptr() for tensor in kept)
    assert all(tensor.numel() <= TABLE.numel() for tensor in kept if tensor.data_ptr() != logits.data_ptr())
