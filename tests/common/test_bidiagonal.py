import pytest
import torch
from torch import Tensor

from readout.common.bidiagonal import Bidiagonalisation

DIM = 24


def matrix(rank: int = DIM) -> Tensor:
    """A 40 × 24 matrix with singular values from 1 down to 0.01."""
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(40, rank, generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(DIM, rank, generator=generator, dtype=torch.float64))[0]
    return left @ torch.diag(torch.logspace(0, -2, rank, dtype=torch.float64)) @ right.t()


def starts(rows: int = 3) -> Tensor:
    return torch.randn(rows, 2, DIM // 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def decomposed(m: Tensor, b: Tensor, steps: int) -> Bidiagonalisation:
    krylov = Bidiagonalisation(lambda v: v.flatten(1) @ m.t(), lambda w: (w @ m).view(-1, 2, DIM // 2), b)
    krylov.extend(steps)
    return krylov


def dense(m: Tensor, b: Tensor, ridge: float) -> Tensor:
    """(MᵀM + ridge)⁻¹ b of each row."""
    return torch.linalg.solve(m.t() @ m + ridge * torch.eye(DIM), b.flatten(1).t()).t()


@pytest.mark.parametrize("ridge", [1.0, 0.1, 0.01])
def test_functions_of_the_matrix_come_from_one_run(ridge: float) -> None:
    m, b = matrix(), starts()
    values, coefficients, first = decomposed(m, b, 16).ritz()
    expected = dense(m, b, ridge)
    forms = (coefficients.square() / (values + ridge)).sum(1)
    torch.testing.assert_close(forms, (expected * b.flatten(1)).sum(1), rtol=1e-4, atol=0)
    solved = (coefficients[0] / (values[0] + ridge)) @ first.flatten(1)
    assert (solved - expected[0]).norm() < 1e-2 * expected[0].norm()


def test_no_singular_value_comes_twice() -> None:
    """Rounding takes directions back into the space, unless new ones are kept orthogonal to all before."""
    values, _, _ = decomposed(matrix(), starts(), DIM).ritz()
    torch.testing.assert_close(values[0].sqrt(), torch.logspace(0, -2, DIM, dtype=torch.float64), rtol=1e-8, atol=0)


def test_few_steps_are_enough_where_there_is_much_noise() -> None:
    m, b = matrix(), starts()
    values, coefficients, _ = decomposed(m, b, 3).ritz()
    forms = (coefficients.square() / (values + 1)).sum(1)
    torch.testing.assert_close(forms, (dense(m, b, 1) * b.flatten(1)).sum(1), rtol=1e-3, atol=0)


@pytest.mark.parametrize("rank", [DIM, 5])
def test_an_exhausted_space_stays_as_it_is(rank: int) -> None:
    m, b = matrix(rank), starts()
    values, coefficients, _ = decomposed(m, b, DIM + 10).ritz()
    assert values.isfinite().all()
    assert coefficients.isfinite().all()
    torch.testing.assert_close(coefficients.square().sum(1), b.flatten(1).square().sum(1))
    forms = (coefficients.square() / (values + 0.1)).sum(1)
    torch.testing.assert_close(forms, (dense(m, b, 0.1) * b.flatten(1)).sum(1))


def test_rows_do_not_touch_each_other() -> None:
    m, b = matrix(), starts()
    together, alone = decomposed(m, b, 6).ritz(), decomposed(m, b[1:2], 6).ritz()
    torch.testing.assert_close(together[0][1], alone[0][0])
    torch.testing.assert_close(together[1][1].square(), alone[1][0].square())


def test_a_start_of_nothing_gives_nothing() -> None:
    values, coefficients, first = decomposed(matrix(), torch.zeros(1, 2, DIM // 2, dtype=torch.float64), 4).ritz()
    assert (values == 0).all()
    assert (coefficients == 0).all()
    assert (first == 0).all()


def test_growing_in_parts_is_growing_at_once() -> None:
    krylov = decomposed(matrix(), starts(), 4)
    krylov.extend(5)
    assert len(krylov) == 9
    for grown, whole in zip(krylov.ritz(), decomposed(matrix(), starts(), 9).ritz(), strict=True):
        torch.testing.assert_close(grown, whole)
