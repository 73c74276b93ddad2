from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from readout.data import Sample, Samples
from readout.data.in_memory import ImagesInMemory
from readout.perturbations import Perturbation
from readout.readouts import Identification, Outcome, ProblemBatch
from tests.helpers import runtime
from tests.tiny import Identity

BRIGHTNESS = torch.linspace(0, 0.8, 6).view(-1, 1, 1, 1)
IMAGES = BRIGHTNESS + 0.2 * torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class Stretch(Perturbation):
    """A line through the feature, along which its correlation distance stays 0."""

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        return 3 * feature + 2


def identify(readout: Identification, images: Tensor) -> Outcome:
    samples = Samples.of(Sample(f"input {place}", image) for place, image in enumerate(images))
    readout.meet(samples, images.shape[1:])
    count = range(len(images))
    levels = torch.zeros(len(images), dtype=torch.float64)
    readout.load(ProblemBatch(images, "identity", levels, count, count, Stretch(), list(samples)))
    readout.run(runtime(1).make_bare_trainer())
    assert readout.outcome is not None
    return readout.outcome


@pytest.mark.parametrize("distance", ["correlation", "euclidean"])
def test_ranks_follow_from_the_chosen_distance(distance: Any) -> None:
    outcome = identify(Identification(Identity(), distance=distance), IMAGES)
    known, moved = IMAGES.flatten(1), 3 * IMAGES.flatten(1) + 2
    between = {
        "correlation": 1 - torch.corrcoef(torch.cat([moved, known]))[:6, 6:],
        "euclidean": torch.cdist(moved, known),
    }[distance]
    assert outcome.recovered.tolist() == between.argmin(1).tolist()
    ranks = (between < between.diagonal().unsqueeze(1)).sum(1) + 1
    assert outcome.metrics["rank"].tolist() == ranks.tolist()
    assert outcome.metrics["two_way"].tolist() == pytest.approx(((6 - ranks) / 5).tolist())
    assert outcome.metrics["chance"].tolist() == pytest.approx([1 / 6] * 6)
    assert (ranks == 1).all() == (distance == "correlation")


def test_a_candidate_is_the_same_image_under_any_name_and_counts_once() -> None:
    candidates = {f"candidate {place}": image for place, image in enumerate([*IMAGES.flip(0), IMAGES[2]])}
    readout = Identification(Identity(), ImagesInMemory(candidates))
    outcome = identify(readout, IMAGES[:2])
    assert outcome.distance.tolist() == [0, 0]
    assert outcome.metrics["chance"].tolist() == pytest.approx([1 / 6] * 2)
    names = [readout.describe_recovered(place, found) for place, found in enumerate(outcome.recovered)]
    assert names == [{"recovered_sample": "candidate 5"}, {"recovered_sample": "candidate 4"}]
    again = Identification(Identity(), ImagesInMemory({str(place): image for place, image in enumerate(IMAGES)}))
    identify(again, IMAGES[:1])
    assert again.describe() == readout.describe()
