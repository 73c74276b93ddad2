"""Ridge with a penalty per output, against scikit-learn's and against leaving each row out."""

import pytest
import torch
from sklearn.linear_model import Ridge as ScikitRidge
from sklearn.linear_model import RidgeCV

from readout.common.errors import ReadoutError
from readout.decoders.linear_map import PENALTIES, fit_linear_map
from readout.decoders.ridge import leave_one_out
from readout.decoders.svd import thin_svd


@pytest.mark.parametrize("dimensions", [20, 90])
def test_penalties_and_predictions_are_those_of_scikit_learn(dimensions: int) -> None:
    generator = torch.Generator().manual_seed(dimensions)
    inputs = torch.randn(60, dimensions, generator=generator).double() * torch.linspace(0.2, 3, dimensions)
    deviations = torch.tensor([0.1, 3.0, 30.0, 0.0])
    outputs = inputs @ torch.randn(dimensions, 4, generator=generator).double()
    outputs += deviations * torch.randn(60, 4, generator=generator)
    outputs[:, 3] = torch.randn(60, generator=generator)
    fitted = fit_linear_map(inputs, outputs)
    tried = thin_svd(inputs - inputs.mean(0))[1][0].square() * PENALTIES
    other = RidgeCV(alphas=tried.numpy(), alpha_per_target=True).fit(inputs.numpy(), outputs.numpy())
    torch.testing.assert_close(fitted.penalties, torch.from_numpy(other.alpha_))
    assert len({*fitted.penalties.tolist()}) > 2
    rows = torch.randn(5, dimensions, generator=generator).double()
    torch.testing.assert_close(fitted(rows), torch.from_numpy(other.predict(rows.numpy())), rtol=1e-5, atol=1e-6)


def test_errors_are_those_of_leaving_each_row_out() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, outputs = (torch.randn(12, size, generator=generator).double() for size in (7, 2))
    inputs, outputs = inputs - inputs.mean(0), outputs - outputs.mean(0)
    left, values, _ = thin_svd(inputs)
    found = leave_one_out(left, values, outputs, torch.tensor([0.5, 20.0]))
    for penalty, errors in zip((0.5, 20.0), found, strict=True):
        residuals = []
        for row in range(12):
            kept = [place for place in range(12) if place != row]
            model = ScikitRidge(penalty).fit(inputs[kept].numpy(), outputs[kept].numpy())
            residuals.append(outputs[row] - torch.from_numpy(model.predict(inputs[[row]].numpy())[0]))
        torch.testing.assert_close(errors, torch.stack(residuals).square().mean(0), rtol=0.02, atol=0)


def test_a_shared_penalty_is_that_of_the_mean_error() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 10, generator=generator)
    outputs = inputs @ torch.randn(10, 3, generator=generator) + torch.randn(40, 3, generator=generator)
    found = fit_linear_map(inputs, outputs, shared=True)
    assert len({*found.penalties.tolist()}) == 1
    alike = fit_linear_map(inputs, outputs[:, :1].expand(40, 3))
    torch.testing.assert_close(alike.penalties, fit_linear_map(inputs, outputs[:, :1]).penalties.expand(3))


def test_constant_inputs_are_refused() -> None:
    with pytest.raises(ReadoutError, match="All inputs of a regression are the same"):
        fit_linear_map(torch.ones(4, 3), torch.rand(4, 2))
