"""Recovery of a text from a causal model's feature, token by token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.common.padding import PADDING
from readout.extractors import LanguageModel
from readout.extractors.prefix import NOTHING, Prefix, advance, states_after
from readout.metrics import SampleMetric, correlation_distance
from readout.priors import TokenSequence
from readout.priors.tokens import FREE
from readout.readouts.inversion.protocols import TokenByToken
from readout.readouts.inversion.resuming import State
from readout.readouts.inversion.text import TextInversion
from readout.readouts.inversion.without_optimizer import WithoutOptimizer
from readout.readouts.losses import MeanSquaredError
from readout.readouts.shortlist import Shortlist

UNUSED_OPTIMIZER = {
    **{"class": "torch.optim.sgd.SGD", "lr": 0.0, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
    **{"maximize": False, "foreach": None, "differentiable": False, "fused": None},
}
"""Part of every key of a search, from a version in which an optimiser counted its steps."""


@dataclass(frozen=True)
class _Hypothesis:
    """First tokens of a text, and the squared error of their hidden states."""

    tokens: tuple[int, ...] = ()
    error: float = 0.0
    prefix: Prefix = NOTHING


class _Job(NamedTuple):
    """A hypothesis to extend by one token."""

    problem: int
    hypothesis: _Hypothesis
    known: int
    """The next token if it is known, else :data:`FREE`."""

    def group_key(self) -> tuple[tuple[int, ...], int]:
        return self.hypothesis.tokens, self.known


class TokenSearch(WithoutOptimizer, TextInversion):
    """Beam search for the text behind a causal model's feature, one position per step.

    A hidden state depends on the tokens up to its position only. Given the tokens found so far, every token of the
    vocabulary is evaluated at the next position, and the one whose hidden state is nearest to h' is chosen: under
    isotropic Gaussian noise, the likeliest. Nothing is optimised or random. A beam keeps several hypotheses, in case
    the likeliest token was wrong.

    Args:
        extractor: Causal language model.
        beam: Number of hypotheses to keep.
        candidates: Number of tokens to evaluate, chosen by :class:`readout.readouts.shortlist.Shortlist`; None for
            the whole vocabulary.
        metric: Default: :class:`readout.metrics.TokenErrorRate`.
        metrics: Default: :class:`readout.metrics.ExactMatch` and :class:`readout.metrics.EmbeddingCosine`.
        special_tokens: See :class:`readout.readouts.TextInversion`.

    Raises:
        ReadoutError: if the model is not causal, or a number is below 1.
    """

    prior: TokenSequence

    def __init__(
        self,
        extractor: LanguageModel,
        beam: int = 1,
        candidates: int | None = None,
        metric: SampleMetric | None = None,
        metrics: Sequence[SampleMetric] | None = None,
        special_tokens: Literal["known", "free"] = "known",
    ) -> None:
        check_whole("beam", beam, 1)
        if candidates is not None:
            check_whole("candidates", candidates, beam, hint=": as many as the beam, or null for all")
        if not extractor.causal:
            raise ReadoutError(
                f"{extractor.name} is not causal, so its texts can't be found token by token; use TextInversion."
            )
        super().__init__(
            extractor=extractor,
            prior=TokenSequence(),
            lr_schedule=None,
            loss=MeanSquaredError(),
            metric=metric,
            metrics=metrics,
            special_tokens=special_tokens,
            protocol=TokenByToken(),
            record_every=1,
            max_restarts=0,
        )
        self.beam = beam
        self.candidates = candidates
        self._shortlists: dict[str, Shortlist] = {}

    def describe(self, steps: int = 1) -> dict[str, Any]:
        """See :class:`Readout`."""
        return {**self._described(), "optimizer": UNUSED_OPTIMIZER}

    def steps(self, trainer: Trainer, inputs: Iterable[Tensor]) -> int:
        """Return one step per token of the longest text.

        Raises:
            ReadoutError: if ``max_steps`` is smaller.
        """
        longest, max_steps = max(x.numel() for x in inputs), super().steps(trainer, inputs)
        if longest > max_steps:
            raise ReadoutError(
                f"The longest text has {longest} tokens at one step each, but trainer.max_steps is {max_steps}; "
                f"set it to {longest} or more."
            )
        return longest

    def on_train_start(self) -> None:
        """See :class:`FeatureInversion`; every text starts empty."""
        super().on_train_start()
        self._hypotheses = [[_Hypothesis()] for _ in range(len(self.problems))]
        if self.resumed is not None:
            self._hypotheses = [[self._replay(*one) for one in kept] for kept in self.resumed["beginnings"]]
        layer = self.problems.layer
        if self.candidates is not None and layer not in self._shortlists:
            with torch.no_grad():
                self._shortlists[layer] = Shortlist(self.extractor, layer, self.candidates)

    def progress(self) -> State:
        """See :class:`FeatureInversion`; keys and values of a hypothesis are recomputed from its tokens."""
        kept = [[(list(one.tokens), one.error) for one in hypotheses] for hypotheses in self._hypotheses]
        return {**super().progress(), "beginnings": kept}

    def take_step(self, step: int) -> None:
        """Find one more token of every text."""
        self._record(step)
        self._read(step)

    def _all_done(self) -> bool:
        return not (self.prior.tokens == FREE).any()

    def _read(self, position: int) -> None:
        known = self.prior.tokens[:, position].tolist()
        jobs = [
            _Job(problem, hypothesis, known[problem])
            for problem, hypotheses in enumerate(self._hypotheses)
            for hypothesis in hypotheses
            if known[problem] != PADDING
        ]
        continued: dict[int, list[_Hypothesis]] = {job.problem: [] for job in jobs}
        # hypotheses with equal tokens share the evaluation of the next position, across texts too
        for _, group in groupby(sorted(jobs, key=_Job.group_key), _Job.group_key):
            self._extend(list(group), position, continued)
        for problem, hypotheses in continued.items():
            best = sorted(hypotheses, key=lambda hypothesis: hypothesis.error)[: self.beam]
            self._hypotheses[problem] = [self._advanced(hypothesis) for hypothesis in best]
            tokens = torch.tensor(best[0].tokens, device=self.device)
            self.prior.tokens[problem, : len(tokens)] = tokens

    def _extend(self, jobs: list[_Job], position: int, continued: dict[int, list[_Hypothesis]]) -> None:
        """Extend a hypothesis that several texts share by one token, and keep the best extensions for each text."""
        prefix, known = jobs[0].hypothesis.prefix, jobs[0].known
        shared = self._candidates(prefix, known) if self.candidates is None or known != FREE else None
        for job in jobs:
            target = self._target.perturbed[job.problem, position]
            ids, states = shared or self._shortlists[self.problems.layer].tried(prefix, target)
            errors = (states.to(target) - target).square().sum(1)
            best = errors.topk(min(self.beam, len(errors)), largest=False)
            continued[job.problem] += [
                replace(job.hypothesis, tokens=(*job.hypothesis.tokens, token), error=job.hypothesis.error + error)
                for token, error in zip(ids[best.indices].tolist(), best.values.tolist(), strict=True)
            ]

    def _candidates(self, prefix: Prefix, known: int) -> tuple[Tensor, Tensor]:
        """Return the known token, or the whole vocabulary, with hidden states."""
        count = self.extractor.embedding.num_embeddings
        ids = torch.arange(count) if known == FREE else torch.tensor([known])
        ids = ids.to(self.device)
        return ids, states_after(self.extractor, prefix, ids, self.problems.layer)

    @torch.no_grad()
    def _replay(self, tokens: Sequence[int], error: float) -> _Hypothesis:
        hypothesis = _Hypothesis(error=error)
        for token in tokens:
            hypothesis = self._advanced(replace(hypothesis, tokens=(*hypothesis.tokens, token)))
        return hypothesis

    def _advanced(self, hypothesis: _Hypothesis) -> _Hypothesis:
        prefix = advance(self.extractor, hypothesis.prefix, hypothesis.tokens[-1], self.problems.layer)
        return replace(hypothesis, prefix=prefix)

    def _record(self, position: int) -> None:
        """Record loss and distances over the positions found so far."""
        if not position:
            return
        target, mask = self._target, self.problems.mask
        assert mask is not None
        read = mask.to(self.device) & (torch.arange(mask.shape[1], device=self.device) < position)
        feature = self._extract(self.prior())
        self.trajectory.add(
            position,
            loss=self.loss(feature, target.perturbed, read),
            distance=self._measure(self.metric, self.prior.tokens),
            recovered_feature_distance=correlation_distance(feature, target.clean, read),
        )
