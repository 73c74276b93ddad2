import os
from pathlib import Path
from typing import Any

import pytest

from readout.commands.fit import build
from readout.common.errors import ReadoutError
from readout.data import TextFiles, load_samples
from readout.extractors.language_model import LanguageModel
from tests.data.test_texts import Characters, texts
from tests.helpers import tiny_config, write_config
from tests.tiny_text import TEXT, save_tiny


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def documents(path: Path, **more: Any) -> dict[str, str]:
    return dict(TextFiles(str(path), **more).documents())


def test_a_file_is_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.txt", "One.\n\nTwo.")
    assert documents(path) == {"notes.txt": "One.\n\nTwo."}


def test_a_single_file_may_have_any_suffix(tmp_path: Path) -> None:
    assert documents(write(tmp_path / "README.md", "Hello")) == {"README.md": "Hello"}


def test_a_folder_is_read_in_order_of_paths_with_all_below_it(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/deep/c.TXT", "a.txt", "notes.md", "txt"):
        write(tmp_path / name, f"text of {name}")
    assert list(documents(tmp_path).items()) == [
        (name, f"text of {name}") for name in ("a/deep/c.TXT", "a/z.txt", "a.txt", "b.txt")
    ]


def test_what_is_hidden_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / ".hidden_above"
    for name in (".secret.txt", ".cache/a.txt", "b/.git/c.txt", "d.txt", "dir.txt/e.txt"):
        write(root / name, "hello")
    assert list(documents(root)) == ["d.txt", "dir.txt/e.txt"]


def test_a_link_to_nowhere_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "hello")
    (tmp_path / "b.txt").symlink_to(tmp_path / "nowhere.txt")
    assert list(documents(tmp_path)) == ["a.txt"]


def test_lines_that_are_not_blank_can_be_documents(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "first line\n\n  \nfourth line\r\nfifth\u2028line\x0cends\n")
    write(tmp_path / "b.txt", "only line")
    assert texts(TextFiles(str(tmp_path), per_line=True, max_tokens=32), Characters(unknown_id=None)) == {
        "a.txt-line_0001": "first line",
        "a.txt-line_0004": "fourth line",
        "a.txt-line_0005": "fifth\u2028line\x0cends",
        "b.txt-line_0001": "only line",
    }


def test_names_differ_whatever_files_are_called(tmp_path: Path) -> None:
    for name in ("a.txt", "a.txt-000.txt", "a-000.txt", "a/000.txt", "a.txt-line_0001.txt"):
        write(tmp_path / name, "0123456789" * 2 + "\n" + "abcdefghijkl")
    for per_line in (False, True):
        assert len(texts(TextFiles(str(tmp_path), per_line=per_line, max_tokens=12, min_tokens=1))) == 5 * 4


@pytest.mark.parametrize("content", ["\ufeffhéllo", "héllo", "\ufeffhéllo\r\n"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, content: str) -> None:
    write(tmp_path / "a.txt", content)
    assert texts(TextFiles(str(tmp_path))) == {"a.txt": "héllo"}


@pytest.mark.parametrize("text", ["中文文本測試", "Ελληνικά", "नमस्ते दुनिया", "🙂🙃🙂🙃", "nul\0\0nul"])
def test_texts_may_be_in_any_language(tmp_path: Path, text: str) -> None:
    write(tmp_path / "a.txt", text)
    assert texts(TextFiles(str(tmp_path)), Characters(unknown_id=None)) == {"a.txt": text}


@pytest.mark.parametrize(
    ("content", "byte"),
    [(b"caf\xe9 au lait", 3), ("hello".encode("utf-16"), 0), (b"hello\x80", 5), (b"hello \xe4\xb8", 6)],
)
def test_what_is_not_utf_8_is_one_sentence(tmp_path: Path, content: bytes, byte: int) -> None:
    write(tmp_path / "a.txt", "hello")
    path = write(tmp_path / "b.txt", content)
    with pytest.raises(ReadoutError, match=rf"b\.txt' is not UTF-8 text \(byte {byte} can't be decoded\)") as raised:
        TextFiles(str(tmp_path)).prepare_for(Characters())
    assert str(path) in str(raised.value)


def test_a_file_that_can_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    data = TextFiles(str(write(tmp_path / "a.txt", "hello")))
    os.remove(tmp_path / "a.txt")
    with pytest.raises(ReadoutError, match=r"a\.txt' can't be read \(No such file or directory\)"):
        data.prepare_for(Characters())


def test_a_missing_path_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"There is no file or folder .*nowhere'; give a text file, or a folder"):
        TextFiles(str(tmp_path / "nowhere"))


def test_a_folder_without_texts_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "hello")
    write(tmp_path / ".b.txt", "hello")
    with pytest.raises(ReadoutError, match=r"holds no \.txt files; add some, or give the path of one file"):
        TextFiles(str(tmp_path))


@pytest.mark.parametrize("content", ["", " \n\n", "\ufeff", "abc"])
@pytest.mark.parametrize("per_line", [False, True])
def test_files_without_a_text_are_one_sentence(tmp_path: Path, content: str, per_line: bool) -> None:
    write(tmp_path / "a.txt", content)
    with pytest.raises(ReadoutError, match=r"^'.*' holds no text of 4 tokens or more; give longer ones") as raised:
        TextFiles(str(tmp_path), per_line=per_line).prepare_for(Characters())
    assert str(tmp_path) in str(raised.value)


def test_the_home_folder_can_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "texts" / "a.txt", "hello")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(documents(Path("~/texts"))) == ["a.txt"]


def test_a_configuration_names_the_files(tmp_path: Path) -> None:
    write(tmp_path / "texts" / "a.txt", "hello\nworld")
    arguments = {"path": str(tmp_path / "texts"), "per_line": True, "max_tokens": 8, "min_tokens": None, "limit": 1}
    data = {"class_path": "TextFiles", "init_args": arguments}
    config = write_config(tmp_path / "config.yaml", tiny_config(tmp_path, data=data))
    built = build(["--config", str(config)]).datamodule
    assert type(built) is TextFiles
    assert {name: getattr(built, name) for name in arguments} == arguments


def test_a_language_model_reads_files(tmp_path: Path) -> None:
    model = LanguageModel(save_tiny(tmp_path / "model"))
    write(tmp_path / "texts" / "a.txt", f"\ufeff{TEXT}\n\n{TEXT}\n")
    write(tmp_path / "texts" / "b" / "c.txt", "the cat sat on the red door .")
    ids = model.tokenizer(TEXT)["input_ids"]
    per_file = load_samples(TextFiles(str(tmp_path / "texts"), max_tokens=len(ids)), model)
    assert list(per_file) == ["a.txt-000", "a.txt-001", "b/c.txt"]
    assert per_file["a.txt-000"].input.tolist() == per_file["a.txt-001"].input.tolist() == ids
    per_line = load_samples(TextFiles(str(tmp_path / "texts"), per_line=True, max_tokens=40), model)
    assert list(per_line) == ["a.txt-line_0001", "a.txt-line_0003", "b/c.txt-line_0001"]
