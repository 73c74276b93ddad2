"""Trials that show whether a part of a readout couples the problems of a batch, before any is inverted."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import SGD

from readout.common.errors import ReadoutError
from readout.metrics import SampleMetric
from readout.perturbations import Origin
from readout.priors import Pixels, Prior, TokenLogits
from readout.readouts import (
    FeatureInversion,
    MeanSquaredError,
    OnePassReadout,
    PaperProtocol,
    ProblemBatch,
    Readout,
    TextInversion,
)
from readout.readouts.inversion.resuming import random_states, set_random_states
from readout.readouts.target import Target, perturb_rows, unusable
from readout.sweep.runtime import Runtime

STEPS = 2
"""Steps of a trial; running statistics and shared parameters show at the second."""

FALL = 0.05
"""Share of the loss that the first step should remove."""

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-2}
"""Relative difference allowed: far above rounding, far below the effect of mixed rows."""

COARSE = 0.25
"""Relative difference allowed in float16 and bfloat16."""

ROUNDINGS = 32
"""Absolute difference allowed, in units of rounding, for values that are zero but for rounding."""

SIDES = (16, 32, 64)
"""Image sides in pixels that a prior is tried with, the quickest first."""

TOKENS = 4
"""Length of the texts that a prior is tried with."""

GRADIENT_HOOKS = ("on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad")
"""Hooks in which a callback can change gradients."""

Rows = list[int]
Part = Callable[[Rows], list[Tensor]]
"""Output of one part of a readout for the first, the second or both of two problems; one row per problem."""


def check_independent(readout: Readout, example: ProblemBatch, runtime: Runtime) -> None:
    """Refuse a readout that couples the problems of a batch, or has a part that does.

    Each part runs on two problems, alone and together. Networks are checked by
    :func:`readout.extractors.validate.validate`, optimisers by :func:`readout.readouts.inversion.optimizers.couples`.

    Args:
        readout: The readout; a probe must have run it once.
        example: A problem like those to come.
        runtime: Makes Trainers, and holds the callbacks.

    Raises:
        ReadoutError: if a part couples problems.
    """
    pair, target, states = _pair(example), readout._target, random_states()
    trials: list[tuple[object, Callable[[], bool]]] = [
        (pair.perturbation, partial(_precisely, partial(_perturbed, readout, pair, target)))
    ]
    if isinstance(readout, FeatureInversion):
        trials += _inversion_trials(readout, pair, runtime)
    elif isinstance(readout, OnePassReadout):
        trials.append((readout, partial(_couples, partial(_read, readout, target))))
    for part, couples in trials:
        try:
            coupled = couples()
        except ReadoutError:  # refused here; problems that it refuses in a sweep are marked there
            coupled = False
        finally:
            set_random_states(states)
        if coupled:
            raise ReadoutError(
                f"{type(part).__name__} lets the problems of a batch change each other, so that answers would depend "
                "on the batch; take out what joins them (statistics over the batch, shared parameters, a norm of all "
                "gradients), or set sweep.batch_size to 1."
            )


def _inversion_trials(
    inversion: FeatureInversion, pair: ProblemBatch, runtime: Runtime
) -> list[tuple[object, Callable[[], bool]]]:
    """Return the parts of an inversion with their trials."""
    target = inversion._target
    metrics = (each for each in (inversion.metric, *inversion.metrics) if isinstance(each, SampleMetric))
    callbacks = (each for each in runtime.callbacks if _sees_gradients(each))
    loss = getattr(inversion.loss, "loss", inversion.loss)  # joined layers wrap the loss of each
    trials: list[tuple[object, Callable[[], bool]]] = [
        (loss, partial(_precisely, partial(_losses, target))),
        (inversion.protocol, partial(_precisely, partial(_reached, inversion))),
        *((each, partial(_precisely, partial(_measured, each, inversion, pair))) for each in metrics),
        *((each, partial(_prior_couples, inversion, pair)) for each in [inversion.prior] if _optimises(each)),
        *((each, partial(_fits_couple, inversion, pair, runtime, [each])) for each in callbacks),
    ]
    if not type(inversion).__module__.startswith("readout."):
        trials.append((inversion, partial(_fits_couple, inversion, pair, runtime, [])))
    return trials


def _optimises(prior: Prior) -> bool:
    """Return whether anything of a prior is optimised; a search only looks things up in it."""
    return any(parameter.requires_grad for parameter in prior.parameters())


def _couples(part: Part) -> bool:
    """Return whether two problems differ together and alone, with the same random numbers."""
    states, found = random_states(), []
    for rows in ([0, 1], [0], [1]):
        set_random_states(states)
        found.append(part(rows))
    together, *alone = found
    return any(_differ(both, torch.cat(apart)) for both, *apart in zip(together, *alone, strict=True))


def _differ(together: Tensor, alone: Tensor) -> bool:
    # values that are not finite either way are no sign of coupling
    together, alone = (each.detach().flatten(1).nan_to_num(0.0, 0.0, 0.0) for each in (together, alone))
    allowed = TOLERANCE.get(alone.dtype, COARSE) * alone.norm(dim=1) + ROUNDINGS * torch.finfo(alone.dtype).eps
    return bool(((together - alone).norm(dim=1) > allowed).any())


def _precisely(part: Callable[[torch.dtype, Rows], list[Tensor]]) -> bool:
    """Return whether a part couples, tried in float64 or, where it can't run so, in float32."""
    with suppress(RuntimeError, TypeError, ValueError):
        return _couples(partial(part, torch.float64))
    return _couples(partial(part, torch.float32))


