"""TokenSearch: a causal model's feature read out token by token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD

from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.common.padding import PADDING
from readout.extractors import LanguageModel
from readout.extractors.prefix import NOTHING, Prefix, advance, states_after
from readout.inversions.losses import MeanSquaredError
from readout.inversions.protocols import TokenByToken
from readout.inversions.resuming import State
from readout.inversions.shortlist import Shortlist
from readout.inversions.text import TextInversion
from readout.metrics import SampleMetric, correlation_distance
from readout.priors import TokenSequence
from readout.priors.tokens import FREE


@dataclass(frozen=True)
class _Beginning:
    """A beginning of a text, and the squared error of the hidden states it gives."""

    tokens: tuple[int, ...] = ()
    error: float = 0.0
    prefix: Prefix = NOTHING


class _Job(NamedTuple):
    """A beginning to go on from."""

    problem: int
    beginning: _Beginning
    known: int
    """The next token where it is known, else :data:`FREE`."""

    def alike(self) -> tuple[tuple[int, ...], int]:
        return self.beginning.tokens, self.known


class TokenSearch(TextInversion):
    """Read a causal model's feature one position after another, by trying tokens.

    The hidden state at a position depends on the tokens up to it, and on none after. So, given the tokens read
    already, each token of the vocabulary is tried at the next position, and the one whose hidden state comes nearest
    to h' is taken: under isotropic Gaussian noise the likeliest, given what was read before. Nothing is optimised and
    nothing random; a step is a position. A beam keeps several beginnings, in case the likeliest token was wrong.

    Args:
        extractor: A causal language model.
        beam: How many beginnings to keep.
        candidates: Try only so many tokens, those that come nearest in another context
            (:class:`readout.inversions.shortlist.Shortlist`); None tries all.
        metric: Default: :class:`readout.metrics.TokenErrorRate`.
        metrics: Default: :class:`readout.metrics.ExactMatch` and :class:`readout.metrics.EmbeddingCosine`.
        special_tokens: See :class:`readout.inversions.TextInversion`.

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
                f"{extractor.name} looks at later tokens too, so it can't be read token by token; use TextInversion."
            )
        super().__init__(
            extractor=extractor,
            prior=TokenSequence(),
            optimizer=lambda parameters: SGD(parameters, lr=0.0),
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

    def steps(self, max_steps: int, inputs: Iterable[Tensor]) -> int:
        """One step a token of the longest text.

        Raises:
            ReadoutError: if ``max_steps`` does not reach its end.
        """
        longest = max(x.numel() for x in inputs)
        if longest > max_steps:
            raise ReadoutError(
                f"The longest text has {longest} tokens and each takes a step, but trainer.max_steps is {max_steps}; "
                f"set it to {longest} or more."
            )
        return longest

    def on_train_start(self) -> None:
        """See :class:`FeatureInversion`; every text starts out empty."""
        super().on_train_start()
        self._beginnings = [[_Beginning()] for _ in range(len(self.problems))]
        if self.resumed is not None:
            self._beginnings = [[self._read_again(*one) for one in kept] for kept in self.resumed["beginnings"]]
        layer = self.problems.layer
        if self.candidates is not None and layer not in self._shortlists:
            with torch.no_grad():
                self._shortlists[layer] = Shortlist(self.extractor, layer, self.candidates)

    def progress(self) -> State:
        """See :class:`FeatureInversion`; what the network remembers of a beginning follows from its tokens."""
        kept = [[(list(one.tokens), one.error) for one in beginnings] for beginnings in self._beginnings]
        return {**super().progress(), "beginnings": kept}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Read one more position of every text."""
        position = self.trainer.global_step
        with torch.no_grad():
            self._record(position)
            self._read(position)
        if self._all_done():
            self.trainer.should_stop = True
        return self.prior.step * 1

    def _all_done(self) -> bool:
        return not (self.prior.tokens == FREE).any()

    def _read(self, position: int) -> None:
        known = self.prior.tokens[:, position].tolist()
        jobs = [
            _Job(problem, beginning, known[problem])
            for problem, beginnings in enumerate(self._beginnings)
            for beginning in beginnings
            if known[problem] != PADDING
        ]
        continued: dict[int, list[_Beginning]] = {job.problem: [] for job in jobs}
        # texts that begin alike share what is tried next
        for _, group in groupby(sorted(jobs, key=_Job.alike), _Job.alike):
            self._try(list(group), position, continued)
        for problem, beginnings in continued.items():
            best = sorted(beginnings, key=lambda beginning: beginning.error)[: self.beam]
            self._beginnings[problem] = [self._advanced(beginning) for beginning in best]
            tokens = torch.tensor(best[0].tokens, device=self.device)
            self.prior.tokens[problem, : len(tokens)] = tokens

    def _try(self, jobs: list[_Job], position: int, continued: dict[int, list[_Beginning]]) -> None:
        """Try tokens after a beginning that several texts share, and keep the best for each."""
        prefix, known = jobs[0].beginning.prefix, jobs[0].known
        shared = self._tried(prefix, known) if self.candidates is None or known != FREE else None
        for job in jobs:
            target = self._target.perturbed[job.problem, position]
            ids, states = shared or self._shortlists[self.problems.layer].tried(prefix, target)
            errors = (states.to(target) - target).square().sum(1)
            best = errors.topk(min(self.beam, len(errors)), largest=False)
            continued[job.problem] += [
                replace(job.beginning, tokens=(*job.beginning.tokens, token), error=job.beginning.error + error)
                for token, error in zip(ids[best.indices].tolist(), best.values.tolist(), strict=True)
            ]

    def _tried(self, prefix: Prefix, known: int) -> tuple[Tensor, Tensor]:
        """The known token, or the whole vocabulary, and each hidden state."""
        count = self.extractor.embedding.num_embeddings
        ids = torch.arange(count) if known == FREE else torch.tensor([known])
        ids = ids.to(self.device)
        return ids, states_after(self.extractor, prefix, ids, self.problems.layer)

    @torch.no_grad()
    def _read_again(self, tokens: Sequence[int], error: float) -> _Beginning:
        beginning = _Beginning(error=error)
        for token in tokens:
            beginning = self._advanced(replace(beginning, tokens=(*beginning.tokens, token)))
        return beginning

    def _advanced(self, beginning: _Beginning) -> _Beginning:
        prefix = advance(self.extractor, beginning.prefix, beginning.tokens[-1], self.problems.layer)
        return replace(beginning, prefix=prefix)

    def _record(self, position: int) -> None:
        """What is known of the positions read so far."""
        if not position:
            return
        target, mask = self._target, self.problems.mask
        assert mask is not None
        read = mask.to(self.device) & (torch.arange(mask.shape[1], device=self.device) < position)
        feature = self._extract(self.prior())
        self.trajectory.add(
            position,
            loss=self.loss(feature, target.perturbed, read),
            distance=self._measured(self.metric, self.prior.tokens),
            recovered_feature_distance=correlation_distance(feature, target.clean, read),
        )
