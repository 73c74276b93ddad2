from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.data import TextData, load_samples
from readout.data.texts import Beginnings
from readout.extractors import FeatureExtractor
from readout.extractors.language_model import LanguageModel
from tests.tiny import TinyNet
from tests.tiny_text import MAX_TOKENS, TEXT, save_tiny

BEGIN, END, UNKNOWN = 1, 2, 3
DIGITS = "0123456789"


class Characters(FeatureExtractor):
    """A tokenizer with known answers: one token a character, its code point; none is known above Latin-1."""

    def __init__(self, max_tokens: int | None = 512, special: bool = True, unknown_id: int | None = UNKNOWN) -> None:
        super().__init__(nn.Sequential(nn.Linear(2, 2)))
        self.max_tokens, self.special, self.unknown_id = max_tokens, special, unknown_id

    def tokenize(self, text: str) -> Tensor:
        codes = [ord(character) for character in text]
        if self.unknown_id is not None:
            codes = [code if code < 256 else self.unknown_id for code in codes]
        return torch.tensor(codes, dtype=torch.long)

    def frame(self, ids: Tensor) -> Tensor:
        return torch.cat([torch.tensor([BEGIN]), ids, torch.tensor([END])]) if self.special else ids

    def is_special(self, ids: Tensor) -> Tensor:
        return torch.isin(ids, torch.tensor([BEGIN, END]))

    def decode(self, ids: Tensor) -> str:
        return "".join(chr(token) for token in ids.tolist() if token not in (BEGIN, END))


class Given(TextData):
    """Documents given by hand."""

    def __init__(self, *documents: tuple[str, str], max_tokens: int = 12, **more: int | None) -> None:
        super().__init__(max_tokens=max_tokens, **more)  # type: ignore[arg-type]
        self.given = documents
        self.read: list[str] = []

    def documents(self) -> Iterator[tuple[str, str]]:
        for name, text in self.given:
            self.read.append(name)
            yield name, text


class GivenBeginnings(Given, Beginnings):
    """The same, of which only beginnings are taken."""


def texts(data: TextData, extractor: Characters | None = None) -> dict[str, str]:
    """Names and decoded texts, as a sweep would get them."""
    extractor = extractor or Characters()
    return {name: extractor.decode(sample.input) for name, sample in load_samples(data, extractor).items()}


# How documents are cut


def test_a_document_is_cut_into_consecutive_segments_with_special_tokens_around_each() -> None:
    samples = load_samples(Given(("a", DIGITS * 2 + "wxyz")), Characters())
    assert list(samples) == ["a-000", "a-001", "a-002"]
    assert samples["a-000"].input.tolist() == [BEGIN, *map(ord, DIGITS), END]
    assert samples["a-001"].input.tolist() == samples["a-000"].input.tolist()
    assert samples["a-002"].input.tolist() == [BEGIN, *map(ord, "wxyz"), END]
    assert {sample.input.dtype for sample in samples.values()} == {torch.int64}
    assert {sample.label for sample in samples.values()} == {None}


def test_without_special_tokens_the_whole_length_is_the_texts() -> None:
    data = Given(("a", DIGITS), max_tokens=5)
    assert texts(data, Characters(special=False)) == {"a-000": "01234", "a-001": "56789"}


def test_a_document_that_gives_one_segment_keeps_its_name() -> None:
    assert texts(Given(("short", "abcd"), ("full", DIGITS), ("cut", DIGITS + "xyz"))) == {
        "short": "abcd",
        "full": DIGITS,
        "cut": DIGITS,
    }


@pytest.mark.parametrize(("min_tokens", "kept"), [(1, 3), (3, 3), (4, 2), (10, 2), (None, 2)])
def test_what_is_left_is_a_text_if_it_is_long_enough(min_tokens: int | None, kept: int) -> None:
    assert len(texts(Given(("a", DIGITS * 2 + "xyz"), min_tokens=min_tokens))) == kept


def test_by_default_one_wrong_token_never_loses_a_text() -> None:
    data = Given(("a", "abcd"), ("b", "abc"))
    assert texts(data) == {"a": "abcd"}
    assert 1 / data.min_tokens < 0.3 <= 1 / (data.min_tokens - 1)  # type: ignore[operator]


