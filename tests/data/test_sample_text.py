import re
import sys
from pathlib import Path

import pytest

from readout.common.errors import ReadoutError
from readout.data import SampleText, load_samples
from readout.data.sample_text import passages
from readout.extractors.language_model import LanguageModel
from tests.data.test_texts import Characters, texts
from tests.tiny_text import save_tiny

MANUAL = dict(SampleText().documents())


def prose(text: str) -> dict[str, str]:
    return dict(passages({"topic": text}))


# What counts as prose


def test_only_plain_sentences_are_kept_and_neighbours_stay_together() -> None:
    text = (
        'The "with" statement\n'
        "********************\n"
        "\n"
        "A context manager handles the entry into a block\n"
        "of code (and its exit). It restores a comma-\n"
        "separated list of objects’ states.\n"
        "\n"
        "These two paragraphs belong together as well.\n"
        "\n"
        'The "with" statement evaluates an expression. After the code comes another run of words.\n'
        "\n"
        "   with EXPRESSION as TARGET:\n"
        "       SUITE\n"
        "\n"
        "   An indented note is prose like any other.\n"
    )
    assert prose(text) == {
        "topic-00": "A context manager handles the entry into a block of code (and its exit). "
        "It restores a comma-separated list of objects' states. These two paragraphs belong together as well.",
        "topic-01": "After the code comes another run of words.",
        "topic-02": "An indented note is prose like any other.",
    }


@pytest.mark.parametrize(
    "text",
    [
        "Call the method foo() on an object of that class.",
        "The class KeyError is raised where no item is found.",
        'The name "self" stands for the instance of a class.',
        "Write an expression such as x + y in this place.",
        "It was added in version 3.8 of the language.",
        "See the section on modules for more about them.",
        "The rules are listed in the table below for you.",
        "starts with a small letter and goes on for long.",
        "It ends without any full stop at the very end",
        "There is one parenthesis (too many in this sentence.",
        "Too short to be one.",
        "* An item of a list that reads just like prose.\n  It goes on in a second line here.",
        "Tuples\n   The items of a tuple are any objects at all.",
        "The Heading Of A Page Is No Sentence\n====================================",
    ],
)
def test_code_lists_references_and_scraps_are_left_out(text: str) -> None:
    before, after = "The words before it are a sentence.", "The words after it are one too."
    assert prose(f"{before}\n\n{text}\n\n{after}") == {"topic-00": before, "topic-01": after}


def test_a_sentence_that_stands_twice_is_taken_once() -> None:
    sentence = "The same sentence stands in two topics."
    assert dict(passages({"b": sentence, "a": sentence})) == {"a-00": sentence}


# The manual of the Python that runs this


def test_the_manual_gives_enough_for_the_papers_number_of_texts() -> None:
    assert len(texts(SampleText(count=64, max_tokens=130), Characters())) == 64


def test_all_that_the_manual_gives_reads_as_prose() -> None:
    for name, text in MANUAL.items():
        assert re.fullmatch(r"[\w-]+-\d\d", name)
        assert text[0].isupper()
        assert text[-1] == "."
        assert sum(character.isalpha() or character == " " for character in text) / len(text) > 0.85, text
        assert not set(text) & set('"_=[]{}<>*/\\@#`|~^$%&+0123456789'), text
        assert "  " not in text
        words = re.findall(r"[A-Za-z'-]+", text)
        assert 3 < sum(map(len, words)) / len(words) < 9, text
    common = {"the", "a", "of", "is", "to", "in", "and", "are", "an"}
    every = " ".join(MANUAL.values()).lower().split()
    assert sum(word in common for word in every) / len(every) > 0.2
    assert len(set(MANUAL.values())) == len(MANUAL)


def test_texts_are_beginnings_of_passages_and_all_of_one_length() -> None:
    extractor = Characters()
    data = SampleText(count=5, max_tokens=100)
    samples = load_samples(data, extractor)
    assert {len(sample.input) for sample in samples.values()} == {100}
    for name, text in texts(data, extractor).items():
        assert len(text) == 98
        assert MANUAL[name].startswith(text)


def test_the_seed_alone_decides_and_more_texts_add_to_fewer() -> None:
    extractor = Characters()

    def drawn(count: int, seed: int) -> list[str]:
        return list(texts(SampleText(count=count, seed=seed), extractor))

    assert drawn(4, 0) == drawn(4, 0) == drawn(9, 0)[:4]
    assert len({tuple(drawn(4, seed)) for seed in range(6)}) == 6


def test_the_defaults_give_four_texts_of_32_tokens() -> None:
    assert [len(sample.input) for sample in load_samples(SampleText(), Characters()).values()] == [32] * 4


def test_more_than_the_manual_holds_is_one_sentence() -> None:
    with pytest.raises(
        ReadoutError, match=r"^9999 texts were requested, but this Python's manual holds \d+ of 30 tokens"
    ):
        SampleText(count=9999).prepare_for(Characters())
    with pytest.raises(ReadoutError, match=r"manual holds no text of 99998 tokens or more; .* lower max_tokens"):
        SampleText(max_tokens=100_000).prepare_for(Characters(max_tokens=None))


def test_a_python_without_its_manual_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ReadoutError, match=r"This Python comes without its manual.*TextFiles"):
        SampleText().prepare_for(Characters())


def test_a_language_model_of_few_words_says_that_it_knows_too_few(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"% of the tokens of text '[a-z-]+-\d\d' are unknown to bert"):
        SampleText().prepare_for(LanguageModel(save_tiny(tmp_path)))


@pytest.mark.real_weights
def test_a_real_language_model_reads_english() -> None:
    model = LanguageModel("minilm")
    samples = load_samples(SampleText(count=40), model)
    for name, sample in samples.items():
        assert sample.input.shape == (32,)
        assert sample.input[0] == model.tokenizer.cls_token_id
        assert sample.input[-1] == model.tokenizer.sep_token_id
        assert not model.is_special(sample.input[1:-1]).any()
        beginning = re.sub(r"[^a-z]", "", model.decode(sample.input[1:-1]))
        assert re.sub(r"[^a-z]", "", MANUAL[name].lower()).startswith(beginning)
    tokens = [token for sample in samples.values() for token in model.tokens(sample.input[1:-1])]
    assert sum(not token.startswith("##") for token in tokens) / len(tokens) > 0.9  # words, not scraps
