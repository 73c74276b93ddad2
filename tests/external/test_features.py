import math

import torch

from readout.external import ExternalFeatures, ExternalProblem, unknown
from readout.metrics import correlation_distance
from readout.priors import Pixels
from readout.readouts import FeatureInversion, ProblemBatch
from tests.helpers import runtime
from tests.tiny import Identity


def problem(true_digest: str) -> ExternalProblem:
    return ExternalProblem("setting", "cat", "digest", "late", math.nan, 0, 0, true_digest=true_digest)


def test_a_true_input_changes_the_key_but_not_the_seeds() -> None:
    without, with_true = problem(""), problem("0123")
    assert without.key != with_true.key
    assert without.key == problem("").key
    assert without.prior_seed() == with_true.prior_seed()


def test_features_stand_where_their_seed_says() -> None:
    features = {7: {"a": torch.ones(2, 2), "b": torch.zeros(3)}, 8: {"a": torch.full((2, 2), 2.0), "b": torch.ones(3)}}
    moved = ExternalFeatures(features)(torch.rand(2, 7), torch.zeros(2), [8, 7])
    assert moved.tolist() == [[2, 2, 2, 2, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]]


def test_features_of_texts_are_joined_position_by_position_and_padded() -> None:
    features = {
        7: {"a": torch.ones(3, 2), "b": torch.zeros(3, 1)},
        8: {"a": torch.full((2, 2), 2.0), "b": torch.ones(2, 1)},
    }
    mask = torch.tensor([[True, True, False], [True, True, True]])
    moved = ExternalFeatures(features)(torch.full((2, 3, 3), math.nan), torch.zeros(2), [8, 7], mask)
    assert moved.tolist() == [[[2, 2, 1], [2, 2, 1], [0, 0, 0]], [[1, 1, 0]] * 3]


def test_what_is_not_known_of_a_true_input_is_nan_and_the_rest_is_as_it_would_be() -> None:
    # for f(x) = x the feature is the image
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    inversion = FeatureInversion(
        Identity(), Pixels(), optimizer=lambda params: torch.optim.SGD(params, lr=3 * 8 * 8 / 2), lr_schedule=None
    )
    given = ExternalFeatures({place: {"identity": image} for place, image in enumerate(images)})
    inputs = torch.stack([images[0], unknown((3, 8, 8))])
    batch = ProblemBatch(inputs, "identity", torch.full((2,), math.nan), [0, 1], [5, 5], given)
    assert batch.known.tolist() == [True, False]
    inversion.load(batch)
    runtime(2).make_bare_trainer().fit(inversion, range(2))
    outcome = inversion.outcome
    assert outcome is not None
    torch.testing.assert_close(outcome.recovered, images)
    assert outcome.loss.max() < 1e-9
    for name in ("distance", "best_distance", "floor", "scale", "feature_distance", "recovered_feature_distance"):
        known, not_known = getattr(outcome, name)
        assert known.isfinite(), name
        assert not_known.isnan(), name
    assert outcome.distance[0] < 1e-5
    assert outcome.floor[0] == 0


def test_a_distance_to_what_is_not_known_is_not_known_even_for_a_constant() -> None:
    rows = torch.stack([torch.zeros(4), torch.rand(4)])
    assert correlation_distance(rows, torch.full((2, 4), math.nan)).isnan().all()