@budget(deadline=None, max_examples=60)
@given(
    document=st.text(st.characters(codec="latin-1", min_codepoint=4), max_size=80),
    max_tokens=st.integers(3, 40),
    min_tokens=st.none() | st.integers(1, 3),
    special=st.booleans(),
)
def test_segments_put_together_are_the_document(
    document: str, max_tokens: int, min_tokens: int | None, special: bool
) -> None:
    room = max_tokens - (2 if special else 0)
    least = min_tokens or room
    if room < least:
        return
    data = Given(("rest", "x" * room), ("a", document), max_tokens=max_tokens, min_tokens=min_tokens)
    extractor = Characters(special=special)
    data.prepare_for(extractor)
    pieces = [sample.input[1:-1] if special else sample.input for sample in data if sample.name != "rest"]
    whole = document.strip()
    left = len(whole) % room
    kept = whole if left >= least else whole[: len(whole) - left]
    assert torch.cat([torch.empty(0, dtype=torch.long), *pieces]).tolist() == [ord(character) for character in kept]
    assert all(least <= len(piece) <= room for piece in pieces)


@pytest.mark.parametrize("text", ["", " \n\t ", "abc", "\ufeff"])
def test_documents_without_a_text_are_passed_over_while_others_remain(text: str) -> None:
    assert texts(Given(("a", text), ("b", "hello"), ("c", text))) == {"b": "hello"}


def test_identical_texts_stay_apart_by_name() -> None:
    assert texts(Given(("a", "same same"), ("b", "same same"))) == {"a": "same same", "b": "same same"}
    assert len(texts(Given(("a", "e" * 20)))) == 2


@pytest.mark.parametrize("text", ["nul\0\0nul", "\a\b\x7f", "line\r\nline\u2028x", "café", "ﬁﬂ\u200d"])
def test_any_characters_pass(text: str) -> None:
    data = Given(("a", text), max_tokens=20, min_tokens=1)
    assert texts(data, Characters(unknown_id=None)) == {"a": text}


def test_special_tokens_in_a_text_count_for_nothing() -> None:
    begin, end = chr(BEGIN), chr(END)
    documents = (("scraps", begin + end * 8), ("a", f"ab{end}cd"), ("b", f"ab{end}c"), ("full", DIGITS))
    assert list(texts(Given(*documents))) == ["a", "full"]
    assert list(texts(Given(*documents, min_tokens=None))) == ["full"]


# How many are taken


MANY = tuple((f"{number:02d}", DIGITS + "abcd") for number in range(10))


def test_a_limit_draws_by_its_seed_alone_and_keeps_the_order() -> None:
    every = list(texts(Given(*MANY)))
    assert len(every) == 20
    first = list(texts(Given(*MANY, limit=6)))
    assert list(texts(Given(*MANY, limit=6))) == first == [name for name in every if name in first]
    assert len(set(first)) == 6
    assert len({tuple(texts(Given(*MANY, limit=6, seed=seed))) for seed in range(8)}) > 1
    assert list(texts(Given(*MANY, limit=20, seed=3))) == every


def test_every_text_can_be_drawn() -> None:
    drawn = [name for seed in range(200) for name in texts(Given(*MANY, limit=1, seed=seed))]
    assert len(set(drawn)) == 20


def test_a_drawn_text_has_the_name_that_it_has_among_all() -> None:
    every = texts(Given(*MANY))
    assert texts(Given(*MANY, limit=3)).items() <= every.items()


def test_beginnings_are_the_first_that_are_long_enough_and_no_more_is_read() -> None:
    documents = (("a", "abc"), ("b", DIGITS * 3), ("c", "hello"), ("d", DIGITS), ("e", DIGITS))
    data = GivenBeginnings(*documents, limit=2, min_tokens=None)
    assert texts(data) == {"b": DIGITS, "d": DIGITS}
    assert data.read == ["a", "b", "c", "d"]
    assert list(texts(GivenBeginnings(*documents))) == ["b", "c", "d", "e"]


