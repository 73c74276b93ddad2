"""A linear readout: ridge regression from features to inputs, fitted at each layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from readout.data import InputData
from readout.decoders import Ridge, Training, fit_ridge
from readout.extractors import FeatureExtractor
from readout.metrics import CorrelationDistance, SampleMetric
from readout.readouts.one_pass import check_memory
from readout.readouts.trained import TrainedReadout

BATCH = 64
"""Inputs per training step."""


class LinearDecoder(TrainedReadout):
    """Ridge regression from a feature to the input, with the penalty of the noise in that feature.

    It is fitted to clean features of the training inputs. The noise variance, and with it the penalty, is estimated
    from each moved feature alone; see :class:`readout.decoders.Ridge`. For Gaussian inputs and a linear network this is
    the best readout there is.

    Args:
        extractor: Frozen network f.
        training_data: Inputs to train on.
        clamp: Clamp what is read to [0, 1], the range of images.
        metric: Distance d_X. Default: :class:`readout.metrics.CorrelationDistance`.
        metrics: Further metrics to report.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        training_data: InputData,
        clamp: bool = True,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] = (),
    ) -> None:
        super().__init__(extractor, training_data, metric or CorrelationDistance(), metrics)
        self.clamp = clamp
        self._ridge: tuple[str, Ridge] | None = None

    def make_training(self, layer: str) -> Training:
        """See :class:`TrainedReadout`."""
        return _RidgeTraining(self.extractor, layer, self.inputs)

    def use(self, layer: str, weights: Mapping[str, Tensor]) -> None:
        """See :class:`TrainedReadout`."""
        scalars = {"count": int(weights["count"]), "least_noise": float(weights["least_noise"])}
        self._ridge = layer, Ridge(**{**weights, **scalars})  # type: ignore[arg-type]

    def read(self, feature: Tensor) -> Tensor:
        """Return the inputs, shape (problems, *input_shape)."""
        assert self._ridge is not None
        layer, ridge = self._ridge
        assert layer == self.problems.layer
        self._ridge = layer, ridge.to(feature.device)
        read = self._ridge[1].read(feature.flatten(1).float())
        read = read.view(-1, *self.problems.inputs.shape[1:])
        return read.clamp(0, 1) if self.clamp else read


class _RidgeTraining(Training):
    """One pass over the training inputs, and a fit to their features."""

    resumable = False  # reading so many features back would take as long as the pass

    def __init__(self, extractor: FeatureExtractor, layer: str, inputs: Tensor) -> None:
        super().__init__()
        self.extractor = extractor
        self.layer = layer
        self.steps = math.ceil(len(inputs) / BATCH)
        self.automatic_optimization = False
        self._inputs = inputs
        self._features: list[Tensor] = []

    def configure_optimizers(self) -> None:
        """Return None: nothing is optimised."""

    def on_train_start(self) -> None:
        """Start from the first input."""
        self._features = []

    @torch.no_grad()
    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Extract the features of the next inputs.

        Raises:
            ReadoutError: if those of all inputs don't fit the memory.
        """
        done = len(self._features)
        images = self._inputs[done * BATCH : (done + 1) * BATCH].to(self.device)
        feature = self.extractor.extract(images, self.layer).flatten(1).float().cpu()
        if not done:  # a quarter, because the fit needs as much again
            check_memory(feature[0], len(self._inputs), "training inputs", self.layer, "a quarter")
        self._features.append(feature)
        if done + 1 >= min(self.steps, self.trainer.max_steps):
            self.trainer.should_stop = True

    def weights(self) -> dict[str, Tensor]:
        """Fit the ridge to the features so far."""
        features = torch.cat(self._features)
        ridge = fit_ridge(features, self._inputs[: len(features)].flatten(1))
        kept = {field.name: getattr(ridge, field.name) for field in fields(ridge)}
        return {name: torch.as_tensor(value).contiguous() for name, value in kept.items()}
