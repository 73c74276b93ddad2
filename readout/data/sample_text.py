"""English that is on every machine: sentences of the manual that Python carries."""

import random
import re
from collections.abc import Iterator, Mapping

from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.data.texts import Beginnings

SENTENCE = re.compile(r"[A-Z][A-Za-z ,;:'()-]*\.")
"""Letters and plain punctuation: the manual puts all code in quotes."""

UNPLAIN = re.compile(
    r"\(\)|[a-z][A-Z]"  # calls and class names
    # what points elsewhere in the manual
    r"|\b([Ss]ee|[Ss]ections?|[Cc]hapter|[Ff]ollow(s|ing)|[Bb]elow|[Aa]bove|[Nn]ext|[Pp]revious)\b"
)

HANGING = re.compile(r"( *)\S.*\n\1 +\S")
"""A first line that stands out: an item of a list, or a term with its definition."""

SHORTEST = 6
"""Words of a sentence at least; shorter ones are mostly headings and asides."""


class SampleText(Beginnings):
    """English prose without a download: passages of the language reference behind ``help()``.

    A passage is consecutive sentences in plain words; quoted code, lists, tables and references are left out. It is
    cut to exactly ``max_tokens``, so passages that are shorter are passed over: over a hundred fill the default, some
    twenty fill 64, hardly one 128. The text belongs to the Python version, so another version gives other passages and
    other results; the digest of each input tells.

    Args:
        count: How many.
        max_tokens: Tokens of a text, the network's special tokens included.
        seed: Seed of the order in which passages are taken; a larger ``count`` adds to a smaller one.

    Raises:
        ReadoutError: if a number is out of range; and once the network is known, what :meth:`TextData.prepare_for`
            says.
    """

    def __init__(self, count: int = 4, max_tokens: int = 32, seed: int = 0) -> None:
        self.count = check_whole("count", count, 1)
        super().__init__(max_tokens, min_tokens=None, limit=self.count, seed=seed)

    @property
    def source(self) -> str:
        """See :attr:`TextData.source`."""
        return "this Python's manual"

    def documents(self) -> Iterator[tuple[str, str]]:
        """See :meth:`TextData.documents`.

        Raises:
            ReadoutError: if this Python came without its manual.
        """
        found = list(passages(_manual()))
        random.Random(self.seed).shuffle(found)
        yield from found


def passages(topics: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Runs of consecutive prose sentences, named by their topic and a number; a sentence occurs only once.

    Args:
        topics: Name and text of each topic of the manual.
    """
    seen: set[str] = set()
    for topic, text in sorted(topics.items()):
        number, run = 0, list[str]()
        for sentence in [*_sentences(text), ""]:
            if _is_prose(sentence) and sentence not in seen:
                seen.add(sentence)
                run.append(sentence)
            elif run:
                yield f"{topic}-{number:02d}", " ".join(run)
                number, run = number + 1, []


def _sentences(text: str) -> Iterator[str]:
    """All sentences of paragraphs, and whatever else stands between them, in order."""
    for block in re.split(r"\n\s*\n", text.replace("’", "'")):
        if HANGING.match(block):
            yield ""
            continue
        line = " ".join(block.split())
        whole = re.sub(r"(?<=\w-) ", "", line)  # a word that was broken at its hyphen
        yield from re.split(r"(?<=[a-z)]\.) ", whole)


def _is_prose(sentence: str) -> bool:
    plain = SENTENCE.fullmatch(sentence) is not None and UNPLAIN.search(sentence) is None
    return plain and sentence.count("(") == sentence.count(")") and len(sentence.split()) >= SHORTEST


def _manual() -> Mapping[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ReadoutError(
            "This Python came without its manual (pydoc_data), which is what SampleText reads; give texts of your own "
            "with TextFiles."
        ) from error
    return topics
