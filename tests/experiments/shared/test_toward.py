import math

import pytest
import torch

from experiments.shared.toward import PATHS, TowardNext, along
from readout.common.errors import ReadoutError
from readout.metrics import correlation_distance
from readout.problems.identity import describe
from tests.tiny import TinyNet

INPUTS = {name: torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate("abc")}


def features(layer: str) -> torch.Tensor:
    return TinyNet().extract(torch.stack(list(INPUTS.values())), layer)


@pytest.mark.parametrize("layer", ["early", "late"])
def test_the_line_leads_from_each_input_to_the_next(layer: str) -> None:
    perturbation = TowardNext.among(INPUTS, TinyNet(), ["early", "middle", "late"], "line")
    clean = features(layer)
    moved = perturbation(clean[[2, 0]], torch.tensor([0.25, 0.5]), [0, 0])
    torch.testing.assert_close(moved[0], 0.75 * clean[2] + 0.25 * clean[0])
    torch.testing.assert_close(moved[1], 0.5 * clean[0] + 0.5 * clean[1])
    assert torch.equal(perturbation(clean, torch.zeros(3), [0, 0, 0]), clean)


def test_the_sphere_turns_the_pattern_at_an_even_pace_and_keeps_mean_and_spread() -> None:
    x, y = features("middle")[:2].double()
    whole = math.acos(1 - float(correlation_distance(x[None], y[None])))
    for share in (0.3, 0.8):
        moved = along(x, y, share, "sphere")
        assert float(correlation_distance(moved[None], x[None])) == pytest.approx(1 - math.cos(share * whole))
        assert float(correlation_distance(moved[None], y[None])) == pytest.approx(1 - math.cos((1 - share) * whole))
        assert float(moved.mean()) == pytest.approx(float(x.mean()))
        assert float(moved.std()) == pytest.approx(float(x.std()))


def test_what_decides_an_answer_is_described() -> None:
    line, sphere = (TowardNext.among(INPUTS, TinyNet(), ["early"], path) for path in PATHS)  # type: ignore[arg-type]
    fewer = TowardNext.among({name: INPUTS[name] for name in "ab"}, TinyNet(), ["early"], "line")
    assert len({str(describe(each)) for each in (line, sphere, fewer)}) == 3


def test_a_feature_of_another_input_is_refused() -> None:
    perturbation = TowardNext.among(INPUTS, TinyNet(), ["early"], "line")
    with pytest.raises(ReadoutError, match="not that of any input"):
        perturbation(torch.rand(1, 8, 8, 8), torch.tensor([0.5]), [0])
    with pytest.raises(ReadoutError, match="at least two"):
        TowardNext(["one"], "line")
