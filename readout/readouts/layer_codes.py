"""Readout of a layer's sparse codes."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from readout.codes import Coder, Dictionary
from readout.codes.layer_coder import LayerCoder
from readout.extractors import FeatureExtractor
from readout.metrics import CorrelationDistance, SampleMetric, SupportDistance
from readout.problems.identity import describe, qualified_name
from readout.readouts.one_pass import OnePassReadout, distinct


class LayerCodes(OnePassReadout):
    """The sparse codes of a layer's feature, at every position, by a dictionary that was learnt there.

    The signal is the code of the feature that did not move, by the same coder: nobody knows a true one. So a size says
    how far a feature can move before its latents change, not whether they are the right ones. Iterations of the coder
    are part of the pass. A column ``active`` holds the mean number of active latents per position.

    Args:
        extractor: The network.
        dictionary: Of the layer that is read; see ``python -m readout.cli learn``.
        coder: Infers codes.
        iterations: Most iterations of the coder.
        metric: Distance d_S between the codes of all positions. Default: :class:`readout.metrics.CorrelationDistance`.
        metrics: Further metrics. Default: :class:`readout.metrics.SupportDistance`.

    Raises:
        ReadoutError: if the coder can't use the dictionary.
    """

    signal_kind = "code"
    batch_limit: ClassVar = {"cpu": 16, "cuda": 256}

    def __init__(
        self,
        extractor: FeatureExtractor,
        dictionary: Dictionary,
        coder: Coder,
        iterations: int = 100,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] | None = None,
    ) -> None:
        further = [SupportDistance()] if metrics is None else metrics
        super().__init__(extractor, metric or CorrelationDistance(), further)
        self.layer_coder = LayerCoder(dictionary, coder, iterations)

    @property
    def title(self) -> str:
        """See :class:`Readout`."""
        return f"codes by {type(self.layer_coder.coder).__name__}"

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """See :class:`Readout`."""
        own = {**self.layer_coder.describe(), "class": qualified_name(type(self))}
        return {**own, "metric": describe(self.metric), "metrics": describe(self.metrics)}

    def columns(self) -> dict[str, Any]:
        """Return the coder, and the dictionary's digest."""
        return {"coder": type(self.layer_coder.coder).__name__, "dictionary": self.layer_coder.digest[:16]}

    def check_layer(self, layer: str, example: Tensor) -> None:
        """See :class:`Readout`; checks the dictionary."""
        self.layer_coder.check_layer(self.extractor, layer, self.extractor.extract(example.to(self._type), layer))

    def signal(self, inputs: Tensor) -> Tensor:
        """Return the codes of clean features, shape (problems, positions × N)."""
        first, rows = distinct(self.problems.names or range(len(inputs)))
        return self.read(self._target.clean[first])[rows]

    def read(self, feature: Tensor) -> Tensor:
        """Return the codes, shape (problems, positions × N)."""
        return self.layer_coder.encode(feature).flatten(1)

    def scores(self, recovered: Tensor) -> dict[str, Tensor]:
        """See :class:`OnePassReadout`."""
        positions = recovered.shape[1] // len(self.layer_coder.dictionary)
        return {**super().scores(recovered), "active": (recovered != 0).sum(1) / positions}
