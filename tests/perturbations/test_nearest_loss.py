import pytest
import torch
from torch import Tensor

from readout.extractors import OrthonormalLinear
from readout.metrics import correlation_distance
from readout.perturbations import NearestLoss, Origin, noise_to_signal

DIMENSIONS = 40
SHAPE = (1, 2, 2)
EXTRACTOR = OrthonormalLinear(SHAPE, expansion=DIMENSIONS / 4)
X = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
H = torch.randn(1, DIMENSIONS, generator=torch.Generator().manual_seed(1))


def across(direction: Tensor) -> Tensor:
    """The part orthogonal to h and to the constant vector, of length 1."""
    basis = torch.linalg.qr(torch.stack([torch.ones(DIMENSIONS), H[0]], dim=1))[0]
    left = direction - basis @ (basis.T @ direction)
    return left / left.norm()


def test_a_classifiers_nearest_boundary_is_met_where_the_margin_ends() -> None:
    weights = torch.randn(3, DIMENSIONS, generator=torch.Generator().manual_seed(2))

    def margin(moved: Tensor, clean: Tensor, inputs: Tensor) -> Tensor:
        logits, own = moved @ weights.T, (clean @ weights.T).argmax(1, keepdim=True)
        return logits.scatter(1, own, -torch.inf).amax(1) - logits.gather(1, own).squeeze(1)

    # the boundary to each other class is a plane; the nearest one within the directions across h
    logits = (H @ weights.T)[0]
    own = int(logits.argmax())
    lengths = []
    for other in {0, 1, 2} - {own}:
        normal = weights[other] - weights[own]
        lengths.append(float((logits[own] - logits[other]) / (across(normal) @ normal)))
    spread = float((H - H.mean()).norm())
    level = 1 - (1 + (min(lengths) / spread) ** 2) ** -0.5
    origin = Origin(EXTRACTOR, "linear", X, H, ["x"], margin)
    for share, lost in ((0.99, False), (1.01, True)):
        moved = NearestLoss(at=level).from_origin(H, torch.tensor([level * share]), [0], None, origin)
        assert bool(margin(moved, H, X) > 0) == lost


def test_a_linear_decoder_loses_most_along_its_largest_singular_value() -> None:
    """Which is that of the smallest singular value of the network."""
    left = torch.linalg.qr(torch.randn(DIMENSIONS, 4, generator=torch.Generator().manual_seed(3)))[0]
    right = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(4)))[0]
    decoder = right @ torch.diag(torch.tensor([0.2, 0.5, 1.0, 8.0])) @ left.T

    def distance(moved: Tensor, clean: Tensor, inputs: Tensor) -> Tensor:
        return correlation_distance((moved - clean) @ decoder.T + inputs.flatten(1), inputs.flatten(1))

    origin = Origin(EXTRACTOR, "linear", X, H, ["x"], distance)
    moved = NearestLoss(at=0.01, steps=100).from_origin(H, torch.tensor([0.01]), [0], None, origin)
    found = float(distance(moved, H, X))
    # no direction does more: 2,000 random ones in the plane that counts, and the singular vector itself
    generator = torch.Generator().manual_seed(5)
    tried = [left[:, 3], *(left @ torch.randn(4, generator=generator) for _ in range(2000))]
    length = noise_to_signal(0.01) * float((H - H.mean()).norm())
    others = [float(distance(H + sign * length * across(each), H, X)) for each in tried for sign in (1, -1)]
    assert found == pytest.approx(max(others), rel=0.02)
    assert found > 5 * sorted(others)[len(others) // 2]
