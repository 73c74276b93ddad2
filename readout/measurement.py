"""measure: representation sizes in three lines of Python."""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from torch import Tensor, nn
from torch.optim import AdamW

from readout.analysis.words import inverted_keys
from readout.common.checks import check_number, check_seed, check_side, check_whole
from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path
from readout.common.lazy import LazyMapping
from readout.common.terminal import print_anywhere
from readout.data import InputData
from readout.data.in_memory import Images, as_data
from readout.extractors import FeatureExtractor, LanguageModel
from readout.extractors.base import SIZES
from readout.extractors.submodules import Submodules
from readout.extractors.watching import check_made, check_watchable, unwrapped
from readout.perturbations import check_levels
from readout.priors import DeepImagePrior, Prior
from readout.problems.identity import describe
from readout.readouts import ImageInversion, Readout
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime

NOTEBOOK_WIDTH = 100
"""Columns of the progress bar in a notebook, whose width is unknown."""


@dataclass(frozen=True, repr=False)
class Measurement:
    """Result of :func:`readout.measurement.measure`."""

    problems: pd.DataFrame
    """One row per inversion, trajectories included; columns as in :func:`readout.load_results`."""
    sizes: pd.DataFrame
    """One row per (layer, image); see :func:`readout.analysis.sizes.sizes_table`."""
    inputs: Mapping[str, Tensor]
    """True images by ``sample``, resized as the network saw them; large sets are loaded when they are asked for."""
    recovered: Mapping[str, Tensor]
    """Recovered images by the ``key`` of their problem, read from the output folder when they are asked for; none for
    problems that have a ``reason`` for not being run."""
    output: Path | None = None
    """Output folder; None if none was given."""

    def __repr__(self) -> str:
        """Show the sizes, and the number of inversions behind them."""
        return f"Measurement of {len(self.problems)} inversions; sizes:\n{self._by_layer().to_string()}"

    def _repr_html_(self) -> str:
        """Show the sizes as a table in notebooks."""
        page: str = self._by_layer().style.format("{:.2f}").to_html()
        return page

    def _by_layer(self) -> pd.DataFrame:
        shown = self.sizes.pivot(index="sample", columns="layer", values="representation_size")
        return shown[list(dict.fromkeys(self.sizes["layer"]))]


