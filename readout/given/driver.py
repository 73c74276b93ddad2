"""The driver for features that are given: what is not inverted yet, batch by batch, results into the store."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
import yaml
from rich.console import Console
from torch import Tensor

from readout.analysis.predictions import print_predictions, write_predictions
from readout.callbacks import SweepProgress
from readout.errors import ReadoutError
from readout.extractors import FeatureExtractor, LanguageModel
from readout.given import GivenFeatures, GivenProblem, as_one_layer, unknown
from readout.given.joined import Weights, extract_several
from readout.given.shapes import Features
from readout.given.texts import unknown_text
from readout.identity import digest, tensor_digest
from readout.interruptions.checkpoints import FOLDER, LayerCheckpoint, batches_left, check_minutes, tidy
from readout.interruptions.claims import in_turn
from readout.interruptions.signals import stoppable
from readout.inversions import FeatureInversion, FeatureLoss, ProblemBatch, TextInversion
from readout.inversions.base import optimisation_steps
from readout.inversions.run import Row, invert, readout_columns
from readout.metrics import SampleMetric, correlation_distance
from readout.padding import pad
from readout.perturbations import GaussianPerturbation
from readout.plan import Cost, LayerPlan, Plan, automatic_batch_size, probe, size_in_words, title, unfinished
from readout.problems import Problem
from readout.runtime import Runtime, quiet_lightning
from readout.store import ResultStore, judge

PROBE_FEATURES = 4
"""A few side by side cost nearly what each of a full batch costs."""


class Prediction:
    """Recovers inputs from features that are given, those of them that are not done yet.

    Args:
        layer_weights: A weight a layer, 1 where none is given; the loss is the sum over layers of weight × loss. Or
            ``balanced``; see :class:`readout.given.SumOverLayers`.
        output: Folder for everything that comes out.
        resume: Keep what is finished; false refuses a folder that holds results.
        threshold: t, for features whose true input is known. Default: the paper's for the metric.
        tolerance: As for :class:`readout.sweep.Sweep`.
        batch_size: Features side by side in one ``Trainer.fit``; ``auto`` fits the free memory.
        checkpoint_minutes: As for :class:`readout.sweep.Sweep`.
    """

    def __init__(
        self,
        layer_weights: Weights | None = None,
        output: str | Path = "runs/predict",
        resume: bool = True,
        threshold: float | None = None,
        tolerance: float = 1e-4,
        batch_size: int | Literal["auto"] = "auto",
        checkpoint_minutes: float | None = 5,
    ) -> None:
        check_minutes(checkpoint_minutes)
        self.layer_weights = layer_weights
        self.output = Path(output)
        self.resume = resume
        self.threshold = threshold
        self.tolerance = tolerance
        self.batch_size = batch_size
        self.checkpoint_minutes = checkpoint_minutes

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
            One row a feature, trajectories included. Scores against a true input that is not known are NaN.

        Raises:
            ReadoutError: if anything the user gave can't be used.
        """
        console, true = console or Console(), true or {}
        if inversion.protocol.needs_true_input and len(true) < len(features):
            raise ReadoutError(
                f"The {inversion.protocol.name} protocol stops at the loss of the true input, which is known for "
                f"{len(true)} of {len(features)} features; give true inputs (--true), or take another protocol."
            )
        store = ResultStore(self.output)
        for sentence in store.set_aside_broken():
            console.print(sentence, highlight=False, soft_wrap=True)
        self._check_output(store)
        extractor, loss = inversion.extractor, inversion.loss
        first = next(iter(features.values()))
        start = int(isinstance(inversion, TextInversion))  # how many positions a text has is no part of it
        shapes = {layer: tuple(feature.shape[start:]) for layer, feature in first.items()}
        inputs = {name: true.get(name, unknown_input(inversion, features[name], input_shape)) for name in features}
        threshold = self._threshold(inversion.metric, bool(true))
        with quiet_lightning(), as_one_layer(inversion, shapes, self.layer_weights) as layer:
            fingerprint = extractor.fingerprint()
            problems = _problems(inversion, fingerprint, layer, features, true, runtime)
            shared = readout_columns(inversion, fingerprint) | {
                "layer_index": list(extractor.layers).index([*shapes][-1])
            }
            with console.status("checking the layers, and what a step costs"):
                plan = self._plan(inversion, problems, inputs, runtime, store.finished())
            _show(plan, len(true), console)
            store.write_text("config.yaml", yaml.safe_dump(dict(runtime.config), sort_keys=False))
            for name, x in true.items():
                store.save_input(name, x)
            wanted = [layer for layer in plan.layers if layer.remaining]
            with (
                stoppable() as stop,
                SweepProgress(plan, console) as progress,
                closing(in_turn(wanted, self.output / FOLDER, stop, console)) as turns,
            ):
                for layer_plan in turns:
                    limit = None if self.batch_size == "auto" else self.batch_size
                    checkpoint = LayerCheckpoint(self.output, layer_plan, self.checkpoint_minutes, stop, console, limit)

                    def fit(inversion: FeatureInversion, checkpoint: LayerCheckpoint = checkpoint) -> None:
                        checkpoint.fit(runtime.make_bare_trainer(progress, checkpoint), inversion)

                    progress.start_layer(layer_plan)
                    for batch in batches_left(layer_plan.batches, store, checkpoint):
                        stop.check()
                        progress.start(batch)
                        given = GivenFeatures({problem.noise_seed: features[problem.sample] for problem in batch})
                        rows, recovered = invert(inversion, batch, inputs, given, fit, checkpoint.attempt(batch))
                        for row, x in zip(rows, recovered, strict=True):
                            row |= by_layer(
                                inversion, extractor, loss, x, features[row["sample"]], inputs[row["sample"]]
                            )
                        table = pd.DataFrame(rows).assign(label=None, **shared)
                        store.append(judge(table, threshold, self.tolerance), recovered)
                        checkpoint.stored()
                        progress.done()
                    checkpoint.layer_done()
                    progress.layer_done()
            tidy(self.output)
        results = store.load(trajectories=True)
        results = results[results["key"].isin({problem.key for problem in problems})].reset_index(drop=True)
        results = judge(results, threshold, self.tolerance)
        print_predictions(results, console)
        console.print(f"[bold]report[/bold] {write_predictions(self.output, results)}")
        return results

    def _threshold(self, metric: SampleMetric, judging: bool) -> float:
        threshold = self.threshold or metric.threshold
        if threshold is None and judging:
            raise ReadoutError(f"The paper has no threshold for {metric.name}; set sweep.threshold.")
        return math.nan if threshold is None else threshold

    def _check_output(self, store: ResultStore) -> None:
        held = store.load()
        if not self.resume and len(held):
            raise ReadoutError(f"{str(self.output)!r} holds results; choose another output, or drop `resume: false`.")
        if held["level"].notna().any():
            raise ReadoutError(f"{str(self.output)!r} holds the results of a sweep; choose another output.")

    def _plan(
        self,
        inversion: FeatureInversion,
        problems: list[Problem],
        inputs: Mapping[str, Tensor],
        runtime: Runtime,
        finished: set[str],
    ) -> Plan:
        left = [problem for problem in problems if problem.key not in finished]
        cost, size = Cost(), 1
        if left:
            # the longest, where lengths differ
            probed = sorted((inputs[problem.sample] for problem in left), key=lambda x: -x.numel())[:PROBE_FEATURES]
            cost = probe(inversion, _example(inversion, problems[0].layer, probed), runtime)
            size = (
                automatic_batch_size(cost.problem_bytes, cost.device) if self.batch_size == "auto" else self.batch_size
            )
        groups = unfinished(problems, size, finished)
        done = len(problems) - len(left)
        return Plan(
            title=title(inversion),
            layers=[LayerPlan(problems[0].layer, problems, groups, cost, done, len(left), size)],
            levels=[],
            draws=1,
            samples=len(problems),
            inputs=size_in_words(inputs.values()),
            steps=inversion.steps(optimisation_steps(runtime.make_bare_trainer()), inputs.values()),
            output=self.output,
        )


