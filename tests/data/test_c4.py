from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pytest

from readout.common.errors import ReadoutError
from readout.data import C4, TextFiles, load_samples
from readout.extractors.language_model import LanguageModel
from tests.data.test_texts import Characters, texts
from tests.tiny_text import TEXT, save_tiny

LONG = [f"Page {number:02d} of the web, with words to fill it." for number in range(30)]
PAGES = [page if number % 3 else page[:10] for number, page in enumerate(LONG)]
"""Every third is too short."""


class Hub:
    """Stands for the hub: streams pages, and keeps what was asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: list[str] = PAGES, broken_after: int = 10**9) -> None:
        self.pages, self.broken_after = pages, broken_after
        self.asked: list[Any] = []
        self.streamed = 0
        monkeypatch.setattr(datasets, "load_dataset", self.load)

    def load(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked.append((arguments, keywords))
        return datasets.IterableDataset.from_generator(self.rows)

    def rows(self) -> Iterator[dict[str, str]]:
        for number, text in enumerate(self.pages):
            if number >= self.broken_after:
                raise ConnectionError("the line went dead")
            self.streamed = number + 1
            yield {"text": text, "timestamp": "2019-04-25T12:57:54Z", "url": f"https://example.org/{number}"}

    def __reduce__(self) -> Any:  # `datasets` hashes its generators; this one stands for itself
        return (Hub, ())


def taken(**arguments: Any) -> list[str]:
    return list(texts(C4(**arguments), Characters()).values())


def test_the_validation_split_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch)
    taken(limit=2, max_tokens=32)
    assert hub.asked == [(("allenai/c4", "en"), {"split": "validation", "streaming": True})]


def test_the_first_pages_that_fill_the_length_are_taken_and_no_more_is_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub(monkeypatch)
    assert taken(limit=5, max_tokens=32, seed=None) == [LONG[number][:30] for number in (1, 2, 4, 5, 7)]
    assert hub.streamed == 8


def test_the_shuffle_depends_on_its_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch)
    long = {page[:30] for number, page in enumerate(LONG) if number % 3}
    draws = [tuple(taken(limit=8, max_tokens=32, seed=seed)) for seed in range(5)]
    assert taken(limit=8, max_tokens=32) == list(draws[0])
    assert taken(limit=8, max_tokens=32, seed=3) == list(draws[3])
    assert len(set(draws)) == 5
    assert all(len(set(draw)) == 8 and set(draw) <= long for draw in draws)
    assert len({page for draw in draws for page in draw}) > 15


def test_a_page_has_one_name_under_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch)
    everything = [texts(C4(limit=20, max_tokens=32, seed=seed), Characters()) for seed in (None, 0, 1)]
    assert everything[0] == everything[1] == everything[2]
    assert list(everything[0]) != list(everything[1]) != list(everything[2])


def test_a_page_that_is_there_twice_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, [LONG[0], LONG[1], LONG[0], LONG[2]])
    assert taken(limit=3, max_tokens=32, seed=None) == [page[:30] for page in LONG[:3]]


def test_the_defaults_are_the_papers() -> None:
    data = C4()
    assert (data.limit, data.max_tokens, data.min_tokens, data.seed) == (64, 256, None, 0)


def test_a_split_without_enough_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch)
    with pytest.raises(
        ReadoutError, match=r"^64 texts were requested, but C4's validation split holds 20 of 30 tokens or more"
    ):
        taken(max_tokens=32)


@pytest.mark.parametrize("broken_after", [0, 4])
def test_a_stream_that_breaks_is_one_sentence(monkeypatch: pytest.MonkeyPatch, broken_after: int) -> None:
    Hub(monkeypatch, broken_after=broken_after)
    with pytest.raises(
        ReadoutError, match=r"streamed from the Hugging Face hub \(the line went dead\); .* with TextFiles\.$"
    ) as raised:
        taken(limit=5, max_tokens=32, seed=None)
    assert "\n" not in str(raised.value)


def test_without_the_hub_another_way_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # or minutes go by in retries
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(
        ReadoutError, match=r"C4 can't be streamed from the Hugging Face hub \(.*allenai/c4.*TextFiles"
    ) as raised:
        C4().prepare_for(Characters())
    assert "\n" not in str(raised.value)


def test_that_other_way_leads_to_the_same_texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Hub(monkeypatch)
    documented = (C4.__doc__ or "").split("::\n\n")[1].split("Args:")[0]
    lines = [line.removeprefix(" " * 8) for line in documented.rstrip().splitlines()]
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), {})
    assert len(list(Path("c4").iterdir())) == len(PAGES)
    read = texts(TextFiles("c4", max_tokens=32, min_tokens=None), Characters())
    assert list(read.values()) == taken(limit=20, max_tokens=32, seed=None)


def test_a_language_model_reads_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = LanguageModel(save_tiny(tmp_path, "gpt2"))
    Hub(monkeypatch, ["the cat sat .", TEXT, f"a king {TEXT}"])
    samples = load_samples(C4(limit=2, max_tokens=20, seed=None), model)
    assert [sample.input.tolist() for sample in samples.values()] == [
        model.tokenizer(text)["input_ids"][:20] for text in (TEXT, f"a king {TEXT}")
    ]
