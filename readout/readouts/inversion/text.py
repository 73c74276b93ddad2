"""Inversion of text features with the paper's defaults."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.common.padding import PADDING, unpad
from readout.extractors import LanguageModel
from readout.metrics import EmbeddingCosine, ExactMatch, SampleMetric, TokenErrorRate
from readout.priors import TokenLogits, TokenPrior
from readout.priors.tokens import FREE
from readout.readouts.batch import ProblemBatch
from readout.readouts.inversion.base import FeatureInversion, OptimizerFactory
from readout.readouts.inversion.schedules import ScheduleFactory
from readout.readouts.losses import FeatureLoss, MeanSquaredErrorAndCosine


def paper_text_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return AdamW with a learning rate of 0.1, as in the paper."""
    return AdamW(parameters, lr=0.1)


class TextInversion(FeatureInversion):
    """Inversion by token logits, squared error and cosine distance, scored by the token error rate.

    The optimised input is a mixture of tokens, whose loss the trajectory records. Scores, stored texts and the loss
    behind the verdict are those of the likeliest token at each position.

    Args:
        extractor: Frozen language model f.
        prior: Default: :class:`readout.priors.TokenLogits`.
        optimizer: Default: :func:`paper_text_optimizer`.
        lr_schedule: Default: a constant rate.
        loss: Default: :class:`readout.readouts.MeanSquaredErrorAndCosine`.
        metric: Default: :class:`readout.metrics.TokenErrorRate`.
        metrics: Default: :class:`readout.metrics.ExactMatch` and :class:`readout.metrics.EmbeddingCosine`.
        special_tokens: ``"known"`` gives the special tokens around a text to the readout and does not score them;
            ``"free"`` treats them like any other token.
        kwargs: See :class:`FeatureInversion`.

    Raises:
        ReadoutError: if ``special_tokens`` is neither.
    """

    extractor: LanguageModel
    prior: TokenPrior

    def __init__(
        self,
        extractor: LanguageModel,
        prior: TokenPrior | None = None,
        optimizer: OptimizerFactory | None = None,
        lr_schedule: ScheduleFactory | None = None,
        loss: FeatureLoss | None = None,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] | None = None,
        special_tokens: Literal["known", "free"] = "known",
        **kwargs: Any,
    ) -> None:
        check_choice("special_tokens", special_tokens, ("known", "free"))
        super().__init__(
            extractor=extractor,
            prior=prior or TokenLogits(),
            optimizer=optimizer or paper_text_optimizer,
            lr_schedule=lr_schedule,
            loss=loss or MeanSquaredErrorAndCosine(),
            metric=metric or TokenErrorRate(),
            metrics=[ExactMatch(), EmbeddingCosine()] if metrics is None else metrics,
            **kwargs,
        )
        self.special_tokens = special_tokens

    def embed(self, inputs: Tensor) -> Tensor:
        """Return the embeddings of token ids, shape (problems, positions, width); NaN for unknown tokens.

        Raises:
            ReadoutError: if the inputs are not token ids.
        """
        if inputs.is_floating_point():
            raise ReadoutError(f"{type(self).__name__} inverts texts; choose text data, such as SampleText.")
        embedded = self.extractor.embed(inputs)
        return embedded.masked_fill((inputs == FREE).to(embedded.device).unsqueeze(-1), torch.nan)

    def signal(self, inputs: Tensor) -> Tensor:
        """Return the token ids, with :data:`PADDING` in place of known special tokens."""
        return inputs.masked_fill(self._is_known(inputs), PADDING)

    def describe_recovered(self, place: int, recovered: Tensor) -> dict[str, Any]:
        """Return both texts, decoded and as tokens, and the positions of wrong tokens; None if the text is unknown."""
        true = unpad(self.problems.inputs[place])
        known = not (true == FREE).any()
        wrong = (self.signal(true) != recovered) & (self.signal(true) != PADDING)
        return {
            "true_text": self.extractor.decode(true) if known else None,
            "recovered_text": self.extractor.decode(recovered),
            "true_tokens": self.extractor.tokens(true) if known else None,
            "recovered_tokens": self.extractor.tokens(recovered),
            "wrong_tokens": wrong.nonzero().flatten().tolist() if known else None,
        }

    def _initialise(self, problems: ProblemBatch) -> None:
        inputs = problems.inputs
        known = self._is_known(inputs) | (inputs == PADDING)
        self.prior.initialise(problems.prior_seeds, inputs.shape[1:], inputs.where(known, FREE))

    def _is_known(self, inputs: Tensor) -> Tensor:
        known = self.extractor.is_special(inputs)
        return known if self.special_tokens == "known" else known & False

    def _feature(self, inputs: Tensor) -> Tensor:
        mask = self.problems.mask
        assert mask is not None
        return self.extractor.extract(inputs, self.problems.layer, mask.to(inputs.device))
