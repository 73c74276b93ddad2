"""Photographs that come with scikit-image and scikit-learn, without a download."""

from collections.abc import Sequence

from readout.common.checks import check_list, check_side
from readout.common.errors import ReadoutError
from readout.data.base import InputData, Sample
from readout.data.images import from_array, resize_and_crop

SCIKIT_IMAGE = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")
SCIKIT_LEARN = ("china", "flower")


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
        known = SCIKIT_IMAGE + SCIKIT_LEARN
        for name in check_list("names", names, f"[{', '.join(known)}]"):
            if name not in known:
                raise ReadoutError(f"There is no photograph {name!r}; choose among {', '.join(known)}.")
        self.names = list(dict.fromkeys(names))
        self.size = check_side("size", size)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        if name in SCIKIT_IMAGE:
            from skimage import data

            array = getattr(data, name)()
        else:
            from sklearn.datasets import load_sample_image

            array = load_sample_image(f"{name}.jpg")
        return Sample(name, resize_and_crop(from_array(array), self.size))
