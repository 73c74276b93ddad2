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

from readout.common.checks import check_number, check_seed, check_side, check_whole
from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path
from readout.common.terminal import print_anywhere
from readout.data import InputData
from readout.data.in_memory import Images, as_data
from readout.extractors import FeatureExtractor, LanguageModel
from readout.extractors.base import SIZES
from readout.extractors.submodules import Submodules
from readout.extractors.watching import check_made, check_watchable, unwrapped
from readout.inversions import FeatureInversion, ImageInversion
from readout.perturbations import check_levels
from readout.priors import DeepImagePrior, Prior
from readout.problems.identity import describe
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime

NOTEBOOK_WIDTH = 100
"""Columns of the progress bar in a notebook, which does not say how wide it is."""


@dataclass(frozen=True, repr=False)
class Measurement:
    """What :func:`readout.measurement.measure` found."""

    problems: pd.DataFrame
    """One row an inversion, trajectories included; columns as :func:`readout.load_results` gives them."""
    sizes: pd.DataFrame
    """One row a (layer, image); see :func:`readout.analysis.sizes.sizes_table`."""
    inputs: Mapping[str, Tensor]
    """True images by ``sample``, as the network saw them."""
    recovered: Mapping[str, Tensor]
    """Recovered images by the ``key`` of their problem; none of those that have a ``reason`` for not being run."""
    output: Path | None = None
    """Folder of everything that came out; None if it was not to be kept."""

    def __repr__(self) -> str:
        """Its sizes, and how many inversions they rest on."""
        return f"Measurement of {len(self.problems)} inversions; sizes:\n{self._by_layer().to_string()}"

    def _repr_html_(self) -> str:
        """The sizes, as notebooks show them."""
        page: str = self._by_layer().style.format("{:.2f}").to_html()
        return page

    def _by_layer(self) -> pd.DataFrame:
        shown = self.sizes.pivot(index="sample", columns="layer", values="representation_size")
        return shown[list(dict.fromkeys(self.sizes["layer"]))]


