"""The driver for features that are given: what is not inverted yet, batch by batch, results into the store."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Trainer
from rich.console import Console
from torch import Tensor

from readout.analysis.external import ASKED, BY_LAYER, print_external, write_external
from readout.analysis.words import not_inverted
from readout.common.errors import ReadoutError
from readout.common.padding import pad
from readout.common.seal import COMMENT
from readout.common.terminal import make_console, say, say_where
from readout.external import ExternalFeatures, ExternalProblem, as_one_layer, unknown
from readout.external.joined import Weights, extract_several
from readout.external.shapes import Features
from readout.external.texts import unknown_text
from readout.extractors import FeatureExtractor, LanguageModel
from readout.inversions import FeatureInversion, FeatureLoss, ProblemBatch, TextInversion
from readout.inversions.base import optimisation_steps
from readout.inversions.run import Row, readout_columns
from readout.metrics import correlation_distance
from readout.perturbations import GaussianPerturbation
from readout.problems import Problem, Setting
from readout.problems.identity import tensor_digest
from readout.sweep.checkpoints import batches_left
from readout.sweep.independence import check_independent
from readout.sweep.loop import Work
from readout.sweep.options import RunOptions
from readout.sweep.plan import Plan, plan_layer, size_in_words, title
from readout.sweep.runtime import Runtime, quiet_lightning


class ExternalSweep:
    """Recovers inputs from features that are given, those of them that are not done yet.

    Args:
        options: Output folder, threshold and so on.
        layer_weights: A weight a layer, 1 where none is given; the loss is the sum over layers of weight × loss. Or
            ``balanced``; see :class:`readout.external.SumOverLayers`.
        plan_only: Print the plan and stop.
    """

    def __init__(self, options: RunOptions, layer_weights: Weights | None = None, plan_only: bool = False) -> None:
        self.options = options
        self.layer_weights = layer_weights
        self.plan_only = plan_only

    def run(
        self,
        inversion: FeatureInversion,
        features: Features,
        input_shape: Sequence[int] | None,
        runtime: Runtime,
        true: Mapping[str, Tensor] | None = None,
        console: Console | None = None,
    ) -> pd.DataFrame:
        """Invert what is not done yet and write everything the output folder should hold.

        Args:
            inversion: The readout, with its extractor.
            features: Name → layer → feature; every name has the same layers, in the network's order.
            input_shape: Shape of an input, (3, height, width); None for texts, which are as long as their features.
            runtime: Trainers, configuration and seed; its loggers and callbacks are not used.
            true: True inputs of some or all names, of ``input_shape``; token ids of texts.
            console: Where plan, progress and table go.

        Returns:
            One row a feature, trajectories included; empty with ``plan_only``. Scores against a true input that is not
            known are NaN.

        Raises:
            ReadoutError: if anything the user gave can't be used.
        """
        console, true = console or make_console(), true or {}
        if inversion.protocol.needs_true_input and len(true) < len(features):
            raise ReadoutError(
                f"The {inversion.protocol.name} protocol stops at the loss of the true input, which is known for "
                f"{len(true)} of {len(features)} features; give true inputs (--true), or take another protocol."
            )
        if input_shape is not None:
            inversion.check_scores(torch.linspace(0, 1, math.prod(input_shape)).view(*input_shape))
        threshold = self.options.threshold_for(inversion.metric, judging=bool(true))
        store = self.options.open_store("external", console)
        first = next(iter(features.values()))
        start = int(isinstance(inversion, TextInversion))  # how many positions a text has is no part of it
        shapes = {layer: tuple(feature.shape[start:]) for layer, feature in first.items()}
        inputs = {name: true.get(name, unknown_input(inversion, features[name], input_shape)) for name in features}
        fingerprint, deepest = inversion.extractor.fingerprint(), [*shapes][-1]
        columns = readout_columns(inversion, fingerprint) | {
            "layer_index": [*inversion.extractor.layers].index(deepest)
        }
        complete = partial(_scored, inversion, inversion.extractor, inversion.loss, features, inputs, columns)
        with quiet_lightning(), as_one_layer(inversion, shapes, self.layer_weights) as layer:
            trainer = runtime.make_bare_trainer()
            if trainer.world_size > 1:
                raise ReadoutError(
                    f"Features are inverted on one device, not {trainer.world_size}; set `trainer.devices: 1`."
                )
            readout = inversion.describe(trainer.max_steps)
            setting = Setting(fingerprint, readout, "external", trainer.max_steps, str(trainer.precision))
            problems = _problems(setting.digest, layer, features, true, runtime.seed)
            given = ExternalFeatures({problem.noise_seed: features[problem.sample] for problem in problems})
            options = self.options.for_readout(readout)
            work = Work(inversion, inputs, given, store, options, threshold, complete)
            with console.status("checking the layers, and what a step costs"):
                plan = self._plan(work, problems, trainer, runtime)
            _show(plan, len(true), console)
            if self.plan_only:
                return pd.DataFrame()

            def run(again: bool) -> None:
                store.write_setting(setting)
                store.write_text("config.yaml", self.options.kept(runtime.config, threshold))
                store.write_text(ASKED, COMMENT + "".join(f"{problem.key}\n" for problem in problems))
                for name, x in true.items():
                    store.save_input(name, x)
                now = self._plan(work, problems, trainer, runtime) if again else plan
                layers = [layer for layer in now.layers if layer.remaining]
                with work.turns(now, layers, console) as turns:
                    for turn in turns:
                        left = batches_left(turn.plan.batches, store, turn.checkpoint)
                        for _ in work.run(turn, left, runtime.make_bare_trainer):
                            pass

            keys = {problem.key for problem in problems}
            work.until_whole(run, lambda: len(keys - store.finished()), console)
        results = work.results(problems, trajectories=True)
        for sentence in not_inverted(results):
            say(console, sentence)
        print_external(results, console)
        say_where(console, write_external(self.options.output, results))
        return results

    def _plan(self, work: Work, problems: list[Problem], trainer: Trainer, runtime: Runtime) -> Plan:
        inversion, inputs = work.inversion, work.inputs
        finished = work.store.finished()
        left = [problem for problem in problems if problem.key not in finished]
        largest_first = sorted(left, key=lambda problem: -inputs[problem.sample].numel())
        example = partial(_example, inversion, inputs)
        size = work.options.batch_size
        plan = Plan(
            title=title(inversion),
            layers=[plan_layer(problems, largest_first, finished, inversion, example, size, runtime)],
            levels=[],
            draws=1,
            samples=len(problems),
            inputs=size_in_words(inputs.values()),
            steps=inversion.steps(optimisation_steps(trainer), inputs.values()),
            output=self.options.output,
            alone_for=work.options.alone_for,
        )
        if left and size != 1:
            check_independent(inversion, example(left[:1]), runtime)
        return plan


def unknown_input(
    inversion: FeatureInversion, given: Mapping[str, Tensor], input_shape: Sequence[int] | None
) -> Tensor:
    """What stands for the true input of a feature: a text of as many tokens, or an image of some shape.

    Args:
        inversion: The readout.
        given: Feature by layer.
        input_shape: See :meth:`ExternalSweep.run`.

    Raises:
        ReadoutError: if the readout is not for such inputs.
    """
    if isinstance(inversion, TextInversion):
        return unknown_text(inversion, len(next(iter(given.values()))))
    if input_shape is None:
        raise ReadoutError(f"{type(inversion).__name__} can't invert texts; set the model to TextInversion.")
    return unknown(input_shape)


@torch.no_grad()
def by_layer(
    inversion: FeatureInversion,
    extractor: FeatureExtractor,
    loss: FeatureLoss,
    recovered: Tensor,
    given: Mapping[str, Tensor],
    true: Tensor,
) -> Row:
    """Scores of one feature, layer by layer.

    Args:
        inversion: The readout.
        extractor: The network.
        loss: Of one layer.
        recovered: Recovered input.
        given: Feature by layer.
        true: True input, unknown where it is not known.

    Returns:
        For every layer ``target_distance.LAYER``, the d_H of the recovered input's feature to the given one, and
        ``loss.LAYER`` between them, without its weight; ``feature_distance.LAYER``, the d_H of the given feature to the
        true input's.
    """
    both = inversion.embed(torch.stack([recovered, true]))
    found = extract_several(extractor, both.to(extractor.mean), list(given))
    scores: Row = {}
    for layer, feature in given.items():
        here, wanted = found[layer].float(), feature.unsqueeze(0).to(found[layer].device)
        scores |= {
            f"target_distance.{layer}": float(correlation_distance(here[:1], wanted)),
            f"loss.{layer}": float(loss(here[:1], wanted)),
            f"feature_distance.{layer}": float(correlation_distance(wanted, here[1:])),
        }
    return scores


def _scored(
    inversion: FeatureInversion,
    extractor: FeatureExtractor,
    loss: FeatureLoss,
    features: Features,
    inputs: Mapping[str, Tensor],
    columns: Mapping[str, Any],
    rows: list[Row],
    recovered: list[Tensor],
) -> pd.DataFrame:
    """Rows with their scores by layer, and with columns that are the same in all.

    ``extractor`` and ``loss`` are the inversion's own, before several layers were made one.
    """
    for row, x in zip(rows, recovered, strict=True):
        given = features[row["sample"]]
        if x.numel():
            row |= by_layer(inversion, extractor, loss, x, given, inputs[row["sample"]])
        else:  # nothing was recovered
            row |= {f"{name}.{layer}": math.nan for layer in given for name in BY_LAYER}
    return pd.DataFrame(rows).assign(label=None, **columns)


def _problems(setting: str, layer: str, features: Features, true: Mapping[str, Tensor], seed: int) -> list[Problem]:
    return [
        ExternalProblem(
            setting=setting,
            sample=name,
            input_digest=tensor_digest(given.items()),
            layer=layer,
            level=float("nan"),
            draw=0,
            seed=seed,
            true_digest=tensor_digest([("true", true[name])]) if name in true else "",
        )
        for name, given in features.items()
    ]


def _example(inversion: FeatureInversion, inputs: Mapping[str, Tensor], problems: Sequence[Problem]) -> ProblemBatch:
    """Problems that cost as much as these, and whose true inputs are known."""
    generator, count = torch.Generator().manual_seed(0), len(problems)
    shapes = [inputs[problem.sample].shape for problem in problems]
    if isinstance(inversion, TextInversion):
        examples = [_any_text(inversion.extractor, shape.numel(), generator) for shape in shapes]
    else:
        examples = [torch.rand(shape, generator=generator) for shape in shapes]
    return ProblemBatch(
        inputs=pad(examples),
        layer=problems[0].layer,
        levels=torch.zeros(count),
        noise_seeds=range(count),
        prior_seeds=range(count),
        perturbation=GaussianPerturbation(),
    )


def _any_text(model: LanguageModel, tokens: int, generator: torch.Generator) -> Tensor:
    """Drawn from what is no special token."""
    vocabulary = torch.arange(model.embedding.num_embeddings)
    ordinary = vocabulary[~model.is_special(vocabulary)]
    return ordinary[torch.randint(len(ordinary), (tokens,), generator=generator)]


def _show(plan: Plan, known: int, console: Console) -> None:
    """Print what is about to be done."""
    (layer,) = plan.layers
    finished = f"; {layer.finished:,} already done" if layer.finished else ""
    work = {
        "layers": layer.layer.replace("+", ", "),
        "features": f"{len(layer.problems):,}, {known:,} with a true input{finished}",
        "inputs": f"to be recovered: {plan.inputs}",
    }
    plan.show(console, work)
