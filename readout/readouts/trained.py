"""The base class of readouts whose weights are trained at each layer, on features of other inputs."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from readout.data import InputData, Samples
from readout.decoders.base import Training
from readout.extractors import FeatureExtractor
from readout.metrics import SampleMetric
from readout.perturbations import Departure
from readout.problems import Setting
from readout.problems.identity import describe, digest
from readout.readouts.apart import load_apart
from readout.readouts.one_pass import OnePassReadout


class TrainedReadout(OnePassReadout):
    """A readout in one pass, with weights for each layer from a training that never sees what it will read.

    A subclass implements :meth:`make_training`, :meth:`use` and :meth:`OnePassReadout.read`. Weights are kept in the
    output folder.

    Args:
        extractor: Frozen network f.
        training_data: Inputs to train on, of the shape of those to be read.
        metric: Distance d_S.
        metrics: Further metrics to report.
    """

    least_inputs: ClassVar[int] = 16
    """Fewest training inputs."""

    inputs: Tensor
    """Training inputs, shape (inputs, *input_shape)."""

    def __init__(
        self,
        extractor: FeatureExtractor,
        training_data: InputData,
        metric: SampleMetric,
        metrics: Sequence[SampleMetric] = (),
    ) -> None:
        super().__init__(extractor, metric, metrics)
        self.training_data = training_data
        self._digest: str | None = None

    def meet(self, samples: Samples, shape: Sequence[int] | None) -> None:
        """Load the training inputs.

        Raises:
            ReadoutError: if there are too few, they have another shape than the inputs to be read, or one of those is
                among them.
        """
        self.inputs, self._digest = load_apart(
            self.training_data, "training_data", self.least_inputs, self.extractor, samples, shape
        )

    @property
    def trained(self) -> "TrainedReadout":
        """See :class:`Readout`."""
        return self

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """See :class:`Readout`; training inputs go by their digests."""
        described: dict[str, Any] = describe(self, skip=("extractor", "training_data"))
        return {**described, "training_data": self._digest}

    def columns(self) -> dict[str, Any]:
        """Return what it was trained on."""
        return {"training_data": str(self._digest)[:16], "training_inputs": len(self.inputs)}

    def weights_key(self, setting: Setting, layer: str) -> str:
        """Return the digest of everything that decides the weights of a layer, 32 hex digits.

        Args:
            setting: Names the network and the precision. A Trainer may have changed the weights' type since.
            layer: Layer name.
        """
        return digest([setting.network, setting.precision, layer, self.describe()])[:32]

    @property
    def departure(self) -> Departure:
        """See :class:`Readout`: d_X of what is read."""

        def distance(moved: Tensor, clean: Tensor, inputs: Tensor) -> Tensor:
            return self.metric.per_sample(self.read(moved), inputs.to(moved))

        return distance

    @abstractmethod
    def make_training(self, layer: str) -> Training:
        """Return the training of a layer's weights, not begun."""

    @abstractmethod
    def use(self, layer: str, weights: Mapping[str, Tensor]) -> None:
        """Take the weights to read a layer with, from :meth:`Training.weights`."""