def measure(
    model: FeatureExtractor | nn.Module,
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
    inversion: FeatureInversion | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    output: str | Path | None = None,
    seed: int = 0,
    trainer: Mapping[str, Any] | None = None,
    progress: bool = True,
    **sweep: Any,
) -> Measurement:
    """Measure how far features of a model can move before the image is lost.

    The defaults are those of ``vgg_dip.yaml``, for a first look in minutes: small images, 150 steps of AdamW at 5e-3
    with linear decay, a small Deep Image Prior. They are not the paper's; don't compare sizes of different settings.

    Args:
        model: A network. Of a plain module a frozen copy in evaluation mode is used, whose layers are the paths of its
            submodules, in the order in which they run.
        images: RGB in [0, 1], shape (N, 3, height, width); a folder; a list of PIL images, paths, arrays
            and tensors; or any :class:`readout.data.InputData`.
        layers: Names, ``"all"`` or ``"depth:…"`` with 0 for the first layer and 1 for the last.
        levels: Target correlation distances in [0, 1). Keep 0 among them.
        draws: Independent noise draws a level.
        threshold: t; the paper's 0.1 if None.
        size: Side in pixels to which files and PIL images are resized and cropped; an extractor that takes one size
            only has its own. Default: 64, or where a plain module does not take that, the first that it does take of
            224, 299, 384 and others.
        steps: Optimisation steps of each inversion.
        lr: Learning rate, unless ``inversion`` is given.
        prior: Default: a Deep Image Prior with filters 16-32-64-128; :class:`readout.priors.Pixels` is the ablation.
        inversion: A whole readout of your own on the same model, in place of ``lr`` and ``prior``.
        mean: Of a plain module: per-channel mean that its inputs want subtracted.
        std: Of a plain module: per-channel standard deviation that they want to be divided by.
        output: Folder to keep everything in, report included, and to go on from when given again. Default: nothing is
            kept.
        seed: Seed that all random numbers derive from.
        trainer: Further arguments of Lightning's Trainer, such as ``{"accelerator": "cpu"}``.
        progress: Show a progress bar.
        sweep: Further arguments of :class:`readout.sweep.Sweep`, such as ``search="bisection"``.

    Returns:
        Tables and images; see :class:`readout.measurement.Measurement`.

    Raises:
        ReadoutError: if anything that was given can't be used.
    """
    steps, seed = check_whole("steps", steps, 1), check_seed("seed", seed)
    size, lr = None if size is None else check_side("size", size), check_number("lr", lr, above=0)
    if inversion is None:
        if not isinstance(model, nn.Module):
            raise ReadoutError(
                f"The model is a {type(model).__name__}; give a network (an nn.Module) or an extractor, such as "
                "readout.extractors.VGG19()."
            )
        extractor = model if isinstance(model, FeatureExtractor) else PlainModule(model, mean, std)
        if isinstance(extractor, LanguageModel):
            raise ReadoutError("measure takes images; of language models sizes are measured by the command `fit`.")
        inversion = ImageInversion(
            extractor, prior or DeepImagePrior(filters=[16, 32, 64, 128]), optimizer=partial(AdamW, lr=lr)
        )
    extractor = inversion.extractor
    if size is None:
        sized = isinstance(images, InputData | Tensor)
        size = SIZES[0] if sized else extractor.find_size()
    data = as_data(images, extractor.example(size).shape[-1])
    asked = {"layers": layers, "levels": check_levels(levels), "draws": draws, "threshold": threshold, **sweep}
    config = {"seed_everything": seed, "sweep": describe(asked)}  # by which the report is made again
    runtime = Runtime(trainer={"max_steps": steps, **(trainer or {})}, config=config, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        kept = None if output is None else user_path(output)
        driver = Sweep(**asked, output=str(kept or folder))
        try:
            problems, sizes = driver.measure(inversion, data, runtime, _console(progress), report=kept is not None)
        except KeyboardInterrupt:
            if kept is None:
                raise KeyboardInterrupt("Stopped; nothing is kept, because no output folder was given.") from None
            raise
        store = ResultStore(driver.options.output)
        recovered = store.load_recovered(problems["key"])
    return Measurement(problems, sizes, {one.name: one.input for one in data}, recovered, kept)


class PlainModule(Submodules):
    """A frozen copy of a module of the user's own, whose layers are the paths of its submodules.

    Args:
        module: Takes images (N, 3, height, width); the copy stays in evaluation mode, the module as it is.
        mean: See :class:`readout.extractors.FeatureExtractor`.
        std: The same.

    Raises:
        ReadoutError: if the module can't be copied.
    """

    def __init__(self, module: nn.Module, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> None:
        super().__init__(_copied(unwrapped(module)), mean, std)

    @property
    def name(self) -> str:
        """The module's class."""
        return type(self.network).__name__


def _copied(module: nn.Module) -> nn.Module:
    """A deep copy; tensors with a graph, such as the weight that `weight_norm` keeps, are copied without it."""
    check_made(module)
    check_watchable(module)
    left = [value for part in module.modules() for value in vars(part).values()]
    memo = {id(value): value.detach().clone() for value in left if isinstance(value, Tensor)}
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:  # attributes raise what they like
        raise ReadoutError(
            f"{type(module).__name__} can't be copied ({reason(error)}); give `FeatureExtractor(network)`, which takes "
            "the network itself."
        ) from error
    for weight in copied.parameters():
        weight.detach_()  # a copy of TorchScript inside a network has a graph
    return copied


def _console(progress: bool) -> Console:
    """One that redraws its line in notebooks too, where rich would want widgets."""
    print_anywhere()
    console = Console(quiet=not progress)
    if not console.is_jupyter:
        return console
    return Console(quiet=not progress, force_jupyter=False, force_terminal=True, width=NOTEBOOK_WIDTH)