def _features(target: Target, dtype: torch.dtype, rows: Rows) -> tuple[Tensor, list[Tensor]]:
    """Return features of both problems, and a list with the mask of texts."""
    first = target.clean[:1].cpu().to(dtype)
    if unusable(first):
        first = torch.randn(first.shape, generator=torch.Generator().manual_seed(0)).to(first)
    masks = [] if target.mask is None else [target.mask[:1].cpu().expand(2, -1)[rows]]
    return torch.cat([first, first.flip(-1) / 2 + 0.1])[rows], masks


def _perturbed(readout: Readout, pair: ProblemBatch, target: Target, dtype: torch.dtype, rows: Rows) -> list[Tensor]:
    features, mask = _features(target, dtype, rows)
    chosen = _rows(pair, rows)
    origin = None
    if chosen.perturbation.needs_origin:
        inputs = readout.embed(chosen.inputs.to(readout.device)).to(readout._type)
        layer = readout.problems.layer  # of the target, whose feature is perturbed
        own = features.to(inputs), chosen.names, readout.departure, chosen.others
        origin = Origin(readout.extractor, layer, inputs, *own)
    how = chosen.levels, chosen.noise_seeds, mask[0] if mask else None
    return [perturb_rows(chosen.perturbation, features, *how, origin) - features]


def _losses(target: Target, dtype: torch.dtype, rows: Rows) -> list[Tensor]:
    """Return losses, gradients and scales."""
    assert target.loss is not None
    wanted, mask = _features(target, dtype, rows)
    found = (wanted.roll(1, -1) / 2 + wanted / 3).requires_grad_()
    losses = target.loss(found, wanted, *mask)
    (gradient,) = torch.autograd.grad(losses.sum(), found)
    return [losses.unsqueeze(1), gradient, target.loss.scale(wanted, *mask).unsqueeze(1)]


@torch.no_grad()
def _read(readout: OnePassReadout, target: Target, rows: Rows) -> list[Tensor]:
    features, _ = _features(target, torch.float32, rows)
    return [readout.read(features.to(readout.device, readout._type)).float().reshape(len(rows), -1)]


def _reached(inversion: FeatureInversion, dtype: torch.dtype, rows: Rows) -> list[Tensor]:
    losses, floors = torch.tensor([[1.0, 3.0], [0.9, 3.5]], dtype=dtype)[:, rows]
    reached = copy.deepcopy(inversion.protocol).reached(losses, floors)
    return [] if reached is None else [reached.to(dtype).unsqueeze(1)]


def _measured(
    metric: SampleMetric, inversion: FeatureInversion, pair: ProblemBatch, dtype: torch.dtype, rows: Rows
) -> list[Tensor]:
    inputs = pair.inputs.to(dtype) if pair.inputs.is_floating_point() else pair.inputs
    inputs = inversion.signal(inputs[rows])
    return [metric.per_sample(inputs.roll(1, -1), inputs).to(dtype).unsqueeze(1)]


def _prior_couples(inversion: FeatureInversion, pair: ProblemBatch) -> bool:
    """Return whether a prior couples, tried on small inputs and in float64 where it can run so."""
    shape = pair.inputs.shape[1:]
    smaller = [(*shape[:1], side, side) for side in SIDES if len(shape) == 3 and side < min(shape[1:])]
    whole = tuple(shape) if pair.inputs.is_floating_point() else (min(TOKENS, *shape),)
    for size in (*smaller, whole):
        with suppress(ReadoutError, RuntimeError, TypeError, ValueError):
            return _couples(partial(_optimised, inversion, pair, size, torch.float64, []))
    return _couples(partial(_optimised, inversion, pair, whole, torch.float32, []))


def _optimised(
    inversion: FeatureInversion,
    pair: ProblemBatch,
    shape: Sequence[int],
    dtype: torch.dtype,
    rates: list[float],
    rows: Rows,
) -> list[Tensor]:
    """Return the initial inputs, their move towards arbitrary targets, and what is scored of them."""
    prior, network = inversion.prior, inversion.extractor

    def closure() -> Tensor:
        optimizer.zero_grad()
        inputs: Tensor = prior()
        wanted = torch.arange(inputs[0].numel()).to(inputs).view(inputs.shape[1:])
        wanted = torch.stack([wanted.mul(row + 1).sin().square() for row in rows])
        total: Tensor = ((inputs - wanted).square().flatten(1).mean(1) + prior.penalty(inputs)).sum()
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        return total

    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        prior.initialise([pair.prior_seeds[row] for row in rows], torch.Size(shape))
        with _as_type(prior, dtype, {id(each) for each in (*network.parameters(), *network.buffers())}):
            optimizer = _Descent([each for each in prior.parameters() if each.requires_grad], rates)
            start = prior().detach()
            for _ in range(STEPS):
                optimizer.step(closure)
            with torch.no_grad():
                end = prior()
                scored, dead = prior.read_out(end), prior.is_dead(prior.read_out(end))
                return [start, end - start, scored.to(dtype), dead.to(dtype).unsqueeze(1)]
    finally:
        torch.set_default_dtype(default)