@pytest.mark.parametrize("kind", [Given, GivenBeginnings])
def test_too_few_texts_are_one_sentence(kind: type[Given]) -> None:
    data = kind(("a", "hello"), ("b", "abc"), limit=2)
    with pytest.raises(
        ReadoutError,
        match=rf"^2 texts were requested, but {kind.__name__} holds 1 of 4 tokens or more; request at most 1",
    ):
        data.prepare_for(Characters())


@pytest.mark.parametrize("kind", [Given, GivenBeginnings])
@pytest.mark.parametrize("documents", [(), (("a", ""), ("b", "abc"))])
@pytest.mark.parametrize("limit", [None, 1])
def test_no_text_at_all_is_one_sentence(
    kind: type[Given], documents: tuple[tuple[str, str], ...], limit: int | None
) -> None:
    with pytest.raises(ReadoutError, match=r"holds no text of 4 tokens or more; give longer ones, or lower min_tokens"):
        kind(*documents, limit=limit).prepare_for(Characters())


def test_where_texts_have_to_fill_their_length_it_is_that_which_can_be_lowered() -> None:
    with pytest.raises(ReadoutError, match=r"no text of 10 tokens or more; give longer ones, or lower max_tokens"):
        Given(("a", "hello"), min_tokens=None).prepare_for(Characters())


# Lengths that don't suit


def test_a_length_above_the_networks_own_is_one_sentence() -> None:
    with pytest.raises(ReadoutError, match="max_tokens is 65, but Characters accepts at most 64; set it to 64 or less"):
        Given(("a", DIGITS), max_tokens=65).prepare_for(Characters(max_tokens=64))
    Given(("a", DIGITS), max_tokens=64).prepare_for(Characters(max_tokens=64))
    Given(("a", DIGITS), max_tokens=65).prepare_for(Characters(max_tokens=None))


@pytest.mark.parametrize(("max_tokens", "min_tokens", "least"), [(2, 1, 1), (2, None, 1), (5, 4, 4), (9, 20, 20)])
def test_a_length_that_holds_no_text_is_one_sentence(max_tokens: int, min_tokens: int | None, least: int) -> None:
    data = Given(("a", DIGITS * 4), max_tokens=max_tokens, min_tokens=min_tokens)
    wanted = f"is {max_tokens}, too few for {least} besides the 2 special tokens of Characters; set it to "
    with pytest.raises(ReadoutError, match=f"{wanted}{least + 2} or more"):
        data.prepare_for(Characters())
    assert texts(Given(("a", DIGITS * 4), max_tokens=least + 2, min_tokens=min_tokens))


# Unknown tokens


def test_a_text_of_unknown_tokens_is_named() -> None:
    data = Given(("good", "hello"), ("far", "日本語 text"))  # three of eight
    data.prepare_for(Characters())
    with pytest.raises(
        ReadoutError, match=r"^83% of the tokens of text 'far' are unknown to Characters.*remove it, or choose"
    ):
        Given(("good", "hello"), ("far", "日本語日本a")).prepare_for(Characters())


def test_half_unknown_is_still_taken_and_a_tokenizer_may_know_everything() -> None:
    assert list(texts(Given(("a", "日本ab")))) == ["a"]
    assert texts(Given(("a", "日本語日本")), Characters(unknown_id=None)) == {"a": "日本語日本"}


def test_only_texts_that_are_taken_have_to_be_known() -> None:
    assert list(texts(GivenBeginnings(("a", "hello"), ("b", "日本語日本"), limit=1))) == ["a"]


# The network


def test_a_network_without_a_tokenizer_is_one_sentence() -> None:
    with pytest.raises(ReadoutError, match="Given holds texts, but TinyNet has no tokenizer; choose a language model"):
        load_samples(Given(("a", DIGITS)), TinyNet())


def test_before_a_network_is_known_there_are_no_texts() -> None:
    data = Given(("a", DIGITS))
    for use in (lambda: len(data), lambda: data[0], lambda: next(iter(data))):
        with pytest.raises(ReadoutError, match=r"Given has no tokens until .* call `prepare_for\(extractor\)`"):
            use()
    data.prepare_for(Characters())
    assert len(data) == 1
    assert data[0].name == "a"
    with pytest.raises(IndexError):
        data[1]


