import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from readout.common.errors import ReadoutError
from readout.data import ImageFolder


def save(path: Path, value: int = 128, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), value, dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images, image number i of grey value 10 i."""
    for index in range(10):
        save(tmp_path / f"image_{index}.png", 10 * index)
    return tmp_path


def names(data: ImageFolder) -> list[str]:
    return [sample.name for sample in data]


def test_a_flat_folder_is_read_in_order_of_names(folder: Path) -> None:
    data = ImageFolder(str(folder), size=4)
    assert len(data) == 10
    for index, sample in enumerate(data):
        assert sample.name == f"image_{index}.png"
        torch.testing.assert_close(sample.input, torch.full((3, 4, 4), 10 * index / 255))


def test_a_folder_of_classes_keeps_the_class_in_the_name(tmp_path: Path) -> None:
    for name in ("n02/b.png", "n01/a.JPEG", "n01/c.jpg", "n01/deep/d.bmp", "top.webp"):
        save(tmp_path / name)
    assert names(ImageFolder(str(tmp_path), size=4)) == [
        "n01/a.JPEG",
        "n01/c.jpg",
        "n01/deep/d.bmp",
        "n02/b.png",
        "top.webp",
    ]


def test_a_label_is_the_name_of_the_class_folder(tmp_path: Path) -> None:
    for name in ("n01/a.png", "n01/deep/d.png", "n02/b.png", "top.png"):
        save(tmp_path / name)
    assert [sample.label for sample in ImageFolder(str(tmp_path), size=4)] == ["n01", "n01", "n02", None]


def test_a_flat_folder_has_no_labels(folder: Path) -> None:
    assert {sample.label for sample in ImageFolder(str(folder), size=4, limit=3)} == {None}


def test_what_is_no_image_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.png")
    for name in ("labels.csv", "b.HEIC", "notes"):
        (tmp_path / name).write_text("a,1")
    assert names(ImageFolder(str(tmp_path))) == ["a.png"]
    assert capsys.readouterr().out == (
        f"left out of {tmp_path}: 3 files that are not images Pillow reads (.csv, .heic, no suffix)\n"
    )


def test_hidden_files_and_those_of_systems_are_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", ".hidden.png", ".cache/b.png"):
        save(tmp_path / name)
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_text("of the system")
    assert names(ImageFolder(str(tmp_path))) == ["a.png"]
    assert capsys.readouterr().out == ""


def test_every_format_that_pillow_reads_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suffixes = ("bmp", "dds", "gif", "ico", "jfif", "jpe", "jpg", "pcx", "png", "ppm", "qoi", "tga", "tif", "webp")
    for suffix in suffixes:
        save(tmp_path / f"a.{suffix}", side=16)
    (tmp_path / "a.png").rename(tmp_path / "a")  # told by its content
    assert names(ImageFolder(str(tmp_path))) == ["a", *(f"a.{suffix}" for suffix in suffixes if suffix != "png")]
    assert capsys.readouterr().out == ""


def test_a_name_that_is_not_utf_8_is_escaped(tmp_path: Path) -> None:
    try:
        save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/caf\xe9.png")))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (sample,) = ImageFolder(str(tmp_path))
    assert (sample.name, sample.label) == (r"caf\udce9/caf\udce9.png", r"caf\udce9")


def test_a_folder_named_like_an_image_is_none(tmp_path: Path) -> None:
    save(tmp_path / "cat.jpg" / "a.png")
    assert names(ImageFolder(str(tmp_path))) == ["cat.jpg/a.png"]


def test_a_limit_draws_by_its_seed_alone(folder: Path) -> None:
    first = names(ImageFolder(str(folder), limit=4))
    assert names(ImageFolder(str(folder), limit=4, size=8)) == first == sorted(first)
    assert len(set(first)) == 4
    draws = {tuple(names(ImageFolder(str(folder), limit=4, seed=seed))) for seed in range(8)}
    assert len(draws) > 1
    assert names(ImageFolder(str(folder), limit=10)) == names(ImageFolder(str(folder)))


def test_a_limit_above_what_there_is_is_one_sentence(folder: Path) -> None:
    with pytest.raises(ReadoutError, match=r"limit is 11, but .* holds 10 images; set it between 1 and 10"):
        ImageFolder(str(folder), limit=11)


def break_one(folder: Path, kind: str) -> Path:
    path = folder / "image_3.png"
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not an image", "cut": content[: len(content) // 2]}[kind])
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "cut"])
def test_an_image_that_cannot_be_read_is_named(folder: Path, kind: str) -> None:
    path = break_one(folder, kind)
    with pytest.raises(ReadoutError, match=r"can't be read as an image.*skip_unreadable: true") as raised:
        list(ImageFolder(str(folder)))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["empty", "text", "cut"])
def test_an_image_that_cannot_be_read_can_be_skipped(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = break_one(folder, kind)
    data = ImageFolder(str(folder), size=4, skip_unreadable=True)
    assert names(data) == [f"image_{index}.png" for index in range(10) if index != 3]
    assert str(path) in capsys.readouterr().out


def test_a_limit_counts_only_what_can_be_read(folder: Path) -> None:
    break_one(folder, "text")
    for seed in range(5):
        assert len(list(ImageFolder(str(folder), size=4, limit=9, seed=seed, skip_unreadable=True))) == 9


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"There is no folder .*nowhere"):
        ImageFolder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("skip", [True, False])
def test_a_folder_without_images_is_one_sentence(tmp_path: Path, skip: bool) -> None:
    (tmp_path / "readme.txt").write_text("empty")
    with pytest.raises(ReadoutError, match=r"holds no images \(.*\.jpeg.*\)"):
        ImageFolder(str(tmp_path), skip_unreadable=skip)


def test_a_folder_where_nothing_can_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(ReadoutError, match="holds no images"):
        ImageFolder(str(tmp_path), skip_unreadable=True)
