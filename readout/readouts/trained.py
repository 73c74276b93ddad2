"""The base class of readouts whose weights are trained at each layer, on features of other inputs."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data import InputData, Samples, load_samples
from readout.decoders.base import Training
from readout.extractors import FeatureExtractor
from readout.metrics import SampleMetric
from readout.perturbations import Departure
from readout.problems import Setting
from readout.problems.identity import describe, digest
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
        known = load_samples(self.training_data, self.extractor)
        # in an order that follows from the inputs, because weights follow from it
        digests = dict(sorted((self.input_digest(metadata), name) for name, metadata in known.metadata.items()))
        if len(digests) < self.least_inputs:
            raise ReadoutError(
                f"model.training_data has {len(digests)} inputs, too few to train on; give at least "
                f"{self.least_inputs}."
            )
        self.inputs = known.stack(digests.values())
        self._digest = digest(list(digests))
        if shape is not None and tuple(shape) != self.inputs.shape[1:]:
            own, wanted = ("×".join(map(str, each)) for each in (self.inputs.shape[1:], shape))
            raise ReadoutError(
                f"model.training_data has inputs of {own}, but those to be read are {wanted}; set its size."
            )
        for name, metadata in samples.metadata.items():
            if (same := digests.get(self.input_digest(metadata))) is not None:
                raise ReadoutError(
                    f"Input {name!r} is also in model.training_data, as {same!r}; take it out, so that nothing is read "
                    "by a readout that was trained on it."
                )

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
