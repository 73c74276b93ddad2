"""Rules for every readout; a new class is one entry of :data:`READOUTS`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from readout.codes import FISTA, GaussianDictionary, SparseCodes, Superposition
from readout.common.padding import pad, unpad
from readout.data import Sample, Samples, UniformNoise
from readout.extractors import BERT, GPT2
from readout.metrics import PSNR
from readout.perturbations import GaussianPerturbation
from readout.priors import Pixels, TokenLogits
from readout.readouts import (
    ClassReadout,
    CodeReadout,
    FeatureInversion,
    Identification,
    ImageInversion,
    LayerCodes,
    LinearDecoder,
    Outcome,
    ProblemBatch,
    Readout,
    RefinedInversion,
    TextInversion,
    TokenSearch,
    TrainedDecoder,
)
from readout.representation import Verdict, verdict
from tests.helpers import runtime
from tests.tiny import TinyClassifier, TinyNet, concrete_classes
from tests.tiny_text import TEXT, save_tiny


class Entry(NamedTuple):
    """A readout of a tiny network."""

    make: Callable[[str], Readout]
    """The argument is a folder of weights."""
    layer: str = "middle"
    weights: str = ""
    """Kind of the language model; empty for images."""
    codes: bool = False
    """Whether inputs are codes."""


def fast(parameters: Any) -> AdamW:
    return AdamW(parameters, lr=0.01)


DICTIONARY = Superposition(GaussianDictionary(24, 12))
READOUTS = {
    "inversion": Entry(lambda _: FeatureInversion(TinyNet(), Pixels(), optimizer=fast)),
    "inversion of images": Entry(lambda _: ImageInversion(TinyNet(), Pixels(), optimizer=fast, metrics=[PSNR()])),
    "inversion of texts": Entry(lambda weights: TextInversion(BERT(weights), TokenLogits()), "layer.1", "bert"),
    "search for tokens": Entry(lambda weights: TokenSearch(GPT2(weights), beam=2), "layer.1", "gpt2"),
    "code": Entry(lambda _: CodeReadout(DICTIONARY, FISTA()), "superposition", codes=True),
    "codes of a layer": Entry(lambda _: LayerCodes(TinyNet(), GaussianDictionary(24, 16), FISTA(), 5)),
    "class": Entry(lambda _: ClassReadout(TinyClassifier()), "image"),
    "identification": Entry(lambda _: Identification(TinyNet())),
    "refined": Entry(
        lambda _: RefinedInversion(
            TinyNet(),
            partial(LinearDecoder, training_data=UniformNoise(64, (3, 8, 8), seed=1)),
            optimizer=fast,
            metrics=[],
        )
    ),
    "linear decoder": Entry(lambda _: LinearDecoder(TinyNet(), UniformNoise(64, (3, 8, 8), seed=1))),
    "trained decoder": Entry(
        lambda _: TrainedDecoder(TinyNet(), UniformNoise(32, (3, 8, 8), seed=1), training_steps=3, width=4, blocks=1)
    ),
}
LEVELS = [0.0, 0.3, 0.5, 0.7, 0.9]
NAMES = ["a", "b", "b", "a", "c"]
STEPS = 8
NEAR: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5, "equal_nan": True}


class Case(NamedTuple):
    """A readout that has met its inputs and was trained, with what it read."""

    fresh: Callable[[], Readout]
    layer: str
    inputs: Mapping[str, Tensor]
    readout: Readout
    network: str
    """Fingerprint of the extractor before anything was trained or read."""
    outcome: Outcome


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: save_tiny(tmp_path_factory.mktemp(kind), kind) for kind in ("bert", "gpt2")} | {"": ""}


@pytest.fixture(scope="module", params=READOUTS)
def case(request: pytest.FixtureRequest, folders: Mapping[str, str]) -> Case:
    entry = READOUTS[request.param]

    def fresh() -> Readout:
        readout = entry.make(folders[entry.weights])
        readout.meet(Samples.of(Sample(name, x) for name, x in inputs.items()), None)
        return readout

    inputs = texts(folders[entry.weights]) if entry.weights else codes() if entry.codes else images()
    readout = fresh()
    network = readout.extractor.fingerprint()
    ready(readout, entry.layer)
    return Case(fresh, entry.layer, inputs, readout, network, solve(readout, batch(entry.layer, inputs)))


def images() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(3, 8, 8, generator=generator) for name in "abc"}


def codes() -> dict[str, Tensor]:
    data = SparseCodes(3)
    data.prepare_for(DICTIONARY)
    return {name: data[place].input for place, name in enumerate("abc")}


def texts(weights: str) -> dict[str, Tensor]:
    model = GPT2(weights) if "gpt2" in weights else BERT(weights)
    tokens = model.tokenize(TEXT)
    return {"a": model.frame(tokens[:5]), "b": model.frame(tokens[5:8]), "c": model.frame(tokens[8:14])}


def ready(readout: Readout, layer: str) -> Readout:
    """Train a readout, if it is one that is trained."""
    if readout.trained is not None:
        training = readout.trained.make_training(layer)
        runtime(training.steps).make_bare_trainer().fit(training, range(training.steps))
        readout.trained.use(layer, training.weights())
    return readout


def batch(layer: str, inputs: Mapping[str, Tensor], *rows: int) -> ProblemBatch:
    """Problem number i is the same whatever else is in the batch; default: all problems."""
    chosen = rows or range(len(LEVELS))
    return ProblemBatch(
        inputs=pad([inputs[NAMES[row]] for row in chosen]),
        layer=layer,
        levels=torch.tensor([LEVELS[row] for row in chosen], dtype=torch.float64),
        noise_seeds=[100 + row for row in chosen],
        prior_seeds=[200 + row for row in chosen],
        perturbation=GaussianPerturbation("exact"),
        names=[NAMES[row] for row in chosen],
    )


def solve(readout: Readout, problems: ProblemBatch) -> Outcome:
    readout.load(problems)
    readout.run(runtime(STEPS, "64-true").make_bare_trainer())
    assert readout.outcome is not None
    return readout.outcome


def scores(outcome: Outcome) -> dict[str, Tensor]:
    """Everything with one value per problem."""
    found = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    return {name: value for name, value in {**found, **outcome.metrics}.items() if isinstance(value, Tensor)}


def test_every_class_has_an_entry(folders: Mapping[str, str]) -> None:
    assert {type(entry.make(folders[entry.weights])) for entry in READOUTS.values()} == concrete_classes(Readout)


def test_it_is_described_by_plain_data(case: Case) -> None:
    described = case.readout.describe(STEPS)
    assert json.loads(json.dumps(described)) == described
    assert case.fresh().describe(STEPS) == described
    assert "class" in described


def test_a_problem_has_the_answer_it_would_have_alone(case: Case) -> None:
    for rows in ([4, 2], [1]):
        some = solve(case.readout, batch(case.layer, case.inputs, *rows))
        together, apart = scores(case.outcome), scores(some)
        assert together.keys() == apart.keys()
        for place, row in enumerate(rows):
            for name in together.keys() - {"recovered", "steps", "best_step"}:  # a search counts those of its batch
                torch.testing.assert_close(apart[name][place], together[name][row], **NEAR)
            found, expected = (unpad(one) for one in (some.recovered[place], case.outcome.recovered[row]))
            torch.testing.assert_close(found, expected, **NEAR)


def test_the_outcome_is_complete_and_has_a_row_per_problem(case: Case) -> None:
    assert case.outcome.complete
    assert not case.outcome.reasons
    assert {name: len(values) for name, values in scores(case.outcome).items()} == dict.fromkeys(
        scores(case.outcome), len(LEVELS)
    )
    assert case.outcome.distance.isfinite().all()
    assert not case.outcome.dead.any()


def test_the_noise_is_that_of_the_level(case: Case) -> None:
    assert case.outcome.feature_distance.tolist() == pytest.approx(LEVELS, abs=1e-9)


def test_what_has_no_loss_takes_one_pass_and_always_concludes(case: Case) -> None:
    outcome, readout = case.outcome, case.readout
    threshold = readout.metric.threshold
    assert threshold is not None
    compared = torch.stack([outcome.loss, outcome.floor, outcome.scale])
    verdicts = {
        verdict(distance, loss, floor, scale, threshold)
        for distance, (loss, floor, scale) in zip(outcome.distance.tolist(), compared.T.tolist(), strict=True)
    }
    assert Verdict.FAILED not in verdicts
    assert readout.iterative is (readout.loss is not None) is bool(outcome.trajectory.steps)
    if readout.iterative:
        assert compared.isfinite().all()
    else:
        assert compared.isnan().all()
        assert outcome.steps.tolist() == [0] * len(LEVELS)
        assert verdicts <= {Verdict.RECOVERED, Verdict.UNRECOVERED}


def test_nothing_of_the_network_changes(case: Case) -> None:
    extractor = case.readout.float().extractor
    assert extractor.fingerprint() == case.network
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in extractor.parameters())
    assert not extractor.training


def test_it_reads_the_same_again(case: Case) -> None:
    again = scores(solve(case.readout, batch(case.layer, case.inputs)))
    fresh = scores(solve(ready(case.fresh(), case.layer), batch(case.layer, case.inputs)))
    for name, values in scores(case.outcome).items():
        for other in (again, fresh):
            assert torch.equal(other[name].nan_to_num(), values.nan_to_num())


@pytest.mark.parametrize("case", [name for name, entry in READOUTS.items() if not entry.weights], indirect=True)
def test_features_that_are_not_finite_are_marked_and_the_others_go_on(case: Case) -> None:
    problems = batch(case.layer, case.inputs)
    problems.inputs.flatten(1)[[1, 2], 0] = torch.inf
    outcome = solve(case.readout, problems)
    assert outcome.complete
    assert outcome.reasons == dict.fromkeys([1, 2], "its feature has values that are not finite")
    others = [0, 3, 4]
    torch.testing.assert_close(outcome.distance[others], case.outcome.distance[others])
