"""``predict``: recover inputs from features that are given in files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor

from readout.commands.console import make_console
from readout.commands.fit import ReadoutCLI, how_to_build
from readout.commands.parser import Parser
from readout.data.folder import SUFFIXES
from readout.data.images import read_image, resize_and_crop
from readout.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.given.collect import collect
from readout.given.driver import Prediction, check_inversion
from readout.given.joined import extract_several
from readout.given.shapes import as_features
from readout.runtime import quiet_lightning


def run(arguments: Sequence[str]) -> None:
    """Parse, build, read, invert."""
    with quiet_lightning():
        cli = build(arguments)
    config, sweep, inversion = cli.config, cli.config_init["sweep"], cli.model
    check_inversion(inversion)
    extractor = inversion.extractor
    found = collect(config.features, extractor, config.layer or [])
    layers = extractor.resolve({one.layer for one in found})
    example = extractor.example(_size(config, extractor))
    with torch.no_grad():
        shapes = {name: tuple(one.shape[1:]) for name, one in extract_several(extractor, example, layers).items()}
    input_shape = tuple(example.shape[1:])
    features = as_features(found, shapes, extractor.name, input_shape)
    prediction = Prediction(
        layer_weights=config.layer_weights,
        output=config.output,
        resume=sweep.resume,
        threshold=sweep.threshold,
        tolerance=sweep.tolerance,
        batch_size=sweep.batch_size,
        checkpoint_minutes=sweep.checkpoint_minutes,
    )
    true = true_inputs(config.true, list(features), input_shape) if config.true else {}
    prediction.run(inversion, features, input_shape, cli.runtime(), true, make_console())


def build(arguments: Sequence[str]) -> "PredictCLI":
    """Parse the arguments and make everything they name, but for the data."""
    given = how_to_build("predict", "Recover inputs from features in files.", arguments)
    return PredictCLI(**{**given, "parser_class": DatalessParser})


class PredictCLI(ReadoutCLI):
    """The configurations of ``fit``, and features in place of their data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is given, beside the sections of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--features", nargs="+", type=str, help="files or folders: npz, npy, safetensors, mat")
        parser.add_argument("--layer", nargs="+", type=str, default=None, help="layers to take; all that are given")
        parser.add_argument(
            "--layer_weights", type=dict[str, float] | str | None, default=None, help="a weight a layer, or 'balanced'"
        )
        parser.add_argument("--true", type=str | None, default=None, help="folder of true images, matched by name")
        parser.add_argument("--size", type=int | None, default=None, help="side of the images in pixels")
        parser.add_argument("--output", type=str, default="runs/predict", help="folder for everything that comes out")


class DatalessParser(Parser):
    """Takes the section ``data``, and builds nothing of it."""

    def instantiate_classes(self, cfg: Namespace, **kwargs: Any) -> Namespace:
        """See jsonargparse."""
        without = cfg.clone()
        if "data" in without:
            without.data = None
        built: Namespace = super().instantiate_classes(without, **kwargs)
        return built


def true_inputs(folder: str, names: Sequence[str], input_shape: Sequence[int]) -> dict[str, Tensor]:
    """Images whose file names, without suffix, are names of features.

    Args:
        folder: Folder of images; sub-folders are searched too.
        names: Of the features.
        input_shape: (3, height, width), square; images are resized and cropped to it.

    Raises:
        ReadoutError: if there is no such folder, no image fits a name or two do, or one can't be used.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ReadoutError(f"There is no folder {folder!r}; give the path of a folder of true images.")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found and path.stem in names:
            raise ReadoutError(f"Two images in {folder!r} are called {path.stem!r}; keep the one that is meant.")
        found[path.stem] = path
    matched = {name: found[name] for name in names if name in found}
    if not matched:
        raise ReadoutError(
            f"No image in {folder!r} is called as a feature is; those are called {', '.join(map(repr, names[:3]))}"
            f"{' …' if len(names) > 3 else ''}, so give images such as {names[0]}.png."
        )
    images = {name: resize_and_crop(read_image(path), input_shape[-1]) for name, path in matched.items()}
    for name, image in images.items():
        if image.max() == image.min():
            raise ReadoutError(f"The true image of {name!r} is constant, so nothing correlates with it; take it out.")
    return images


def _size(config: Namespace, extractor: FeatureExtractor) -> int:
    """Side of the inputs: as asked for, or that of the configuration's data."""
    size = config.size
    if size is None:
        data: dict[str, Any] = config.data.init_args.as_dict() if config.data and "init_args" in config.data else {}
        size = data.get("size") or (list(data.get("shape") or []) or [None])[-1]
    if size is None:
        if extractor.example(64).shape != extractor.example(128).shape:
            raise ReadoutError("The configuration does not say how large images are; give their side as --size.")
        return 64
    if size < 1:
        raise ReadoutError(f"--size is {size}; give the side of the images in pixels.")
    return int(size)
