import math

import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data import Sample, Samples
from readout.metrics import correlation_distance
from readout.perturbations import Origin, Toward
from readout.perturbations.toward import along
from readout.problems.identity import describe
from tests.tiny import TinyNet

INPUTS = {name: torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate("abc")}


def features(layer: str) -> Tensor:
    return TinyNet().extract(torch.stack(list(INPUTS.values())), layer)


def toward(names: str, path: str) -> Toward:
    perturbation = Toward(path)  # type: ignore[arg-type]
    perturbation.meet(Samples.of(Sample(name, INPUTS[name]) for name in names))
    return perturbation


@pytest.mark.parametrize("layer", ["early", "late"])
def test_the_line_leads_from_each_input_to_the_next(layer: str) -> None:
    perturbation, clean = toward("abc", "line"), features(layer)
    assert [perturbation.others(name) for name in "ca"] == [["a"], ["b"]]
    inputs = torch.stack([INPUTS["c"], INPUTS["a"]])
    origin = Origin(TinyNet(), layer, inputs, clean[[2, 0]], ["c", "a"], others={name: INPUTS[name] for name in "ab"})
    moved = perturbation.from_origin(clean[[2, 0]], torch.tensor([0.25, 0.5]), [0, 0], None, origin)
    torch.testing.assert_close(moved[0], 0.75 * clean[2] + 0.25 * clean[0])
    torch.testing.assert_close(moved[1], 0.5 * clean[0] + 0.5 * clean[1])


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
    assert (
        len({str(describe(each)) for each in (toward("abc", "line"), toward("abc", "sphere"), toward("ab", "line"))})
        == 3
    )


def test_one_input_alone_and_texts_are_refused() -> None:
    with pytest.raises(ReadoutError, match="Toward is for images"):
        Toward().meet(Samples.of(Sample(name, torch.arange(3)) for name in "ab"))
    with pytest.raises(ReadoutError, match="give at least two, all different"):
        toward("a", "line")
