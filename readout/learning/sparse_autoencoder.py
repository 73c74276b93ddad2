"""Sparse autoencoders: an encoder and a dictionary, learnt by gradient."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.functional import normalize
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from readout.codes import Coder, Dictionary, Encoder, LearnedEncoder
from readout.common.checks import check_number, check_whole
from readout.common.errors import ReadoutError
from readout.learning.activations import Rows
from readout.learning.learner import DictionaryLearner
from readout.perturbations import check_levels
from readout.perturbations.base import noise_scale

DECAY = 1 / 5
"""Last share of the steps, over which the learning rate falls to 0 and nothing is resampled."""

JUDGED = 4096
"""Rows among which those explained worst replace dead latents."""


class SparseAutoencoder(DictionaryLearner):
    """Minimises ½‖D s − h‖² + λ · penalty over an encoder, s = encoder(h), and a dictionary of unit atoms.

    With ``prefixes`` it is a Matryoshka autoencoder (Bussmann et al., 2025): the error is averaged over reconstructions
    from the first latents alone. ``train_loss``, ``explained_variance`` and ``active`` are logged.

    Args:
        encoder: Kind of the encoder.
        latents: N.
        dictionary: Atoms that stay as they are, in place of ``latents``; only the encoder learns.
        penalty_weight: λ, in units of standardised features.
        levels: Lowest and highest level of Gaussian noise that rows are moved by, uniform in between, so that codes of
            moved features are learnt, too.
        prefixes: Numbers of latents, ascending, below N.
        batch_size: Rows per step.
        lr: Learning rate of Adam, constant and then falling to 0.
        resample_every: Steps after which latents that were not active in any of them get new weights, along rows that
            are explained badly; None never does.
        seed: Seed of first atoms, order of rows and resampling.

    Raises:
        ReadoutError: if a number is out of range, or neither or both of ``latents`` and ``dictionary`` are given.
    """

    atoms: Tensor
    """Shape (N, M)."""
    fired: Tensor
    """Whether each latent was active since the last resampling, shape (N,)."""

    def __init__(
        self,
        encoder: Encoder,
        latents: int | None = None,
        dictionary: Dictionary | None = None,
        penalty_weight: float = 0.1,
        levels: Sequence[float] = (0.0, 0.0),
        prefixes: Sequence[int] = (),
        batch_size: int = 512,
        lr: float = 1e-3,
        resample_every: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if (latents is None) == (dictionary is None):
            raise ReadoutError("Either model.latents, the number of latents, or model.dictionary must be set.")
        self.encoder, self.dictionary = encoder, dictionary
        self.latents = check_whole("model.latents", latents, 1) if dictionary is None else len(dictionary)
        self.penalty_weight = check_number("model.penalty_weight", penalty_weight, 0)
        self.levels = check_levels(levels)
        self.prefixes = [check_whole("model.prefixes", each, 1, self.latents - 1) for each in prefixes]
        self.batch_size = check_whole("model.batch_size", batch_size, 1)
        self.lr = check_number("model.lr", lr, above=0)
        self.resample_every = None if resample_every is None else check_whole("model.resample_every", resample_every, 1)
        self._epoch = -1

    def begin(self, rows: Rows, steps: int) -> None:
        """See :class:`DictionaryLearner`.

        Raises:
            ReadoutError: if the dictionary that was given has other dimensions than the rows.
        """
        self.rows, self.steps = rows, steps
        # rows as first atoms are too much alike: their sums overshoot, which takes thousands of steps to correct
        shape = self.latents, rows.training.shape[1]
        random = normalize(torch.randn(shape, generator=self._generator("atoms")), dim=1)
        first = random if self.dictionary is None else self.dictionary.atoms
        if first.shape[1] != rows.training.shape[1]:
            raise ReadoutError(
                f"model.dictionary has atoms of {first.shape[1]} dimensions, but features have "
                f"{rows.training.shape[1]}; give the dictionary of this layer."
            )
        self.atoms = torch.nn.Parameter(first.clone(), requires_grad=self.dictionary is None)
        self.register_buffer("fired", torch.zeros(len(first), dtype=torch.bool))
        self.encoder.build(first)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam, whose rate falls to 0 at the end."""
        learnt = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = Adam(learnt, lr=self.lr)
        schedule = LambdaLR(optimizer, lambda step: min(1.0, max(0.0, 1 - step / self.steps) / DECAY))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the objective on the rows that follow from seed and step.

        Args:
            batch: Ignored.
            batch_idx: Ignored.
        """
        feature = self._batch(self.global_step).to(self.device)
        codes = self.encoder(feature, self.atoms)
        errors = torch.stack([self._error(codes, feature, first) for first in (*self.prefixes, self.latents)])
        penalty = self.penalty_weight * self.encoder.penalty(feature, codes)
        loss = (errors.mean(0) + penalty + self.encoder.auxiliary(feature, self.atoms)).mean()
        active = codes.detach() > 0
        self.fired |= active.any(0)
        self.log("train_loss", loss)
        self.log("explained_variance", 1 - 2 * errors[-1].detach().mean() / feature.square().sum(1).mean())
        self.log("active", active.sum(1).float().mean())
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Take what would change the norms of atoms out of their gradient."""
        if (gradient := self.atoms.grad) is not None:
            gradient -= (gradient * self.atoms.detach()).sum(1, keepdim=True) * self.atoms.detach()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, bring atoms back to unit norm, and resample dead latents if it is time."""
        super().optimizer_step(*args, **kwargs)
        with torch.no_grad():  # here and not after the batch, where a checkpoint may have been written before
            if self.dictionary is None:
                self.atoms /= self.atoms.norm(dim=1, keepdim=True)
            step, late = self.global_step + 1, (1 - DECAY) * self.steps
            if self.resample_every and step % self.resample_every == 0 and step < late:
                self._resample((~self.fired).nonzero().flatten())
                self.fired.zero_()

    def describe(self) -> dict[str, Any]:
        """See :class:`DictionaryLearner`; a dictionary that was given goes by its fingerprint."""
        described = super().describe()
        return {**described, "dictionary": None if self.dictionary is None else self.dictionary.fingerprint()}

    def learnt(self) -> Dictionary:
        """See :class:`DictionaryLearner`."""
        return Dictionary(self.atoms.detach().cpu(), self.rows.mean, self.rows.scale, self.encoder.cpu())

    def coder(self) -> Coder:
        """See :class:`DictionaryLearner`."""
        return LearnedEncoder()

    def _batch(self, step: int) -> Tensor:
        """Return rows, each once per epoch, shape (batch, M)."""
        count = len(self.rows.training)
        size = min(self.batch_size, count)
        epoch, place = divmod(step, count // size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, torch.randperm(count, generator=self._generator("epoch", epoch))
        rows = self.rows.standardised(self.rows.training, self._order[place * size : (place + 1) * size])
        low, high = min(self.levels), max(self.levels)
        if not high:
            return rows
        generator = self._generator("noise", step)
        levels = low + (high - low) * torch.rand(len(rows), generator=generator)
        return rows + noise_scale(rows, levels).unsqueeze(1) * torch.randn(rows.shape, generator=generator)

    def _error(self, codes: Tensor, feature: Tensor, first: int) -> Tensor:
        """Return half the squared error of the first latents alone, shape (rows,)."""
        return (codes[:, :first] @ self.atoms[:first] - feature).square().sum(1) / 2

    def _resample(self, dead: Tensor) -> None:
        """Give dead latents new atoms and weights, along rows that are drawn by squared error."""
        generator = self._generator("resampled", self.global_step)
        places = torch.randperm(len(self.rows.training), generator=generator)[:JUDGED]
        feature = self.rows.standardised(self.rows.training, places).to(self.device)
        left = feature - self.encoder(feature, self.atoms) @ self.atoms
        errors = left.square().sum(1).cpu()
        dead = dead[: int((errors > 0).sum())]
        if not len(dead):
            return
        drawn = torch.multinomial(errors.square(), len(dead), generator=generator)
        if self.dictionary is None:
            self.atoms[dead] = normalize(left[drawn.to(left.device)], dim=1)
        self.encoder.restart(dead, self.atoms)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        for parameter, state in optimizer.state.items():
            if parameter.shape[:1] == self.atoms.shape[:1]:
                for name in ("exp_avg", "exp_avg_sq"):
                    state[name][dead] = 0
