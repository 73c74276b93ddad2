"""ExternalSweep: inputs recovered from features in files."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from torch import Tensor

from readout.analysis.external import ASKED, BY_LAYER, print_external, write_external
from readout.analysis.words import not_inverted
from readout.common.errors import ReadoutError
from readout.common.padding import pad
from readout.common.seal import COMMENT
from readout.common.terminal import make_console, say, say_where
from readout.data import Sample, Samples
from readout.external import ExternalFeatures, ExternalProblem, as_one_layer, unknown
from readout.external.joined import Weights, extract_several
from readout.external.shapes import Features
from readout.external.texts import unknown_text
from readout.extractors import FeatureExtractor, LanguageModel
from readout.metrics import correlation_distance
from readout.perturbations import GaussianPerturbation
from readout.problems import Problem
from readout.problems.identity import tensor_digest
from readout.readouts import FeatureLoss, ProblemBatch, Readout, TextInversion
from readout.readouts.run import Row, readout_columns
from readout.sweep.driver import Driver, make_setting
from readout.sweep.facts import dashboard_of
from readout.sweep.options import RunOptions
from readout.sweep.plan import Plan, size_in_words
from readout.sweep.runtime import Runtime, quiet_lightning


class ExternalSweep:
    """Inversions of external features, one problem per feature; finished ones are kept.

    Args:
        options: Output folder, threshold and so on.
        layer_weights: Weight per layer, 1 by default; the loss is the sum over layers of weight × loss. Or
            ``balanced``; see :class:`readout.external.SumOverLayers`.
        plan_only: Print the plan and stop.
    """

    def __init__(self, options: RunOptions, layer_weights: Weights | None = None, plan_only: bool = False) -> None:
        self.options = options
        self.layer_weights = layer_weights
        self.plan_only = plan_only

    def run(
        self,
        readout: Readout,
        features: Features,
        input_shape: Sequence[int] | None,
        runtime: Runtime,
        true: Mapping[str, Tensor] | None = None,
        console: Console | None = None,
    ) -> pd.DataFrame:
        """Run unfinished inversions, write the output folder and print a table.

        Args:
            readout: The readout, with its extractor.
            features: Name → layer → feature; the same layers for every name, in the network's order.
            input_shape: Shape of an image, (3, height, width); None for texts, whose length is that of their features.
            runtime: Trainers, configuration and seed; its loggers and callbacks are not used.
            true: True inputs of some or all names: images of ``input_shape``, or token ids.
            console: Where plan, progress and table go.

        Returns:
            One row per feature, trajectories included; empty with ``plan_only``. Scores against an unknown true input
            are NaN.

        Raises:
            ReadoutError: if an argument can't be used.
        """
        console, true = console or make_console(), true or {}
        readout.meet(Samples.of(Sample(name, x) for name, x in true.items()), input_shape)
        if readout.needs_true_input and len(true) < len(features):
            raise ReadoutError(
                f"The {readout.protocol_name} protocol stops at the loss of the true input, which is known for "
                f"{len(true)} of {len(features)} features; give true inputs (--true), or take another protocol."
            )
        if input_shape is not None:
            readout.check_scores(torch.linspace(0, 1, math.prod(input_shape)).view(*input_shape))
        first = next(iter(features.values()))
        start = int(isinstance(readout, TextInversion))  # the number of positions is no part of a text's shape
        shapes = {layer: tuple(feature.shape[start:]) for layer, feature in first.items()}
        inputs = {name: true.get(name, unknown_input(readout, features[name], input_shape)) for name in features}
        index = [*readout.extractor.layers].index([*shapes][-1])  # of the deepest layer
        by_layer = partial(scores_by_layer, readout, readout.extractor, readout.loss)
        # configured callbacks and loggers are for sweeps
        runtime = replace(runtime, trainer={**runtime.trainer, "callbacks": []}, loggers=()).on(self.options.executor)
        with quiet_lightning(), as_one_layer(readout, shapes, self.layer_weights) as layer, ExitStack() as held:
            driver = self._driver(readout, layer, features, inputs, true, by_layer, runtime, index, console)
            held.enter_context(driver.working())
            with console.status("checking the layers and the cost of a step"):
                plan = driver.plan(console)
            plan.show(console, _task(plan, inputs, len(true)))
            if self.plan_only:
                return pd.DataFrame()
            results = driver.run(plan, dashboard_of(driver, plan, {}, {}), partial(_keep, driver, true), console, True)
        for sentence in not_inverted(results):
            say(console, sentence)
        print_external(results, console)
        say_where(console, write_external(self.options.output, results))
        return results

    def _driver(
        self,
        readout: Readout,
        layer: str,
        features: Features,
        inputs: Mapping[str, Tensor],
        true: Mapping[str, Tensor],
        by_layer: Callable[[Tensor, Mapping[str, Tensor], Tensor], Row],
        runtime: Runtime,
        index: int,
        console: Console,
    ) -> Driver:
        """Form one problem per feature, and open the output folder."""
        threshold = self.options.threshold_for(readout.metric, judging=bool(true))
        store = self.options.open_store("external", console)
        setting = make_setting(readout, "external", runtime)
        problems = _problems(setting.digest, layer, features, true, runtime.seed)
        columns = {**readout_columns(readout, setting.network), "layer_index": index}
        return Driver(
            readout=readout,
            inputs=inputs,
            shapes=inputs,
            problems={layer: problems},
            setting=setting,
            perturbation=ExternalFeatures({problem.noise_seed: features[problem.sample] for problem in problems}),
            example=partial(_example, readout),
            label=partial(_label, by_layer=by_layer, features=features, columns=columns),
            store=store,
            options=self.options.for_readout(setting.readout),
            threshold=threshold,
            runtime=runtime,
        )


def _keep(driver: Driver, true: Mapping[str, Tensor]) -> None:
    """Write what describes the results: keys of the features and true inputs."""
    (problems,) = driver.problems.values()
    driver.store.write_text(ASKED, COMMENT + "".join(f"{problem.key}\n" for problem in problems))
    for name, x in true.items():
        driver.store.save_input(name, x)


def unknown_input(readout: Readout, external: Mapping[str, Tensor], input_shape: Sequence[int] | None) -> Tensor:
    """Return a placeholder for an unknown true input: a text of as many tokens, or an image.

    Args:
        readout: The readout.
        external: Feature by layer.
        input_shape: See :meth:`ExternalSweep.run`.

    Raises:
        ReadoutError: if the readout does not take such inputs.
    """
    if isinstance(readout, TextInversion):
        return unknown_text(readout, len(next(iter(external.values()))))
    if input_shape is None:
        raise ReadoutError(f"{type(readout).__name__} can't invert texts; set the model to TextInversion.")
    return unknown(input_shape)


@torch.no_grad()
def scores_by_layer(
    readout: Readout,
    extractor: FeatureExtractor,
    loss: FeatureLoss | None,
    recovered: Tensor,
    external: Mapping[str, Tensor],
    true: Tensor,
) -> Row:
    """Score one recovered input layer by layer.

    Args:
        readout: The readout.
        extractor: The network.
        loss: Loss of one layer, if the readout has one.
        recovered: Recovered input.
        external: Feature by layer.
        true: True input, or its placeholder.

    Returns:
        Per layer: ``target_distance.LAYER``, d_H between the recovered input's feature and the external one;
        ``loss.LAYER`` between them, without its weight; ``feature_distance.LAYER``, d_H between the external feature
        and the true input's.
    """
    reads_inputs = readout.signal_kind == "input"
    both = readout.embed(torch.stack([recovered if reads_inputs else true, true]))
    found = extract_several(extractor, both.to(extractor.mean), list(external))
    scores: Row = {}
    for layer, feature in external.items():
        here, wanted = found[layer].float(), feature.unsqueeze(0).to(found[layer].device)
        scores |= {
            f"target_distance.{layer}": float(correlation_distance(here[:1], wanted)) if reads_inputs else math.nan,
            f"loss.{layer}": float(loss(here[:1], wanted)) if loss else math.nan,
            f"feature_distance.{layer}": float(correlation_distance(wanted, here[1:])),
        }
    return scores


def _label(
    rows: list[Row],
    recovered: list[Tensor],
    inputs: Mapping[str, Tensor],
    by_layer: Callable[[Tensor, Mapping[str, Tensor], Tensor], Row],
    features: Features,
    columns: Mapping[str, Any],
) -> pd.DataFrame:
    """Add scores by layer, and the columns that all rows share."""
    for row, x in zip(rows, recovered, strict=True):
        external = features[row["sample"]]
        if x.numel():
            row |= by_layer(x, external, inputs[row["sample"]])
        else:  # the problem could not be inverted
            row |= {f"{name}.{layer}": math.nan for layer in external for name in BY_LAYER}
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


def _example(readout: Readout, problems: Sequence[Problem], inputs: Mapping[str, Tensor]) -> ProblemBatch:
    """Make a batch that costs as much as these problems, with known true inputs."""
    generator, count = torch.Generator().manual_seed(0), len(problems)
    shapes = [inputs[problem.sample].shape for problem in problems]
    if isinstance(readout, TextInversion):
        examples = [_any_text(readout.extractor, shape.numel(), generator) for shape in shapes]
    else:
        examples = [torch.rand(shape, generator=generator) for shape in shapes]
    return ProblemBatch(
        inputs=pad(examples),
        names=[problem.sample for problem in problems],
        layer=problems[0].layer,
        levels=torch.zeros(count),
        noise_seeds=range(count),
        prior_seeds=range(count),
        perturbation=GaussianPerturbation(),
    )


def _any_text(model: LanguageModel, tokens: int, generator: torch.Generator) -> Tensor:
    """Draw a text without special tokens."""
    vocabulary = torch.arange(model.embedding.num_embeddings)
    ordinary = vocabulary[~model.is_special(vocabulary)]
    return ordinary[torch.randint(len(ordinary), (tokens,), generator=generator)]


def _task(plan: Plan, inputs: Mapping[str, Tensor], known: int) -> dict[str, str]:
    """Describe what there is to recover, in words, for the plan."""
    (layer,) = plan.layers
    done = f"; {plan.finished:,} already done" if plan.finished else ""
    return {
        "layers": layer.layer.replace("+", ", "),
        "features": f"{len(layer.problems):,}, {known:,} with a true input{done}",
        "inputs": f"to be recovered: {size_in_words(inputs.values())}",
    }
