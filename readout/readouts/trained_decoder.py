"""A trained readout: a decoder network from features to inputs, trained at each layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from readout.common.checks import check_number, check_seed, check_whole
from readout.data import InputData
from readout.decoders import DecoderNetwork, DecoderTraining, Training
from readout.extractors import FeatureExtractor
from readout.metrics import CorrelationDistance, SampleMetric
from readout.perturbations import check_levels
from readout.readouts.trained import TrainedReadout


class TrainedDecoder(TrainedReadout):
    """A decoder network, trained on features of other inputs that were moved by Gaussian noise to random levels.

    It sees the moved feature alone: neither the clean one nor the level.

    Args:
        extractor: Frozen network f.
        training_data: Inputs to train on.
        training_steps: Training steps at each layer.
        batch_size: Inputs per training step.
        lr: Largest learning rate of the training.
        levels: Lowest and highest level in training, in [0, 1).
        width: Channels of the decoder at the resolution of the input; lower resolutions have more.
        blocks: Residual blocks at the feature's resolution.
        clamp: Clamp what is read to [0, 1], the range of images.
        seed: Seed of the training.
        metric: Distance d_X. Default: :class:`readout.metrics.CorrelationDistance`.
        metrics: Further metrics to report.

    Raises:
        ReadoutError: if a number is out of range.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        training_data: InputData,
        training_steps: int = 2500,
        batch_size: int = 8,
        lr: float = 2e-3,
        levels: Sequence[float] = (0.0, 0.97),
        width: int = 32,
        blocks: int = 3,
        clamp: bool = True,
        seed: int = 0,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] = (),
    ) -> None:
        super().__init__(extractor, training_data, metric or CorrelationDistance(), metrics)
        self.training_steps = check_whole("training_steps", training_steps, 1)
        self.batch_size = check_whole("batch_size", batch_size, 1)
        self.lr = check_number("lr", lr, above=0)
        self.levels = check_levels(levels)
        self.width, self.blocks = check_whole("width", width, 1), check_whole("blocks", blocks, 1)
        self.clamp = clamp
        self.seed = check_seed("seed", seed)
        self._layer = ""

    def make_training(self, layer: str) -> Training:
        """See :class:`TrainedReadout`."""
        return DecoderTraining(
            self.extractor,
            layer,
            self.inputs,
            self._make_network(layer),
            levels=self.levels,
            steps=self.training_steps,
            batch_size=self.batch_size,
            lr=self.lr,
            seed=self.seed,
        )

    def use(self, layer: str, weights: Mapping[str, Tensor]) -> None:
        """See :class:`TrainedReadout`."""
        self._layer, self._network = layer, self._make_network(layer)
        self._network.load_state_dict(dict(weights))
        self._network.eval().requires_grad_(False)

    def read(self, feature: Tensor) -> Tensor:
        """Return the inputs, shape (problems, *input_shape)."""
        assert self._layer == self.problems.layer
        read: Tensor = self._network.to(feature.device)(feature).to(self._score_type)
        return read.clamp(0, 1) if self.clamp else read

    @torch.no_grad()
    def _make_network(self, layer: str) -> DecoderNetwork:
        example = self.inputs[:1].to(self.device)
        shape = self.extractor.extract(example, layer).shape[1:]
        options = {"width": self.width, "blocks": self.blocks, "seed": self.seed}
        return DecoderNetwork(shape, self.inputs.shape[1:], **options)
