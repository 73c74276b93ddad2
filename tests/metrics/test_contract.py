"""Rules for every metric; a new class is one entry of :data:`METRICS`."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from readout.metrics import (
    DISTS,
    LPIPS,
    PSNR,
    SSIM,
    CorrelationDistance,
    EmbeddingCosine,
    ExactMatch,
    SampleMetric,
    SupportDistance,
    TokenErrorRate,
    ZeroOne,
)
from tests.tiny import Vocabulary, concrete_classes

pytestmark = pytest.mark.usefixtures("random_backbones")


class Entry(NamedTuple):
    """A metric and two of its values."""

    make: Callable[[], SampleMetric]
    perfect: float
    """Its value where the true input was recovered."""
    threshold: float | None = None
    """The metric's own."""
    texts: bool = False
    codes: bool = False


METRICS = {
    "correlation_distance": Entry(CorrelationDistance, 0, threshold=0.1),
    "ssim": Entry(SSIM, 1),
    "psnr": Entry(PSNR, math.inf),
    "lpips": Entry(lambda: LPIPS("squeeze"), 0),
    "dists": Entry(DISTS, 0),
    "zero_one": Entry(ZeroOne, 0, threshold=0.5),
    "token_error_rate": Entry(TokenErrorRate, 0, threshold=0.3, texts=True),
    "support_distance": Entry(SupportDistance, 0, threshold=1e-6, codes=True),
    "exact_match": Entry(ExactMatch, 1, texts=True),
    "embedding_cosine": Entry(EmbeddingCosine, 1, texts=True),
}

Pair = tuple[Tensor, Tensor]


@pytest.fixture(scope="module", params=METRICS)
def metric(request: pytest.FixtureRequest, random_backbones: None) -> SampleMetric:
    made = METRICS[request.param].make()
    made.prepare_for(Vocabulary())
    return made


@pytest.fixture
def entry(metric: SampleMetric) -> Entry:
    return METRICS[metric.name]


@pytest.fixture
def pair(metric: SampleMetric, entry: Entry) -> Pair:
    """Five recovered and true inputs, the later ones farther apart; of texts the first position is not scored."""
    metric.reset()
    if entry.texts:
        true = torch.tensor([-1, 5, 6, 7, 8]).repeat(5, 1)
        return true.where(torch.arange(5) + torch.arange(5)[:, None] < 5, 9), true
    if entry.codes:
        true = torch.eye(5).roll(1) + torch.eye(5)
        return true.where(torch.arange(5) >= torch.arange(5)[:, None], 0.5), true
    true, noise = torch.rand(2, 5, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    share = torch.linspace(0.1, 0.9, 5).view(-1, 1, 1, 1)
    return (1 - share) * true + share * noise, true


def test_every_class_has_an_entry(random_backbones: None) -> None:
    assert {type(entry.make()) for entry in METRICS.values()} == concrete_classes(SampleMetric)


def test_a_sample_has_the_value_it_has_alone(metric: SampleMetric, pair: Pair) -> None:
    values = metric.per_sample(*pair)
    assert values.shape == (5,)
    alone = [metric.per_sample(*(side[i : i + 1] for side in pair)).item() for i in range(5)]
    assert values.tolist() == pytest.approx(alone, abs=1e-5)


def test_the_value_of_what_was_recovered_is_the_best(metric: SampleMetric, entry: Entry, pair: Pair) -> None:
    recovered, true = pair
    assert metric.per_sample(true, true).tolist() == pytest.approx([entry.perfect] * 5, abs=1e-4)
    near, far = metric.per_sample(recovered[[0, -1]], true[[0, -1]]).tolist()
    assert (near > far) is metric.higher_is_better is (entry.perfect > 0)
    assert metric.threshold == entry.threshold


def test_the_mean_is_over_samples_of_unequal_batches(metric: SampleMetric, pair: Pair) -> None:
    for part in (slice(0, 1), slice(1, 3), slice(3, 5)):
        metric.update(*(side[part] for side in pair))
    torch.testing.assert_close(metric.compute(), metric.per_sample(*pair).mean())
    metric.reset()
    metric.update(*(side[:1] for side in pair))
    torch.testing.assert_close(metric.compute(), metric.per_sample(*pair)[0])


def test_what_is_not_known_spoils_no_other_sample(metric: SampleMetric, entry: Entry, pair: Pair) -> None:
    recovered, true = pair
    before = metric.per_sample(recovered, true)
    if entry.texts:  # positions that are not scored
        recovered = recovered.masked_fill(true < 0, 3)
        torch.testing.assert_close(metric.per_sample(recovered, true), before)
    else:
        true = true.index_fill(0, torch.tensor([1]), torch.nan)
        values = metric.per_sample(recovered, true)
        assert values.isnan().tolist() == [False, True, False, False, False]
        torch.testing.assert_close(values[[0, 2, 3, 4]], before[[0, 2, 3, 4]])


def test_networks_are_frozen_and_training_changes_nothing(metric: SampleMetric, pair: Pair) -> None:
    before = metric.per_sample(*pair)
    assert torch.equal(metric.train().per_sample(*pair), before)
    assert not before.requires_grad
    assert not any(parameter.requires_grad for parameter in metric.parameters())