def _fits_couple(
    inversion: FeatureInversion, pair: ProblemBatch, runtime: Runtime, callbacks: Sequence[Callback]
) -> bool:
    """Return whether the inversion's own steps, or these callbacks, couple problems."""
    rates: list[float] = []
    prior = TokenLogits() if isinstance(inversion, TextInversion) else Pixels(clamp=False)
    prior.prepare_for(inversion.extractor)
    parts: dict[str, Any] = {
        "prior": prior,
        "loss": MeanSquaredError(),
        "protocol": PaperProtocol(),
        "lr_schedule": None,
    }
    parts |= {"optimizer": lambda parameters: _Descent(parameters, rates), "record_every": STEPS}
    # autocast rounds by more than the effect of coupling
    full: dict[str, Any] = {"precision": "32-true"} if "mixed" in str(runtime.trainer.get("precision")) else {}

    def fit(rows: Rows) -> list[Tensor]:
        ends = _Ends()
        inversion.load(_rows(pair, rows))
        trainer = runtime.make_bare_trainer(*copy.deepcopy(callbacks), ends, max_steps=STEPS, **full)
        trainer.fit(inversion, range(STEPS))
        return ends.inputs

    with _exchanged(inversion, parts):
        return _couples(fit)


class _Descent(SGD):
    """Gradient descent at the rate set by the very first step, so that all runs share one rate."""

    def __init__(self, parameters: Any, rates: list[float]) -> None:
        super().__init__(parameters, lr=0.0)
        self._rates = rates

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        gradients = [each.grad for group in self.param_groups for each in group["params"] if each.grad is not None]
        squares = sum(float(gradient.double().square().sum()) for gradient in gradients)
        if not self._rates:
            self._rates.append(FALL * abs(loss.item()) / squares if squares else 0.0)
        for group in self.param_groups:
            group["lr"] = self._rates[0]
        super().step()
        return loss


class _Ends(Callback):
    """Recorder of the initial inputs, and of their move."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not self.inputs:
            self.inputs.append(self._input(pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.inputs.append(self._input(pl_module) - self.inputs[0])

    @torch.no_grad()
    def _input(self, inversion: LightningModule) -> Tensor:
        assert isinstance(inversion, FeatureInversion)
        inputs: Tensor = inversion.prior()
        return inputs.cpu()


def _pair(example: ProblemBatch) -> ProblemBatch:
    """Return the problem and a second one with another input and other seeds."""
    x = example.inputs[:1]
    other = x.flip(-1) / 2 if x.is_floating_point() else x.flip(-1)
    noise, prior = example.noise_seeds[0], example.prior_seeds[0]
    return replace(
        example,
        inputs=torch.cat([x, other]),
        names=[*example.names[:1]] * 2,
        levels=example.levels[:1].repeat(2),
        noise_seeds=[noise, noise ^ 1],
        prior_seeds=[prior, prior ^ 1],
    )


def _rows(problems: ProblemBatch, rows: Rows) -> ProblemBatch:
    return replace(
        problems,
        inputs=problems.inputs[rows],
        names=[problems.names[row] for row in rows if problems.names],
        levels=problems.levels[rows],
        noise_seeds=[problems.noise_seeds[row] for row in rows],
        prior_seeds=[problems.prior_seeds[row] for row in rows],
    )


@contextmanager
def _as_type(prior: torch.nn.Module, dtype: torch.dtype, shared: set[int]) -> Iterator[None]:
    """Cast a prior's own tensors inside the context; those it shares with the network stay."""
    tensors = [each for each in (*prior.parameters(), *prior.buffers()) if id(each) not in shared]
    own = [(each, each.data) for each in tensors if each.is_floating_point()]
    for tensor, data in own:
        tensor.data = data.to(dtype)
    yield
    for tensor, data in own:
        tensor.data = data


@contextmanager
def _exchanged(inversion: FeatureInversion, parts: Mapping[str, Any]) -> Iterator[None]:
    """Replace parts of an inversion inside the context."""
    own = {name: getattr(inversion, name) for name in parts}
    try:
        for name, part in parts.items():
            setattr(inversion, name, part)
        yield
    finally:
        for name, part in own.items():
            setattr(inversion, name, part)


def _sees_gradients(callback: Callback) -> bool:
    return any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in GRADIENT_HOOKS)
