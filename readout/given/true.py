"""True inputs of features that are given, where they are known: files that are called as the features are."""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from torch import Tensor

from readout.data.folder import SUFFIXES
from readout.data.images import read_image, resize_and_crop
from readout.errors import ReadoutError
from readout.files import user_path

T = TypeVar("T")


def true_images(folder: str, names: Collection[str], input_shape: Sequence[int]) -> dict[str, Tensor]:
    """Images whose file names, without suffix, are names of features or the last part of those, after a slash.

    Args:
        folder: Folder of images; sub-folders are searched too.
        names: Of the features.
        input_shape: (3, height, width), square; images are resized and cropped to it.

    Raises:
        ReadoutError: if there is no such folder, no image fits a name or two do, or one can't be used.
    """
    root = user_path(folder)
    if not root.is_dir():
        raise ReadoutError(f"There is no folder {folder!r}; give the path of a folder of true images.")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    paths = matched(((path.stem, path) for path in files), names, folder, "image", ".png")
    images = {name: resize_and_crop(read_image(path), input_shape[-1]) for name, path in paths.items()}
    for name, image in images.items():
        if image.max() == image.min():
            raise ReadoutError(f"The true image of {name!r} is constant, so nothing correlates with it; take it out.")
    return images


def matched(files: Iterable[tuple[str, T]], names: Collection[str], where: str, kind: str, suffix: str) -> dict[str, T]:
    """What is called as a feature is, or as the last part of its name: that of ``S1/cat`` and ``S2/cat`` is ``cat``.

    Args:
        files: Each under its name.
        names: Of the features.
        where: Path that they are from.
        kind: What messages call one, such as ``image``.
        suffix: What its file could end in.

    Raises:
        ReadoutError: if nothing fits a name, or two do.
    """
    wanted = {name: last_part(name) for name in names}
    found: dict[str, T] = {}
    for name, file in files:
        if name in found:
            raise ReadoutError(f"Two {kind}s in {where!r} are called {name!r}; keep the one that is meant.")
        if name in wanted.values():
            found[name] = file
    if not found:
        first = [*names][:3]
        raise ReadoutError(
            f"No {kind} in {where!r} is called as a feature is; those are called {', '.join(map(repr, first))}"
            f"{' …' if len(names) > 3 else ''}, so give {kind}s such as {last_part(first[0])}{suffix}."
        )
    return {name: found[last] for name, last in wanted.items() if last in found}


def last_part(name: str) -> str:
    """Of a feature's name that is led by folders."""
    return name.rsplit("/", 1)[-1]
