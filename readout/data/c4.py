"""C4 of Raffel et al. (2020), arXiv 1910.10683: English web pages, the paper's texts."""

from collections.abc import Iterator
from typing import Any

from readout.common.checks import check_seed, check_whole
from readout.common.errors import ReadoutError, reason
from readout.data.texts import Beginnings
from readout.problems.identity import digest

BUFFER = 10_000
"""Documents among which the stream is shuffled; the validation split holds 364,608."""


class C4(Beginnings):
    """The validation split of C4 (``allenai/c4``, ``en``), streamed from the Hugging Face hub.

    Takes the first documents that fill ``max_tokens``, each cut to exactly that. The stream is shuffled as
    ``datasets`` does it: the order of its files, and documents within a buffer of 10,000. A document is called by a
    digest of its text, so it has one name under every seed.

    Where the hub can't be reached, save documents on a machine where it can, and read the folder with ``TextFiles``::

        from itertools import islice
        from pathlib import Path
        from datasets import load_dataset

        Path("c4").mkdir()
        stream = load_dataset("allenai/c4", "en", split="validation", streaming=True)
        for number, row in enumerate(islice(stream, 1000)):
            Path(f"c4/{number:04d}.txt").write_text(row["text"], encoding="utf-8")

    Args:
        limit: How many texts.
        max_tokens: Tokens of a text, the network's special tokens included.
        seed: Seed of the shuffle; None for the split's own order.

    Raises:
        ReadoutError: if a number is out of range; and once the network is known, if the hub does not give C4, or what
            :meth:`TextData.prepare_for` says.
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
            ReadoutError: if the hub does not give C4.
        """
        names: set[str] = set()
        try:
            for row in self._stream():
                name = f"c4_{digest(row['text'])[:12]}"
                if name not in names:  # a document may stand there twice
                    names.add(name)
                    yield name, row["text"]
        except Exception as error:
            raise ReadoutError(
                f"The Hugging Face hub does not give C4 ({reason(error)}); connect to the network (HF_HUB_OFFLINE must "
                "not be set), or save its documents as .txt files on a machine that is connected (the documentation "
                "of C4 says how) and read that folder with TextFiles."
            ) from error

    def _stream(self) -> Any:
        import datasets

        stream = datasets.load_dataset("allenai/c4", "en", split="validation", streaming=True)
        return stream if self.seed is None else stream.shuffle(seed=self.seed, buffer_size=BUFFER)
