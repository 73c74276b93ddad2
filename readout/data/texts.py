"""Texts as token ids, cut to the network's length by the network's own tokenizer."""

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
"""A text with more unknown tokens than this is refused: one id stands for most of it, so it can't be told apart."""


@runtime_checkable
class Tokenizer(Protocol):
    """What texts need of a network."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def max_tokens(self) -> int | None:
        """The longest input it takes, special tokens included; None if there is no longest."""

    def tokenize(self, text: str) -> Tensor:
        """Ids of a text without special tokens, int64, shape (tokens,)."""

    def frame(self, ids: Tensor) -> Tensor:
        """The same with special tokens put around, shape (positions,)."""

    def is_special(self, ids: Tensor) -> Tensor:
        """Which ids are special tokens, bool of the same shape."""

    @property
    def unknown_id(self) -> int | None:
        """The id of what it does not know; None if it knows everything."""


class TextData(InputData):
    """Texts, each a segment of a document; inputs are token ids, int64, shape (positions,).

    A subclass implements :meth:`documents`. Once the network is known (:meth:`prepare_for`), each document is cut into
    consecutive segments of ``max_tokens``, and a last one of what is left. A segment is called after its document,
    with a number where the document gave several.

    Args:
        max_tokens: Tokens of a text at most, the network's special tokens included.
        min_tokens: Tokens of a text at least, special tokens not counted; None for as many as fit, so that all
            texts have one length. With fewer than 4, a single wrong token is an error rate above the paper's 0.3.
        limit: Take so many texts, drawn at random; None for all.
        seed: Seed of that draw.

    Raises:
        ReadoutError: if a number is out of range.
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
        """Names, all different, and texts; read no further than the texts that are taken."""

    @property
    def source(self) -> str:
        """How messages call where the texts come from."""
        return type(self).__name__

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Cut the documents with the network's tokenizer.

        Raises:
            ReadoutError: if the network has none, ``max_tokens`` does not suit it, there are too few texts, or one
                is made of unknown tokens.
        """
        if not isinstance(extractor, Tokenizer):
            raise ReadoutError(
                f"{type(self).__name__} gives texts, but {extractor.name} has no tokenizer; choose a language model, "
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
        """The texts to take, named: all segments, or ``limit`` of them drawn at random and kept in order.

        Args:
            documents: Each document's name and segments, which may be none.
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
                f"{type(self).__name__} has no tokens before a network gives its tokenizer; call "
                "`prepare_for(extractor)` first, or `load_samples(data, extractor)`, which does."
            )
        return self._samples

    def _room(self, tokenizer: Tokenizer) -> int:
        """Tokens of a text that fit beside the special ones."""
        longest = tokenizer.max_tokens
        if longest is not None and self.max_tokens > longest:
            raise ReadoutError(
                f"max_tokens is {self.max_tokens}, but {tokenizer.name} takes {longest} at most; set it to {longest} "
                "or less."
            )
        special = len(tokenizer.frame(torch.empty(0, dtype=torch.long)))
        least = self.min_tokens or 1
        if self.max_tokens < special + least:
            raise ReadoutError(
                f"max_tokens is {self.max_tokens}, which does not hold {least} besides the {special} special tokens "
                f"of {tokenizer.name}; set it to {special + least} or more."
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
                f"{self.limit} texts were asked for, but {self.source} holds {count} of {least} tokens or more; ask "
                f"for {count} at most, or lower {remedy}."
            )


class Beginnings(TextData):
    """Texts that are each the beginning of a document: the first ``limit`` that are long enough, in order.

    See :class:`TextData`, of which this differs in :meth:`choose`; ``seed`` is left to the subclass.
    """

    def choose(self, documents: Iterable[tuple[str, list[Tensor]]]) -> list[tuple[str, Tensor]]:
        """The first segments, called after their documents."""
        long_enough = ((name, segments[0]) for name, segments in documents if segments)
        return list(islice(long_enough, self.limit))


def _segments(tokenizer: Tokenizer, text: str, room: int, least: int) -> list[Tensor]:
    text = text.strip()
    if not text:
        return []
    pieces = torch.split(tokenizer.tokenize(text), room)
    # a special token may stand in the text itself, as `</s>` does in web pages; it is not scored, so it doesn't count
    return [ids for ids in pieces if (~tokenizer.is_special(ids)).sum() >= least]


def _check_known(tokenizer: Tokenizer, name: str, ids: Tensor) -> None:
    share = (ids == tokenizer.unknown_id).float().mean().item() if tokenizer.unknown_id is not None else 0
    if share > UNKNOWN_SHARE:
        raise ReadoutError(
            f"{share:.0%} of the tokens of text {name!r} are unknown to {tokenizer.name}, so nothing tells its words "
            "apart; take it out, or choose a model of its language."
        )
