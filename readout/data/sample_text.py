"""English text without a download, from the manual that comes with Python."""

import random
import re
from collections.abc import Iterator, Mapping

from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.data.texts import Beginnings

SENTENCE = re.compile(r"[A-Z][A-Za-z ,;:'()-]*\.")
"""A sentence of letters and plain punctuation; this excludes code, which the manual puts in quotes."""

UNPLAIN = re.compile(
    r"\(\)|[a-z][A-Z]"  # calls and class names
    # references to elsewhere in the manual
    r"|\b([Ss]ee|[Ss]ections?|[Cc]hapter|[Ff]ollow(s|ing)|[Bb]elow|[Aa]bove|[Nn]ext|[Pp]revious)\b"
)

HANGING = re.compile(r"( *)\S.*\n\1 +\S")
"""A block with a hanging indent: a list item, or a term with its definition."""

SHORTEST = 6
"""Fewest words per sentence; shorter ones are mostly headings and asides."""


class SampleText(Beginnings):
    """English prose without a download: passages from the language reference behind ``help()``.

    A passage is a run of consecutive plain sentences, without quoted code, lists, tables or references. Each is cut to
    exactly ``max_tokens`` and shorter passages are skipped: more than a hundred fill the default, about twenty fill 64
    and hardly any 128. Passages, and so results, differ between Python versions; the digest of each input shows it.

    Args:
        count: Number of texts; a larger one adds to a smaller one.
        max_tokens: Tokens per text, the network's special tokens included.
        seed: Seed of the order of passages.

    Raises:
        ReadoutError: if a number is out of range; see also :meth:`TextData.prepare_for`.
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
            ReadoutError: if this Python comes without its manual.
        """
        found = list(passages(_manual()))
        random.Random(self.seed).shuffle(found)
        yield from found


def passages(topics: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield runs of consecutive prose sentences as (topic and number, text); repeated sentences are skipped.

    Args:
        topics: Name → text of each topic of the manual.
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
    """Yield the sentences of paragraphs and, unsplit, anything between them, in order."""
    for block in re.split(r"\n\s*\n", text.replace("’", "'")):
        if HANGING.match(block):
            yield ""
            continue
        line = " ".join(block.split())
        whole = re.sub(r"(?<=\w-) ", "", line)  # join words broken at a hyphen
        yield from re.split(r"(?<=[a-z)]\.) ", whole)


def _is_prose(sentence: str) -> bool:
    plain = SENTENCE.fullmatch(sentence) is not None and UNPLAIN.search(sentence) is None
    return plain and sentence.count("(") == sentence.count(")") and len(sentence.split()) >= SHORTEST


def _manual() -> Mapping[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ReadoutError(
            "This Python comes without its manual (pydoc_data), which SampleText reads; use your own texts with "
            "TextFiles."
        ) from error
    return topics
