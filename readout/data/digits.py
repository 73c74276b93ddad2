"""Handwritten digits that come with scikit-learn: real labelled images without a download."""

from collections.abc import Sequence

import torch
from torch import Tensor

from readout.common.checks import check_list, check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.data.base import InputData, Sample
from readout.extractors import DigitNet, FeatureExtractor
from readout.extractors.digit_net import digit_table


class Digits(InputData):
    """scikit-learn's 1,797 handwritten digits: grey, 8 × 8 pixels, labelled ``"0"`` to ``"9"``.

    A sweep of a :class:`readout.extractors.DigitNet` leaves out the digits that the network was trained on, unless
    ``indices`` names them.

    Args:
        indices: Indices into scikit-learn's table; None for all digits.
        limit: Number of digits to use, the first; None for all.

    Raises:
        ReadoutError: if an index is out of range, or there are fewer digits than ``limit``.

    Examples:
        >>> sample = Digits([3, 5])[1]
        >>> sample.name, sample.input.shape, sample.label
        ('digit_0005', torch.Size([1, 8, 8]), '5')
    """

    def __init__(self, indices: Sequence[int] | None = None, limit: int | None = None) -> None:
        super().__init__()
        count = len(digit_table()[1])
        listed = range(count) if indices is None else check_list("indices", indices, "[0, 1, 2]")
        self.limit = None if limit is None else check_whole("limit", limit, 1, hint=", or null for all")
        self._named = indices is not None
        self._take([check_whole("The place of a digit", index, 0, count - 1) for index in listed])

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Leave out the digits that the network was trained on, unless ``indices`` names them."""
        if isinstance(extractor, DigitNet) and not self._named:
            known = set(extractor.trained_on)
            self._take([index for index in range(len(digit_table()[1])) if index not in known])

    def _take(self, indices: list[int]) -> None:
        if self.limit is not None and self.limit > len(indices):
            raise ReadoutError(f"limit is {self.limit}, but there are {len(indices)} digits; set it to fewer.")
        self.indices = indices[: self.limit]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        place = self.indices[index]
        images, labels = digit_table()
        return Sample(f"digit_{place:04d}", images[place], str(int(labels[place])))

    def images(self) -> Tensor:
        """Return all images as one batch, values in [0, 1], shape (digits, 1, 8, 8)."""
        return digit_table()[0][self.indices]

    def labels(self) -> Tensor:
        """Return all classes, 0 to 9, shape (digits,)."""
        return digit_table()[1][self.indices]

    def split(self, count: int, seed: int = 0) -> tuple["Digits", "Digits"]:
        """Split the digits into two disjoint sets at random.

        Args:
            count: Size of the first set.
            seed: Seed of the split.

        Raises:
            ReadoutError: if a set would be empty.

        Examples:
            >>> train, test = Digits().split(1500)
            >>> len(train), len(test)
            (1500, 297)
        """
        if not 0 < check_whole("count", count) < len(self):
            raise ReadoutError(f"{len(self)} digits can't be split into {count} and the rest; leave some in each part.")
        check_seed("seed", seed)
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).tolist()
        shuffled = [self.indices[place] for place in order]
        return Digits(shuffled[:count]), Digits(shuffled[count:])
