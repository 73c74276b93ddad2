"""Texts as token ids, cut with the network's own tokenizer."""

import random
from abc import abstractmethod
from collections.abc import Iterable
from itertools import islice
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from readout.common.checks import check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.data.base import InputData, Sample
from readout.extractors import FeatureExtractor

UNKNOWN_SHARE = 0.5
"""Largest accepted share of unknown tokens in a text: they share one id, so no words can be recovered from them."""


@runtime_checkable
class Tokenizer(Protocol):
    """The part of a language model that :class:`TextData` uses."""

    @property
    def name(self) -> str:
        """Name of the model in error sentences."""

    @property
    def max_tokens(self) -> int | None:
        """Length of the longest input, special tokens included; None if unlimited."""

    def tokenize(self, text: str) -> Tensor:
        """Return the ids of a text without special tokens, int64, shape (tokens,)."""

    def frame(self, ids: Tensor) -> Tensor:
        """Put special tokens around the ids of a text, shape (positions,)."""

    def is_special(self, ids: Tensor) -> Tensor:
        """Mark special tokens, bool of the same shape."""

    @property
    def unknown_id(self) -> int | None:
        """Id of the unknown token; None if there is none."""


class TextData(InputData):
    """Texts cut from documents; inputs are token ids, int64, shape (positions,).

    A subclass implements :meth:`documents`. :meth:`prepare_for` then cuts each document into consecutive segments of
    ``max_tokens`` and a shorter last one. A segment is named after its document, with a number if there are several.

    Args:
        max_tokens: Most tokens per text, the network's special tokens included.
        min_tokens: Fewest tokens per text, without special tokens; None for exactly as many as fit, so that all texts
            have one length. With fewer than 4, a single wrong token is an error rate above the paper's threshold, 0.3.
        limit: Number of texts to draw at random; None for all.
        seed: Seed of that draw.

    Raises:
        ReadoutError: if a number is out of range.

    Examples:
        >>> class Proverbs(TextData):
        ...     def documents(self):
        ...         yield "haste", "More haste, less speed."
        >>> proverbs = Proverbs(max_tokens=16)  # `load_samples(proverbs, extractor)` tokenises it
        >>> list(proverbs.documents())
        [('haste', 'More haste, less speed.')]
    """

    def __init__(
        self, max_tokens: int = 256, min_tokens: int | None = 4, limit: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.max_tokens = check_whole("max_tokens", max_tokens, 1)
        self.min_tokens = None if min_tokens is None else check_whole("min_tokens", min_tokens, 1)
        self.limit = None if limit is None else check_whole("limit", limit, 1, hint=", or null for all")
        self.seed: int | None = check_seed("seed", seed)
        self._samples: list[Sample] | None = None

    @abstractmethod
    def documents(self) -> Iterable[tuple[str, str]]:
        """Yield names, all different, and texts; a lazy iterator is read only as far as texts are needed."""

    @property
    def source(self) -> str:
        """Name of the source of the texts in error sentences."""
        return type(self).__name__

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Cut the documents with the network's tokenizer.

        Raises:
            ReadoutError: if the network has no tokenizer, ``max_tokens`` does not suit it, there are too few texts, or
                a text consists mostly of unknown tokens.
        """
        if not isinstance(extractor, Tokenizer):
            raise ReadoutError(
                f"{type(self).__name__} holds texts, but {extractor.name} has no tokenizer; choose a language model, "
                "or images as data."
            )
        room = self._room(extractor)
        least = room if self.min_tokens is None else self.min_tokens
        cut = ((name, _segments(extractor, text, room, least)) for name, text in self.documents())
        texts = self.choose(cut)
        self._check_count(len(texts), least)
        for name, ids in texts:
            _check_known(extractor, name, ids)
        self._samples = [Sample(name, extractor.frame(ids)) for name, ids in texts]

    def choose(self, documents: Iterable[tuple[str, list[Tensor]]]) -> list[tuple[str, Tensor]]:
        """Choose and name the texts: all segments, or ``limit`` of them, drawn at random but kept in order.

        Args:
            documents: Name and segments, if any, of each document.
        """
        texts = [
            (name if len(segments) == 1 else f"{name}-{number:03d}", ids)
            for name, segments in documents
            for number, ids in enumerate(segments)
        ]
        if self.limit is None or self.limit > len(texts):
            return texts
        return [texts[place] for place in sorted(random.Random(self.seed).sample(range(len(texts)), self.limit))]

    def __len__(self) -> int:
        return len(self._prepared())

    def __getitem__(self, index: int) -> Sample:
        return self._prepared()[index]

    def _prepared(self) -> list[Sample]:
        if self._samples is None:
            raise ReadoutError(
                f"{type(self).__name__} has no tokens until a network provides its tokenizer; call "
                "`prepare_for(extractor)` or `load_samples(data, extractor)` first."
            )
        return self._samples

    def _room(self, tokenizer: Tokenizer) -> int:
        """Return how many tokens fit besides the special ones."""
        longest = tokenizer.max_tokens
        if longest is not None and self.max_tokens > longest:
            raise ReadoutError(
                f"max_tokens is {self.max_tokens}, but {tokenizer.name} accepts at most {longest}; set it to {longest} "
                "or less."
            )
        special = len(tokenizer.frame(torch.empty(0, dtype=torch.long)))
        least = self.min_tokens or 1
        if self.max_tokens < special + least:
            raise ReadoutError(
                f"max_tokens is {self.max_tokens}, too few for {least} besides the {special} special tokens of "
                f"{tokenizer.name}; set it to {special + least} or more."
            )
        return self.max_tokens - special

    def _check_count(self, count: int, least: int) -> None:
        remedy = "max_tokens" if self.min_tokens is None else "min_tokens"
        if not count:
            raise ReadoutError(
                f"{self.source} holds no text of {least} tokens or more; give longer ones, or lower {remedy}."
            )
        if self.limit is not None and count < self.limit:
            raise ReadoutError(
                f"{self.limit} texts were requested, but {self.source} holds {count} of {least} tokens or more; "
                f"request at most {count}, or lower {remedy}."
            )


class Beginnings(TextData):
    """The beginnings of the first ``limit`` documents that are long enough.

    See :class:`TextData`; ``seed`` has no effect here, subclasses use it.
    """

    def choose(self, documents: Iterable[tuple[str, list[Tensor]]]) -> list[tuple[str, Tensor]]:
        """Choose the first segment of each document, under the document's name."""
        long_enough = ((name, segments[0]) for name, segments in documents if segments)
        return list(islice(long_enough, self.limit))


def _segments(tokenizer: Tokenizer, text: str, room: int, least: int) -> list[Tensor]:
    text = text.strip()
    if not text:
        return []
    pieces = torch.split(tokenizer.tokenize(text), room)
    # special tokens in the text itself, such as `</s>` in web pages, are not scored and so don't count
    return [ids for ids in pieces if (~tokenizer.is_special(ids)).sum() >= least]


def _check_known(tokenizer: Tokenizer, name: str, ids: Tensor) -> None:
    share = (ids == tokenizer.unknown_id).float().mean().item() if tokenizer.unknown_id is not None else 0
    if share > UNKNOWN_SHARE:
        raise ReadoutError(
            f"{share:.0%} of the tokens of text {name!r} are unknown to {tokenizer.name}, which can't tell them apart; "
            "remove it, or choose a model of its language."
        )