def measure(
    model: FeatureExtractor | nn.Module | None,
    images: Images,
    layers: str | int | Sequence[str | int] = "depth:0,0.25,0.5,0.75,1",
    levels: Sequence[float] = (0, 0.3, 0.5, 0.7, 0.9),
    *,
    draws: int = 1,
    threshold: float | None = None,
    size: int | None = None,
    steps: int = 150,
    lr: float = 5e-3,
    prior: Prior | None = None,
    readout: Readout | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    output: str | Path | None = None,
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
    progress: bool = True,
    **sweep: Any,
) -> Measurement:
    """Measure how far features of a model can move before the image is lost.

    The defaults give a first look in minutes, as ``vgg_dip.yaml`` does: small images, 150 steps of AdamW at 5e-3 with
    linear decay, a small Deep Image Prior. They are not the paper's; don't compare sizes of different settings.

    Args:
        model: An extractor, or a plain module. A plain module is copied, frozen and put in evaluation mode; its layers
            are the paths of its submodules, in the order in which they run.
        images: RGB in [0, 1], shape (N, 3, height, width); a folder; a list of PIL images, paths, arrays
            and tensors; or any :class:`readout.data.InputData`.
        layers: Names, ``"all"`` or ``"depth:…"`` with 0 for the first layer and 1 for the last.
        levels: Target correlation distances in [0, 1). Include 0.
        draws: Independent noise draws per level.
        threshold: t; None for the paper's 0.1.
        size: Side in pixels to which files and PIL images are resized and cropped. Default: the size of an extractor
            that takes only one; otherwise 64, or the first size that the model takes of 224, 299, 384 and others.
        steps: Optimisation steps per inversion.
        lr: Learning rate, unless ``readout`` is given.
        prior: Default: a Deep Image Prior with filters 16-32-64-128; :class:`readout.priors.Pixels` is the ablation.
        readout: A complete readout, in place of ``model``, ``lr`` and ``prior``; ``model`` may then be None.
        mean: Per-channel mean to subtract from the inputs of a plain module.
        std: Per-channel standard deviation to divide the inputs of a plain module by.
        output: Folder for all results and the report; giving it again resumes. Default: nothing is kept.
        seed: Seed from which all random numbers derive.
        trainer: Further arguments of Lightning's Trainer, such as ``{"accelerator": "cpu"}``.
        progress: Show a progress bar.
        sweep: Further arguments of :class:`readout.sweep.Sweep`, such as ``search="bisection"``.

    Returns:
        Tables and images; see :class:`readout.measurement.Measurement`.

    Raises:
        ReadoutError: if an argument can't be used.

    Examples:
        A linear network loses its input at a distance known in closed form, here 0.28:

        >>> import torch
        >>> from readout.extractors import OrthonormalLinear
        >>> from readout.priors import Pixels
        >>> images, fast = torch.rand(1, 3, 16, 16), {"steps": 40, "lr": 0.1, "batch_size": 3, "progress": False}
        >>> measured = measure(OrthonormalLinear(), images, levels=[0, 0.2, 0.5], prior=Pixels(), **fast)
        >>> measured.problems[["level", "verdict"]]
           level      verdict
        0    0.0    recovered
        1    0.2    recovered
        2    0.5  unrecovered
        >>> measured
        Measurement of 3 inversions; sizes:
        layer        linear
        sample
        image_000  0...
    """
    steps, seed = check_whole("steps", steps, 1), check_seed("seed", seed)
    size, lr = None if size is None else check_side("size", size), check_number("lr", lr, above=0)
    if readout is None:
        if not isinstance(model, nn.Module):
            raise ReadoutError(
                f"The model is a {type(model).__name__}; give a network (an nn.Module) or an extractor, such as "
                "readout.extractors.VGG19()."
            )
        extractor = model if isinstance(model, FeatureExtractor) else PlainModule(model, mean, std)
        if isinstance(extractor, LanguageModel):
            raise ReadoutError("measure takes images; use the command `fit` for language models.")
        readout = ImageInversion(
            extractor, prior or DeepImagePrior(filters=[16, 32, 64, 128]), optimizer=partial(AdamW, lr=lr)
        )
    extractor = readout.extractor
    if size is None:
        sized = isinstance(images, InputData | Tensor)
        size = SIZES[0] if sized else extractor.find_size()
    data = as_data(images, extractor.example(size).shape[-1])
    asked = {"layers": layers, "levels": check_levels(levels), "draws": draws, "threshold": threshold, **sweep}
    config = {"seed_everything": seed, "sweep": describe(asked)}  # kept, so that the report can be remade
    runtime = Runtime(trainer={"max_steps": steps, **(trainer or {})}, config=config, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        kept = None if output is None else user_path(output)
        driver = Sweep(**asked, output=str(kept or folder))
        try:
            problems, sizes, inputs = driver.measure(readout, data, runtime, _console(progress), report=bool(kept))
        except KeyboardInterrupt:
            if kept is None:
                raise KeyboardInterrupt("Stopped; nothing is kept without an output folder.") from None
            raise
        store, keys = ResultStore(driver.options.output), dict.fromkeys(inverted_keys(problems))
        recovered: Mapping[str, Tensor] = LazyMapping(keys, lambda key: store.load_recovered([key])[key])
        if kept is None:
            recovered = store.load_recovered(keys)
    return Measurement(problems, sizes, inputs, recovered, kept)


class PlainModule(Submodules):
    """Frozen copy of a user's module, whose layers are the paths of its submodules.

    Args:
        module: Takes images (N, 3, height, width). It is left as it is; the copy is in evaluation mode.
        mean: See :class:`readout.extractors.FeatureExtractor`.
        std: See :class:`readout.extractors.FeatureExtractor`.

    Raises:
        ReadoutError: if the module can't be copied.
    """

    def __init__(self, module: nn.Module, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> None:
        super().__init__(_copied(unwrapped(module)), mean, std)

    @property
    def name(self) -> str:
        """Class of the module."""
        return type(self.network).__name__


def _copied(module: nn.Module) -> nn.Module:
    """Copy deeply; tensors with a graph, such as the weight that `weight_norm` keeps, are copied without it."""
    check_made(module)
    check_watchable(module)
    left = [value for part in module.modules() for value in vars(part).values()]
    memo = {id(value): value.detach().clone() for value in left if isinstance(value, Tensor)}
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:  # a module's attributes may raise anything
        raise ReadoutError(
            f"{type(module).__name__} can't be copied ({reason(error)}); give `FeatureExtractor(network)`, which takes "
            "the network itself."
        ) from error
    for weight in copied.parameters():
        weight.detach_()  # copies of TorchScript modules have a graph
    return copied


def _console(progress: bool) -> Console:
    """Return a console that redraws its line in notebooks too, where rich would need widgets."""
    print_anywhere()
    console = Console(quiet=not progress)
    if not console.is_jupyter:
        return console
    return Console(quiet=not progress, force_jupyter=False, force_terminal=True, width=NOTEBOOK_WIDTH)
