"""Training of a decoder network on perturbed features of other inputs."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from readout.common.checks import check_number, check_seed, check_whole
from readout.data.images import is_image
from readout.decoders.base import Training
from readout.decoders.network import DecoderNetwork
from readout.extractors import FeatureExtractor
from readout.metrics import correlation_distance
from readout.perturbations import GaussianPerturbation, Perturbation, check_levels
from readout.perturbations.base import noise_scale
from readout.problems.identity import derive_seed

HELD_OUT_SHARE, MOST_HELD_OUT = 1 / 8, 32
"""Share of the inputs that are kept from training to validate on, and the most of them."""

VALIDATIONS, VALIDATED = 10, (0.0, 0.5, 0.8)
"""Number of validations in a training, and their levels."""

LARGEST_GRADIENT = 1.0
"""Norm to which larger gradients are cut, without which single batches of deep features throw a training off."""


class DecoderTraining(Training):
    """Training of a :class:`DecoderNetwork` to read inputs from features moved to random levels.

    The loss is the mean squared error plus the correlation distance. Images are mirrored at random. Everything random
    follows from seed and step, so that a resumed training equals one that was not interrupted. ``train_loss`` and, on
    inputs kept from training, ``validation_distance`` are logged.

    Args:
        extractor: Frozen network f.
        layer: Layer that is read.
        inputs: Inputs to train on, shape (inputs, *input_shape).
        network: Decoder to train, from features of this layer to inputs.
        perturbation: How features are moved. Default: :class:`GaussianPerturbation`.
        levels: Lowest and highest level, in [0, 1); levels are uniform in between.
        steps: Number of steps.
        batch_size: Inputs per step.
        lr: Largest learning rate of a one-cycle schedule for AdamW.
        seed: Seed of order, levels and noise.

    Raises:
        ReadoutError: if a number is out of range.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        layer: str,
        inputs: Tensor,
        network: DecoderNetwork,
        perturbation: Perturbation | None = None,
        levels: Sequence[float] = (0.0, 0.97),
        steps: int = 2500,
        batch_size: int = 8,
        lr: float = 2e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.layer = layer
        self.network = network
        self.perturbation = perturbation or GaussianPerturbation()
        self.levels = check_levels(levels)
        self.steps, self.batch_size = check_whole("steps", steps, 1), check_whole("batch_size", batch_size, 1)
        self.lr, self.seed = check_number("lr", lr, above=0), check_seed("seed", seed)
        held_out = min(MOST_HELD_OUT, int(HELD_OUT_SHARE * len(inputs)))
        self.inputs, self.unseen = inputs[: len(inputs) - held_out], inputs[len(inputs) - held_out :]
        self.strict_loading = False  # checkpoints are without the extractor

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a one-cycle schedule."""
        optimizer = AdamW(self.network.residual.parameters(), lr=self.lr)
        # one step more, because the scheduler steps once more after the last
        schedule = OneCycleLR(optimizer, self.lr, total_steps=self.steps + 1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Cut large gradients, whatever the Trainer's settings."""
        self.clip_gradients(optimizer, LARGEST_GRADIENT, "norm")

    def on_train_start(self) -> None:
        """Measure the statistics of features, unless the training is resumed."""
        self.extractor.lay_out(self.device)
        if self.global_step == 0:
            first = self.inputs[: self.network.measured]
            features = torch.cat([self._extract(part.to(self.device)) for part in torch.split(first, self.batch_size)])
            self.network.fit_statistics(features, first.to(self.device))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Take one step; what is trained on follows from the step alone.

        Args:
            batch: Ignored.
            batch_idx: Ignored.
        """
        generator = torch.Generator().manual_seed(derive_seed("decoder", self.seed, self.global_step))
        x = self._batch(generator).to(self.device)
        low, high = self.levels[0], self.levels[-1]
        # one level in each of as many equal parts of the range as there are rows
        levels = low + (high - low) * (torch.arange(len(x)) + torch.rand(len(x), generator=generator)) / len(x)
        moved = self._move(self._extract(x), levels, generator)
        read = self.network(moved).float()
        loss = F.mse_loss(read, x) + correlation_distance(read, x).mean()
        self.log("train_loss", loss)
        if len(self.unseen) and (self.global_step + 1) % max(1, self.steps // VALIDATIONS) == 0:
            self.log("validation_distance", self.validate())
        return loss

    def weights(self) -> dict[str, Tensor]:
        """See :class:`Training`: the state of the network."""
        return {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}

    @torch.no_grad()
    def validate(self) -> Tensor:
        """Return the mean d_X of unseen inputs over a few levels, with the same noise every time."""
        x, distances = self.unseen.to(self.device), []
        feature = self._extract(x)
        for level in VALIDATED:
            generator = torch.Generator().manual_seed(derive_seed("validation", self.seed))
            read = self.network(self._move(feature, torch.full((len(x),), level), generator))
            distances.append(correlation_distance(read.float(), x).mean())
        return torch.stack(distances).mean()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the extractor's weights out."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: value for key, value in state.items() if key.startswith("network.")}

    def _batch(self, generator: torch.Generator) -> Tensor:
        """Return the inputs of this step, each once per epoch, images mirrored at random."""
        size = min(self.batch_size, len(self.inputs))
        epoch, place = divmod(self.global_step, len(self.inputs) // size)
        order = torch.Generator().manual_seed(derive_seed("epoch", self.seed, epoch))
        rows = torch.randperm(len(self.inputs), generator=order)[place * size : (place + 1) * size]
        x = self.inputs[rows]
        if not is_image(x[0]):
            return x
        mirrored = torch.rand(size, 1, 1, 1, generator=generator) < 0.5
        return torch.where(mirrored, x.flip(-1), x)

    @torch.no_grad()
    def _extract(self, x: Tensor) -> Tensor:
        return self.extractor.extract(x, self.layer).float()

    @torch.no_grad()
    def _move(self, feature: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        seeds = torch.randint(2**62, (len(feature),), generator=generator).tolist()
        if not isinstance(self.perturbation, GaussianPerturbation) or self.perturbation.calibration != "expected":
            return self.perturbation(feature, levels, seeds)
        # the same rule, a batch at a time on the device: a fifth of a training step would go into it otherwise
        own = torch.Generator(feature.device).manual_seed(seeds[0])
        noise = torch.randn(feature.shape, generator=own, device=feature.device)
        return feature + noise_scale(feature, levels).view(-1, *[1] * (feature.ndim - 1)) * noise
