from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from readout import cli, load_results
from readout.common.errors import ReadoutError
from readout.extractors import LanguageModel
from readout.extractors.prefix import NOTHING, advance, states_after
from readout.perturbations import GaussianPerturbation
from readout.problems import cross
from readout.problems.identity import digest
from readout.readouts import Readout, TextInversion, TokenSearch
from readout.readouts.run import read
from readout.readouts.shortlist import CONTEXT, Shortlist
from tests.helpers import runtime
from tests.tiny_text import SPECIAL, TEXT, save_tiny

KINDS = ["gpt2", "opt-350m", "llama"]
LAYERS = ["embeddings", "layer.1", "final"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: save_tiny(tmp_path_factory.mktemp(kind), kind) for kind in [*KINDS, "bert"]}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, folders: dict[str, str]) -> LanguageModel:
    return LanguageModel(folders[request.param])


def texts(model: LanguageModel) -> dict[str, Tensor]:
    return {"long": model.frame(model.tokenize(TEXT)[:7]), "short": model.frame(model.tokenize(TEXT)[7:10])}


def run(
    model: LanguageModel, names: list[str], levels: list[float], layer: str, **settings: Any
) -> tuple[list[dict[str, Any]], list[Tensor]]:
    problems = cross("s", [(name, name) for name in names], layer, levels, draws=1, seed=0)
    trainer = runtime(20).make_bare_trainer()

    def fit(inversion: Readout) -> None:
        trainer.fit(inversion, range(20))

    return read(TokenSearch(model, **settings), problems, texts(model), GaussianPerturbation(), fit)


