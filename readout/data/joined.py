"""Several sources of inputs as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from readout.common.checks import check_list
from readout.data.base import InputData, Sample
from readout.extractors import FeatureExtractor


class Joined(InputData):
    """The inputs of several sources, one after the other; names begin with the number of the source.

    Args:
        sources: The sources, with inputs of one shape.

    Raises:
        ReadoutError: if there is no source.

    Examples:
        >>> from readout.data import Crops, Photographs
        >>> joined = Joined([Photographs(["coffee"], size=32), Crops(count=2, size=32)])
        >>> [sample.name for sample in joined]
        ['0/coffee', '1/crop_00000', '1/crop_00001']
    """

    def __init__(self, sources: Sequence[InputData]) -> None:
        super().__init__()
        self.sources: list[InputData] = check_list("sources", sources, "[a source, another source]")

    def prepare_data(self) -> None:
        """Prepare the sources."""
        for source in self.sources:
            source.prepare_data()

    def setup(self, stage: str) -> None:
        """Set up the sources."""
        for source in self.sources:
            source.setup(stage)

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Prepare the sources for the network."""
        for source in self.sources:
            source.prepare_for(extractor)

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        ends = list(accumulate(map(len, self.sources)))
        place = bisect_right(ends, index)
        sample = self.sources[place][index - ends[place] + len(self.sources[place])]
        return sample._replace(name=f"{place}/{sample.name}")
