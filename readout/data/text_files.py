"""Texts from files."""

from collections.abc import Iterator
from pathlib import Path

from readout.common.errors import ReadoutError
from readout.common.files import as_text, find_files, user_path
from readout.data.texts import TextData


class TextFiles(TextData):
    """Texts from a UTF-8 file or a folder of UTF-8 ``.txt`` files.

    A document is a file or a line; see :class:`TextData` for how documents become texts. Documents are named by path
    relative to the folder and, with ``per_line``, line number (``notes.txt-line_0012``).

    Args:
        path: A text file, or a folder, searched with its subfolders; hidden files and folders are ignored.
        per_line: Treat each line that is not blank as a document of its own.
        max_tokens: Most tokens per text, the network's special tokens included.
        min_tokens: Fewest tokens per text, without special tokens; None for exactly as many as fit.
        limit: Number of texts to draw at random; None for all.
        seed: Seed of that draw.

    Raises:
        ReadoutError: if there is no such path, the folder holds no ``.txt`` files, or a number is out of range. Later,
            :meth:`TextData.prepare_for` also raises if a file can't be read.
    """

    def __init__(
        self,
        path: str,
        per_line: bool = False,
        max_tokens: int = 256,
        min_tokens: int | None = 4,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(max_tokens, min_tokens, limit, seed)
        self.path, self.per_line = path, per_line
        self.files = _find(user_path(path))

    @property
    def source(self) -> str:
        """See :attr:`TextData.source`."""
        return repr(self.path)

    def documents(self) -> Iterator[tuple[str, str]]:
        """See :meth:`TextData.documents`.

        Raises:
            ReadoutError: if a file can't be read as UTF-8.
        """
        for name, path in self.files.items():
            text = _read(path)
            if self.per_line:
                # `splitlines` would also split at characters that editors don't show as line breaks
                lines = enumerate(text.split("\n"), start=1)
                yield from ((f"{name}-line_{number:04d}", line) for number, line in lines)
            else:
                yield name, text


def _find(root: Path) -> dict[str, Path]:
    """Return document name → file."""
    if root.is_file():
        return {as_text(root.name): root}
    if not root.is_dir():
        raise ReadoutError(f"There is no file or folder {str(root)!r}; give a text file, or a folder of .txt files.")
    found = find_files(root, lambda path: path.suffix.lower() == ".txt", "texts (.txt)")
    files = {as_text(path.relative_to(root)): path for path in found}
    if not files:
        raise ReadoutError(f"The folder {str(root)!r} holds no .txt files; add some, or give the path of one file.")
    return files


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadoutError(
            f"{str(path)!r} is not UTF-8 text (byte {error.start} can't be decoded); save it as UTF-8 or remove it."
        ) from error
    except OSError as error:
        raise ReadoutError(
            f"{str(path)!r} can't be read ({error.strerror or error}); make it readable or remove it."
        ) from error
    if text.count("\0") > len(text) / 4:  # English in UTF-16: every other byte is null, which is valid UTF-8
        raise ReadoutError(f"{str(path)!r} holds null characters, as UTF-16 does; save it as UTF-8 or remove it.")
    return text