def target(model: LanguageModel, name: str, level: float, layer: str) -> Tensor:
    """The feature h' that :func:`run` inverts."""
    problem = cross("s", [(name, name)], layer, [level], draws=1, seed=0)[0]
    clean = model.extract(model.embed(texts(model)[name].unsqueeze(0)), layer)
    return GaussianPerturbation()(clean, torch.tensor([level]), [problem.noise_seed])[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_states_after_a_prefix_are_those_of_the_whole_text(model: LanguageModel, layer: str) -> None:
    ids = model.tokenize(TEXT)[:6]
    prefix = NOTHING
    for token in ids[:4].tolist():
        prefix = advance(model, prefix, token, layer)
    tried = states_after(model, prefix, ids[4:], layer)
    for token, state in zip(ids[4:], tried, strict=True):
        whole = model.extract(model.embed(torch.cat([ids[:4], token.view(1)]).unsqueeze(0)), layer)
        torch.testing.assert_close(state, whole[0, -1], rtol=0, atol=1e-5)


def test_keys_are_those_of_searches_that_had_an_optimiser(folders: dict[str, str]) -> None:
    described = TokenSearch(LanguageModel(folders["gpt2"]), beam=2).describe()
    assert digest(described) == "a3934a898dbbf475288bdc745ee43e110d5906f4d565fb4304a38a260f314063"


@pytest.mark.parametrize("layer", LAYERS)
def test_an_unperturbed_text_comes_back_to_the_token(model: LanguageModel, layer: str) -> None:
    rows, recovered = run(model, ["long", "short"], [0.0], layer)
    assert [row["distance"] for row in rows] == [0, 0]
    for name, text in zip(["long", "short"], recovered, strict=True):
        assert torch.equal(text, texts(model)[name])
    assert [row["steps"] for row in rows] == [len(texts(model)["long"])] * 2


def test_each_token_is_the_best_given_those_before(model: LanguageModel) -> None:
    """Against the plain way: every token of the vocabulary in every position, whole texts, no cache."""
    _, (recovered,) = run(model, ["long"], [0.7], "layer.1")
    wanted = target(model, "long", 0.7, "layer.1")
    ids = texts(model)["long"].clone()
    for position in range(len(ids)):
        if not model.is_special(ids)[position]:
            tried = ids[: position + 1].repeat(model.embedding.num_embeddings, 1)
            tried[:, position] = torch.arange(len(tried))
            states = model.extract(model.embed(tried), "layer.1")[:, position]
            ids[position] = (states - wanted[position]).square().sum(1).argmin()
    assert torch.equal(recovered, ids)
    assert not torch.equal(recovered, texts(model)["long"])


@pytest.mark.slow  # every text of three tokens
def test_a_beam_as_wide_as_the_vocabulary_finds_the_best_text_there_is(folders: dict[str, str]) -> None:
    model = LanguageModel(folders["gpt2"])
    size = model.embedding.num_embeddings
    name, level = "short", 0.9
    wide, _ = run(model, [name], [level], "layer.2", beam=size * size)
    narrow, _ = run(model, [name], [level], "layer.2")
    everything = torch.tensor(list(product(range(size), repeat=3)))
    wanted = target(model, name, level, "layer.2")
    best = min(
        (model.extract(model.embed(some), "layer.2") - wanted).square().mean((1, 2)).min().item()
        for some in everything.split(20_000)
    )
    assert wide[0]["loss"] == pytest.approx(best, rel=1e-5)
    assert narrow[0]["loss"] >= best * (1 - 1e-5)


def test_a_shortlist_of_everything_changes_nothing(model: LanguageModel) -> None:
    size = model.embedding.num_embeddings
    plain, texts_plain = run(model, ["long"], [0.3, 0.7], "layer.1")
    listed, texts_listed = run(model, ["long"], [0.3, 0.7], "layer.1", candidates=size)
    assert [text.tolist() for text in texts_listed] == [text.tolist() for text in texts_plain]
    assert [row["loss"] for row in listed] == pytest.approx([row["loss"] for row in plain], rel=1e-5)


def test_a_shortlist_is_sure_in_the_context_it_was_made_in(model: LanguageModel) -> None:
    shortlist = Shortlist(model, "layer.1", count=1)
    context = NOTHING
    for token in model.tokenize(CONTEXT).tolist():
        context = advance(model, context, token, "layer.1")
    vocabulary = torch.arange(model.embedding.num_embeddings)
    for token, state in zip(vocabulary, states_after(model, context, vocabulary, "layer.1"), strict=True):
        ids, states = shortlist.tried(context, state)
        assert ids.tolist() == [token]
        torch.testing.assert_close(states[0], state)
    ids, states = shortlist.tried(NOTHING, state)
    assert torch.equal(ids, vocabulary)
    torch.testing.assert_close(states, states_after(model, NOTHING, vocabulary, "layer.1"))


def test_the_course_is_kept_position_by_position(folders: dict[str, str]) -> None:
    model = LanguageModel(folders["llama"])
    (row,), _ = run(model, ["long"], [0.0], "layer.1")
    count = len(texts(model)["long"]) - 1  # the first is given
    assert row["trajectory_step"] == list(range(1, count + 2))
    assert row["trajectory_distance"] == pytest.approx([1 - read / count for read in range(count + 1)])
    assert row["trajectory_loss"] == pytest.approx([0] * (count + 1), abs=1e-6)


def test_special_tokens_are_found_too_if_free(folders: dict[str, str]) -> None:
    model = LanguageModel(folders["llama"])
    (row,), (recovered,) = run(model, ["short"], [0.0], "layer.1", special_tokens="free")
    assert recovered[0] == SPECIAL["llama"].index("<s>")
    assert row["distance"] == 0


def test_models_that_see_later_tokens_are_refused(folders: dict[str, str]) -> None:
    with pytest.raises(ReadoutError, match=r"bert is not causal, .* use TextInversion"):
        TokenSearch(LanguageModel(folders["bert"]))


def test_a_beam_wider_than_what_is_tried_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(ReadoutError, match="at least 5: as many as the beam"):
        TokenSearch(LanguageModel(folders["gpt2"]), beam=5, candidates=4)


def test_steps_have_to_reach_the_end_of_the_longest_text(folders: dict[str, str]) -> None:
    search = TokenSearch(LanguageModel(folders["gpt2"]))
    assert search.steps(Trainer(max_steps=9, logger=False), [torch.zeros(4), torch.zeros(9)]) == 9
    with pytest.raises(ReadoutError, match=r"longest text has 9 tokens .* trainer.max_steps is 8; set it to 9 or more"):
        search.steps(Trainer(max_steps=8, logger=False), [torch.zeros(4), torch.zeros(9)])


@pytest.mark.real_weights
def test_the_shipped_configuration_reads_english_out_of_a_causal_model(tmp_path: Path) -> None:
    arguments = ["--sweep.output", str(tmp_path), "--sweep.layers", "layer.0", "--sweep.levels", "[0, 0.3]"]
    arguments += ["--data.count", "1", "--data.max_tokens", "6", "--model.candidates", "64"]
    assert cli.main(["fit", "--config", "causal_search.yaml", *arguments]) == 0
    results = load_results(tmp_path)
    assert results["distance"].tolist() == [0, 0]
    assert set(results["prior"]) == {"TokenSequence"}
    assert set(results["protocol"]) == {"token_by_token"}


class Refusing(GaussianPerturbation):
    """Knows nothing to do with the features of some problems."""

    def __init__(self, *seeds: int) -> None:
        super().__init__()
        self.seeds = seeds

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        if set(seeds) & set(self.seeds):
            raise ReadoutError("This one can't be perturbed; take it out.")
        return super().__call__(feature, levels, seeds, mask)


@pytest.mark.parametrize("make", [TokenSearch, TextInversion])
def test_a_text_without_a_target_is_marked_and_the_others_are_read(
    folders: dict[str, str], make: type[TextInversion]
) -> None:
    model = LanguageModel(folders["gpt2"])
    problems = cross("s", [(name, name) for name in ("short", "long")], "layer.1", [0.0, 0.5], draws=1, seed=0)

    def fit(inversion: Readout) -> None:
        runtime(20).make_bare_trainer().fit(inversion, range(20))

    def rows_of(perturbation: GaussianPerturbation) -> tuple[pd.DataFrame, list[Tensor]]:
        rows, recovered = read(make(model), problems, texts(model), perturbation, fit)
        return pd.DataFrame(rows), recovered

    table, recovered = rows_of(Refusing(problems[0].noise_seed))
    whole, same = rows_of(GaussianPerturbation())
    assert table["reason"].fillna("").tolist() == ["This one can't be perturbed; take it out"] * 2 + [""] * 2
    assert table["recovered_text"].fillna("").tolist() == ["", "", *whole["recovered_text"].tolist()[2:]]
    assert [x.numel() for x in recovered] == [0, 0, *(x.numel() for x in same[2:])]
    assert table["dead"].tolist() == [True, True, False, False]
    assert [len(steps) > 0 for steps in table["trajectory_step"]] == [False, False, True, True]
    assert table["loss"].isna().tolist() == [True, True, False, False]
