"""Photographs that come with scikit-image and scikit-learn, without a download."""

from collections.abc import Sequence
from functools import cache

from torch import Tensor

from readout.common.checks import check_list, check_side
from readout.common.errors import ReadoutError
from readout.data.base import InputData, Sample
from readout.data.images import from_array, resize_and_crop

SCIKIT_IMAGE = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field", "motorcycle")
SCIKIT_IMAGE_GREY = ("camera", "coins", "moon", "brick", "grass", "gravel")
SCIKIT_LEARN = ("china", "flower")
NAMES = SCIKIT_IMAGE + SCIKIT_LEARN + SCIKIT_IMAGE_GREY


class Photographs(InputData):
    """Real photographs: ``astronaut``, ``chelsea`` (a cat), ``coffee``, ``rocket`` and others.

    Args:
        names: Names of the photographs, in order.
        size: Side of the square images in pixels.

    Raises:
        ReadoutError: if a name is unknown (the error lists all), or ``size`` is not a valid image size.

    Examples:
        >>> sample = Photographs(["chelsea"], size=32)[0]
        >>> sample.name, sample.input.shape
        ('chelsea', torch.Size([3, 32, 32]))
    """

    def __init__(self, names: Sequence[str] = ("astronaut", "chelsea", "coffee"), size: int = 64) -> None:
        super().__init__()
        self.names = check_names(names)
        self.size = check_side("size", size)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        return Sample(name, resize_and_crop(photograph(name), self.size))


def check_names(names: Sequence[str]) -> list[str]:
    """Return names of photographs, each once.

    Raises:
        ReadoutError: if a name is unknown; the error lists all.
    """
    for name in check_list("names", names, f"[{', '.join(NAMES)}]"):
        if name not in NAMES:
            raise ReadoutError(f"There is no photograph {name!r}; choose among {', '.join(NAMES)}.")
    return list(dict.fromkeys(names))


@cache
def photograph(name: str) -> Tensor:
    """Return a photograph at its full size, RGB in [0, 1], shape (3, height, width); greys have equal channels."""
    if name in SCIKIT_LEARN:
        from sklearn.datasets import load_sample_image

        return from_array(load_sample_image(f"{name}.jpg"))
    from skimage import data

    if name == "motorcycle":  # a pair for stereo vision, and their disparity
        return from_array(getattr(data, f"stereo_{name}")()[0])
    return from_array(getattr(data, name)())
