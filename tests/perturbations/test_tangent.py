import pytest
import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor, OrthonormalLinear
from readout.perturbations import NormalPerturbation, Origin, TangentPerturbation

SHAPE, D = (1, 3, 3), 27
X = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))


class Linear(FeatureExtractor):
    """A linear map of known singular values."""

    def __init__(self, values: list[float]) -> None:
        generator = torch.Generator().manual_seed(0)
        left = torch.linalg.qr(torch.randn(D, len(values), generator=generator))[0]
        right = torch.linalg.qr(torch.randn(9, len(values), generator=generator))[0]
        linear = nn.Linear(9, D, bias=False)
        linear.weight = nn.Parameter(left @ torch.diag(torch.tensor(values)) @ right.T)
        super().__init__(nn.Sequential(nn.Flatten(), linear), {"linear": "1"}, mean=[0.0])
        self.left = left


def step(perturbation: TangentPerturbation, extractor: FeatureExtractor, x: Tensor = X) -> Tensor:
    feature = extractor.extract(x, "linear")
    origin = Origin(extractor, "linear", x, feature, ["x"])
    return (perturbation.from_origin(feature, torch.tensor([0.5]), [3], None, origin) - feature)[0]


def test_noise_is_split_into_the_range_of_the_jacobian_and_its_complement() -> None:
    extractor = Linear([5.0, 2.0, 1.0, 0.5, 0.1])
    range_of = extractor.left @ extractor.left.T
    tangent, normal = step(TangentPerturbation(), extractor), step(NormalPerturbation(), extractor)
    torch.testing.assert_close(range_of @ tangent, tangent, rtol=0, atol=1e-4)
    torch.testing.assert_close(range_of @ normal, torch.zeros(D), rtol=0, atol=1e-4)
    # parts of the same noise, both of its strength
    noise = torch.randn(D, generator=torch.Generator().manual_seed(3))
    for part, wanted in ((tangent, range_of @ noise), (normal, noise - range_of @ noise)):
        assert float(torch.cosine_similarity(part, wanted, dim=0)) == pytest.approx(1, abs=1e-5)
    assert float(tangent.norm() / normal.norm()) == pytest.approx(1)


def test_directions_below_the_tolerance_are_normal() -> None:
    extractor = Linear([1.0, 0.5, 1e-3])
    tangent = step(TangentPerturbation(tolerance=0.01), extractor)
    seen = (extractor.left.T @ tangent).abs()
    assert seen[2] < 1e-4 * seen[0]


def test_a_projection_is_kept_for_other_levels_of_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor, made = OrthonormalLinear(SHAPE, 3), []
    perturbation = TangentPerturbation()
    extract = extractor.extract
    monkeypatch.setattr(extractor, "extract", lambda *given: (made.append(given), extract(*given))[1])  # type: ignore[func-returns-value]
    feature = extract(X, "linear").expand(3, D)
    origin = Origin(extractor, "linear", X.expand(3, *SHAPE), feature, ["x"] * 3)
    moved = perturbation.from_origin(feature, torch.tensor([0.1, 0.5, 0.5]), [1, 1, 2], None, origin)
    assert len(made) == 2  # once per seed
    assert not torch.equal(moved[1], moved[2])
    made.clear()
    whole, normal = OrthonormalLinear(SHAPE, 1), NormalPerturbation()
    feature, extract_whole = whole.extract(X, "linear"), whole.extract
    monkeypatch.setattr(whole, "extract", lambda *given: (made.append(given), extract_whole(*given))[1])  # type: ignore[func-returns-value]
    for level in (0.1, 0.5):
        with pytest.raises(ReadoutError, match="no direction normal to it"):
            normal.move(feature[0].double(), level, 1, Origin(whole, "linear", X, feature, ["x"]))
    assert len(made) == 1  # that there is none holds at every level


def test_what_has_no_such_direction_says_so() -> None:
    with pytest.raises(ReadoutError, match="does not change with the input"):
        step(TangentPerturbation(), Constant())
    with pytest.raises(ReadoutError, match="no direction normal to it"):
        step(NormalPerturbation(), OrthonormalLinear(SHAPE, 1))


class Constant(FeatureExtractor):
    """Features that do not depend on the input."""

    def __init__(self) -> None:
        linear = nn.Linear(9, D)
        nn.init.zeros_(linear.weight)
        super().__init__(nn.Sequential(nn.Flatten(), linear), {"linear": "1"}, mean=[0.0])
