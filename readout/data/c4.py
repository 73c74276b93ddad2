"""C4 of Raffel et al. (2020), arXiv 1910.10683: English web pages, used in the paper."""

from collections.abc import Iterator
from typing import Any

from readout.common.checks import check_seed, check_whole
from readout.common.errors import ReadoutError, reason
from readout.data.texts import Beginnings
from readout.problems.identity import digest

BUFFER = 10_000
"""Number of documents in the shuffle buffer; the validation split holds 364,608."""


class C4(Beginnings):
    """The validation split of C4 (``allenai/c4``, ``en``), streamed from the Hugging Face hub.

    Texts are the first documents of at least ``max_tokens`` tokens, each cut to that length. ``datasets`` shuffles the
    order of the stream's files, and documents within a buffer of 10,000. A document's name is a digest of its text, so
    it is the same for every seed.

    For a machine that can't reach the hub, save documents on one that can and read the folder with ``TextFiles``::

        from itertools import islice
        from pathlib import Path
        from datasets import load_dataset

        Path("c4").mkdir()
        stream = load_dataset("allenai/c4", "en", split="validation", streaming=True)
        for number, row in enumerate(islice(stream, 1000)):
            Path(f"c4/{number:04d}.txt").write_text(row["text"], encoding="utf-8")

    Args:
        limit: Number of texts.
        max_tokens: Tokens per text, the network's special tokens included.
        seed: Seed of the shuffle; None for the split's own order.

    Raises:
        ReadoutError: if a number is out of range. Later, :meth:`TextData.prepare_for` also raises if C4 can't be
            streamed.
    """

    def __init__(self, limit: int = 64, max_tokens: int = 256, seed: int | None = 0) -> None:
        super().__init__(max_tokens, min_tokens=None, limit=check_whole("limit", limit, 1))
        self.seed = None if seed is None else check_seed("seed", seed)

    @property
    def source(self) -> str:
        """See :attr:`TextData.source`."""
        return "C4's validation split"

    def documents(self) -> Iterator[tuple[str, str]]:
        """See :meth:`TextData.documents`.

        Raises:
            ReadoutError: if C4 can't be streamed from the hub.
        """
        names: set[str] = set()
        try:
            for row in self._stream():
                name = f"c4_{digest(row['text'])[:12]}"
                if name not in names:  # C4 holds some documents twice
                    names.add(name)
                    yield name, row["text"]
        except Exception as error:
            raise ReadoutError(
                f"C4 can't be streamed from the Hugging Face hub ({reason(error)}); connect to the network "
                "(HF_HUB_OFFLINE must not be set), or save documents as .txt files on a connected machine (see the "
                "documentation of C4) and read that folder with TextFiles."
            ) from error

    def _stream(self) -> Any:
        import datasets

        stream = datasets.load_dataset("allenai/c4", "en", split="validation", streaming=True)
        return stream if self.seed is None else stream.shuffle(seed=self.seed, buffer_size=BUFFER)