def test_another_network_cuts_anew() -> None:
    data = Given(("a", DIGITS * 2))
    assert list(texts(data)) == ["a-000", "a-001"]
    assert texts(data, Characters(special=False)) == {"a-000": "012345678901", "a-001": "23456789"}


# Language models of transformers


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: LanguageModel(save_tiny(folder / kind, kind)) for kind in ("bert", "gpt2", "opt", "llama")}


@pytest.mark.parametrize(("kind", "special"), [("bert", 2), ("gpt2", 0), ("opt", 1), ("llama", 1)])
def test_a_language_model_gives_the_tokens_its_tokenizer_gives(
    models: dict[str, LanguageModel], kind: str, special: int
) -> None:
    model = models[kind]
    words = TEXT.split()
    data = Given(("whole", TEXT), ("long", " ".join(words * 3)), max_tokens=len(words) + special)
    samples = load_samples(data, model)
    assert list(samples) == ["whole", "long-000", "long-001", "long-002"]
    for sample in samples.values():
        assert sample.input.tolist() == model.tokenizer(TEXT)["input_ids"]
        assert sample.input.dtype == torch.int64
        assert int(model.is_special(sample.input).sum()) == special
        assert model.extract(model.embed(sample.input[None]), "layer.3").shape[1] == len(words) + special


@pytest.mark.parametrize("kind", ["bert", "gpt2", "opt", "llama"])
def test_the_length_of_a_language_model_bounds_that_of_texts(models: dict[str, LanguageModel], kind: str) -> None:
    model = models[kind]
    load_samples(Given(("a", TEXT), max_tokens=MAX_TOKENS), model)
    with pytest.raises(ReadoutError, match=f"max_tokens is 41, but {kind} accepts at most 40; set it to 40 or less"):
        load_samples(Given(("a", TEXT), max_tokens=MAX_TOKENS + 1), model)


def test_special_tokens_of_a_language_model_in_a_text_count_for_nothing(models: dict[str, LanguageModel]) -> None:
    documents = (("scraps", "[SEP] [CLS] [SEP] cat [SEP]"), ("a", "the cat [SEP] and the dog"))
    assert list(load_samples(Given(*documents), models["bert"])) == ["a"]


@pytest.mark.parametrize("kind", ["bert", "gpt2", "opt", "llama"])
def test_words_that_a_language_model_does_not_know_are_found(models: dict[str, LanguageModel], kind: str) -> None:
    with pytest.raises(ReadoutError, match=f"75% of the tokens of text 'far' are unknown to {kind}"):
        load_samples(Given(("near", TEXT), ("far", "wholly other words , indeed yes king no")), models[kind])


@pytest.mark.real_weights
def test_a_real_tokenizer_takes_texts_of_many_kinds() -> None:
    model = LanguageModel("minilm")
    documents = {
        "english": "The quick brown fox jumps over the lazy dog.",
        "french": "Où est la bibliothèque nationale de France ?",
        "greek": "Καλημέρα κόσμε, τι κάνεις σήμερα;",
        "emoji": "well 🙂 done 🙃 my friend",
        "nul": "nothing\0 comes\0 of nothing\ufffd here",
        "control": "\a\b bells and whistles \x7f\x1b[0m",
        "same": "again again again again again",
        "joined": "supercalifragilisticexpialidocious" * 2,
        "long": "One sentence follows another. " * 40,
    }
    samples = load_samples(Given(*documents.items(), max_tokens=64), model)
    assert list(samples)[:8] == list(documents)[:8]
    assert [name for name in samples if name.startswith("long")] == ["long-000", "long-001", "long-002", "long-003"]
    assert all(5 < len(sample.input) <= 64 for sample in samples.values())
    for name in ("english", "french"):
        assert samples[name].input.tolist() == model.tokenizer(documents[name])["input_ids"]
    assert model.decode(samples["same"].input) == "[CLS] again again again again again [SEP]"
    with pytest.raises(ReadoutError, match=r"^100% of the tokens of text 'inuktitut' are unknown to bert"):
        load_samples(Given(("inuktitut", "ᐃᓄᒃᑎᑐᑦ ᐃᓄᒃᑎᑐᑦ ᐃᓄᒃᑎᑐᑦ ᐃᓄᒃᑎᑐᑦ")), model)
