"""True inputs of external features, where known: files with the features' names."""

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
        folder: Folder of images, searched recursively.
        names: Names of the features.
        input_shape: (3, height, width), square; images are resized and cropped to it.

    Raises:
        ReadoutError: if there is no such folder, no image or two images match a name, or an image can't be used.
    """
    root = user_path(folder)
    if not root.is_dir():
        raise ReadoutError(f"There is no folder {folder!r}; give the path of a folder of true images.")
    files = {as_text(path.relative_to(root)): path for path in find_images(root)}
    paths = matched(files, names, folder, "image", suffixes())
    images = {name: resize_and_crop(read_image(path), input_shape[-1]) for name, path in paths.items()}
    for name, image in images.items():
        if image.max() == image.min():
            raise ReadoutError(f"The true image of {name!r} is constant, so nothing correlates with it; leave it out.")
    return images


def matched(
    files: Mapping[str, T], names: Collection[str], where: str, kind: str, suffixes: Collection[str]
) -> dict[str, T]:
    """Match files to features by path, or else by its last part: ``cat.png`` and ``cat`` both match ``S1/cat``.

    A feature's name may end in a suffix, even another than the file's.

    Args:
        files: Files by path.
        names: Names of the features.
        where: Folder of the files, for messages.
        kind: Kind of the files, for messages, such as ``image``.
        suffixes: Suffixes that files may have, in lower case.

    Returns:
        Matching files by name; names without one are left out.

    Raises:
        ReadoutError: if no file matches any name, or two match one.

    Examples:
        >>> matched({"cats/tom.png": 1, "rex.png": 2}, ["S1/tom", "S1/fido"], "images", "image", [".png"])
        {'S1/tom': 1}
    """
    by_spelling: dict[str, list[str]] = {}
    for path in files:
        for spelling in _spellings(path, suffixes):
            by_spelling.setdefault(spelling, []).append(path)
    stems = Counter(_stem(last, suffixes) for last in {last_part(name) for name in names})
    found: dict[str, T] = {}
    for name in names:
        # with features cat.png and cat.jpg, a suffix distinguishes them and must match
        optional = suffixes if stems[_stem(last_part(name), suffixes)] == 1 else ()
        fitting = next((by_spelling[one] for one in _spellings(name, optional) if one in by_spelling), [])
        if len(fitting) > 1:
            raise ReadoutError(
                f"Two {kind}s in {where!r} are named {last_part(name)!r} ({fitting[0]}, {fitting[1]}); keep one of "
                "them."
            )
        for path in fitting:
            found[name] = files[path]
    if not found:
        first = [*names][:3]
        example = _spellings(last_part(first[0]), suffixes)[-1] + (".txt" if ".txt" in suffixes else ".png")
        raise ReadoutError(
            f"No {kind} in {where!r} has one of the names {', '.join(map(repr, first))}"
            f"{' …' if len(names) > 3 else ''}, so give {kind}s such as {example}."
        )
    return found


def _spellings(name: str, suffixes: Collection[str]) -> list[str]:
    """List the spellings that match a path or name, from all of it to the stem of its last part."""
    return [
        spelling
        for part in dict.fromkeys([name, last_part(name)])
        for spelling in dict.fromkeys([part, _stem(part, suffixes)])
    ]


def _stem(name: str, suffixes: Collection[str]) -> str:
    """Remove the suffix of a name if it is one of ``suffixes``."""
    bare, dot, suffix = name.rpartition(".")
    return bare if bare and (dot + suffix).lower() in suffixes else name


def last_part(name: str) -> str:
    """Return the part of a feature's name after its folders."""
    return name.rsplit("/", 1)[-1]
