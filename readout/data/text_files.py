"""Texts of one's own."""

from collections.abc import Iterator
from pathlib import Path

from readout.common.errors import ReadoutError
from readout.common.files import as_text, find_files, user_path
from readout.data.texts import TextData


class TextFiles(TextData):
    """Texts out of a file or a folder of ``.txt`` files, in UTF-8.

    Each file is a document, or each of its lines; see :class:`TextData` for how documents become texts. A file is
    called by its path below the folder, a line by that and its number (``notes.txt-line_0012``).

    Args:
        path: A text file, or a folder; sub-folders are searched too, hidden files and folders are not.
        per_line: Take each line that is not blank as a document of its own.
        max_tokens: Tokens of a text at most, the network's special tokens included.
        min_tokens: Tokens of a text at least, special tokens not counted; None for as many as fit.
        limit: Take so many texts, drawn at random; None for all.
        seed: Seed of that draw.

    Raises:
        ReadoutError: if there is no such path, the folder holds no ``.txt`` files, or a number is out of range; and
            once the network is known, if a file can't be read, or what :meth:`TextData.prepare_for` says.
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
                # not splitlines, which also cuts where no editor shows a new line
                lines = enumerate(text.split("\n"), start=1)
                yield from ((f"{name}-line_{number:04d}", line) for number, line in lines)
            else:
                yield name, text


def _find(root: Path) -> dict[str, Path]:
    """Names of documents and their files."""
    if root.is_file():
        return {as_text(root.name): root}
    if not root.is_dir():
        raise ReadoutError(f"There is no file or folder {str(root)!r}; give a text file, or a folder of .txt files.")
    found = find_files(root, lambda path: path.suffix.lower() == ".txt", "texts (.txt)")
    files = {as_text(path.relative_to(root)): path for path in found}
    if not files:
        raise ReadoutError(f"The folder {str(root)!r} holds no .txt files; add some, or give one file by its path.")
    return files


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadoutError(
            f"{str(path)!r} is not UTF-8 text (byte {error.start} can't be read); save it as UTF-8, or take it out."
        ) from error
    except OSError as error:
        raise ReadoutError(
            f"{str(path)!r} can't be read ({error.strerror or error}); make it readable, or take it out."
        ) from error
    if text.count("\0") > len(text) / 4:  # every other byte of English in UTF-16, and valid UTF-8
        raise ReadoutError(f"{str(path)!r} holds null characters; is it UTF-16? Save it as UTF-8, or take it out.")
    return text