def unknown_input(
    inversion: FeatureInversion, given: Mapping[str, Tensor], input_shape: Sequence[int] | None
) -> Tensor:
    """What stands for the true input of a feature: a text of as many tokens, or an image of some shape.

    Args:
        inversion: The readout.
        given: Feature by layer.
        input_shape: See :meth:`Prediction.run`.

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
        For every layer ``given_distance.LAYER``, the d_H of the recovered input's feature to the given one, and
        ``loss.LAYER`` between them, without its weight; ``feature_distance.LAYER``, the d_H of the given feature to the
        true input's.
    """
    both = inversion.embed(torch.stack([recovered, true]))
    found = extract_several(extractor, both.to(extractor.mean), list(given))
    scores: Row = {}
    for layer, feature in given.items():
        here, wanted = found[layer].float(), feature.unsqueeze(0).to(found[layer].device)
        scores |= {
            f"given_distance.{layer}": float(correlation_distance(here[:1], wanted)),
            f"loss.{layer}": float(loss(here[:1], wanted)),
            f"feature_distance.{layer}": float(correlation_distance(wanted, here[1:])),
        }
    return scores


def _problems(
    inversion: FeatureInversion,
    fingerprint: str,
    layer: str,
    features: Features,
    true: Mapping[str, Tensor],
    runtime: Runtime,
) -> list[Problem]:
    trainer = runtime.make_bare_trainer()
    if trainer.world_size > 1:
        raise ReadoutError(f"Features are inverted on one device, not {trainer.world_size}; set `trainer.devices: 1`.")
    setting = digest([fingerprint, inversion.describe(), "given", trainer.max_steps, str(trainer.precision)])[:16]
    return [
        GivenProblem(
            setting=setting,
            sample=name,
            input_digest=tensor_digest(given.items()),
            layer=layer,
            level=float("nan"),
            draw=0,
            seed=runtime.seed,
            true_digest=tensor_digest([("true", true[name])]) if name in true else "",
        )
        for name, given in features.items()
    ]


def _example(inversion: FeatureInversion, layer: str, inputs: Sequence[Tensor]) -> ProblemBatch:
    """Problems that cost as much as those of the inputs, and whose true inputs are known."""
    generator, count = torch.Generator().manual_seed(0), len(inputs)
    if isinstance(inversion, TextInversion):
        examples = [_any_text(inversion.extractor, len(x), generator) for x in inputs]
    else:
        examples = [torch.rand(x.shape, generator=generator) for x in inputs]
    return ProblemBatch(
        inputs=pad(examples),
        layer=layer,
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
