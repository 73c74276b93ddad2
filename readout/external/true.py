"""True inputs of features that are given, where they are known: files that are called as the features are."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.files import as_text, user_path
from readout.data.folder import find_images
from readout.data.images import read_image, resize_and_crop, suffixes

T = TypeVar("T")


def true_images(folder: str, names: Collection[str], input_shape: Sequence[int]) -> dict[str, Tensor]:
    """Match images to features by name; see :func:`matched`.

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
    files = {as_text(path.relative_to(root)): path for path in find_images(root)}
    paths = matched(files, names, folder, "image", suffixes())
    images = {name: resize_and_crop(read_image(path), input_shape[-1]) for name, path in paths.items()}
    for name, image in images.items():
        if image.max() == image.min():
            raise ReadoutError(f"The true image of {name!r} is constant, so nothing correlates with it; take it out.")
    return images


def matched(
    files: Mapping[str, T], names: Collection[str], where: str, kind: str, suffixes: Collection[str]
) -> dict[str, T]:
    """Match files to features by path, or else by name: ``cat.png`` and ``cat`` are both the feature ``S1/cat``'s.

    Names of features may end in a suffix, which need not be the file's.

    Args:
        files: Each under its path.
        names: Of the features.
        where: Folder that the files are in.
        kind: What messages call a file, such as ``image``.
        suffixes: Suffixes that files may have, in lower case.

    Raises:
        ReadoutError: if nothing fits a name, or two do.
    """
    called: dict[str, list[str]] = {}
    for path in files:
        for spelling in _spellings(path, suffixes):
            called.setdefault(spelling, []).append(path)
    stems = Counter(_stem(last, suffixes) for last in {last_part(name) for name in names})
    found: dict[str, T] = {}
    for name in names:
        # of features cat.png and cat.jpg, neither is the other's file
        apart = suffixes if stems[_stem(last_part(name), suffixes)] == 1 else ()
        fitting = next((called[spelling] for spelling in _spellings(name, apart) if spelling in called), [])
        if len(fitting) > 1:
            raise ReadoutError(
                f"Two {kind}s in {where!r} are called {last_part(name)!r} ({fitting[0]}, {fitting[1]}); keep the one "
                "that is meant."
            )
        for path in fitting:
            found[name] = files[path]
    if not found:
        first = [*names][:3]
        example = _spellings(last_part(first[0]), suffixes)[-1] + (".txt" if ".txt" in suffixes else ".png")
        raise ReadoutError(
            f"No {kind} in {where!r} is called as a feature is; those are called {', '.join(map(repr, first))}"
            f"{' …' if len(names) > 3 else ''}, so give {kind}s such as {example}."
        )
    return found


def _spellings(name: str, suffixes: Collection[str]) -> list[str]:
    """What a path or name may be called, from all of it to the stem of its last part."""
    return [
        spelling
        for part in dict.fromkeys([name, last_part(name)])
        for spelling in dict.fromkeys([part, _stem(part, suffixes)])
    ]


def _stem(name: str, suffixes: Collection[str]) -> str:
    """Without its suffix, if it has one of ``suffixes``."""
    bare, dot, suffix = name.rpartition(".")
    return bare if bare and (dot + suffix).lower() in suffixes else name


def last_part(name: str) -> str:
    """Of a feature's name that is led by folders."""
    return name.rsplit("/", 1)[-1]
