"""``invert``: recover inputs from features that are given in files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor

from readout.commands.fit import ReadoutCLI, how_to_build
from readout.commands.parser import Parser
from readout.common.checks import check_layer_names, check_layer_weights, check_side
from readout.common.errors import ReadoutError
from readout.common.terminal import make_console, say
from readout.external.collect import Found, collect
from readout.external.doubts import doubt
from readout.external.joined import extract_several
from readout.external.shapes import Features, as_features
from readout.external.texts import as_text_features, true_texts
from readout.external.true import true_images
from readout.extractors import FeatureExtractor
from readout.inversions import TextInversion
from readout.sweep.external import ExternalSweep
from readout.sweep.runtime import quiet_lightning


def run(arguments: Sequence[str]) -> None:
    """Parse, build, read, invert."""
    with quiet_lightning():
        cli = build(arguments)
    config, sweep, inversion = cli.config, cli.config_init["sweep"], cli.model
    found = collect(config.features, inversion.extractor, config.layer or [])
    if isinstance(inversion, TextInversion):
        given = _of_texts(config, inversion, found)
    else:
        given = _of_images(config, inversion.extractor, found)
    console = make_console()
    if given.doubt:
        say(console, f"warning: {given.doubt}")
    options = replace(sweep.options, output=Path(config.output))
    driver = ExternalSweep(options, config.layer_weights, sweep.plan_only)
    driver.run(inversion, given.features, given.input_shape, cli.runtime(), given.true, console)


def build(arguments: Sequence[str]) -> "InvertCLI":
    """Parse the arguments and make everything they name, but for the data."""
    given = how_to_build("invert", "Recover inputs from features in files.", arguments)
    return InvertCLI(**{**given, "parser_class": DatalessParser})


class InvertCLI(ReadoutCLI):
    """The configurations of ``fit``, and features in place of their data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is given, beside the sections of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--features", nargs="+", type=str, help="files or folders: npz, npy, safetensors, mat")
        parser.add_argument("--layer", nargs="+", type=str, default=None, help="layers to take; all that are given")
        parser.add_argument(
            "--layer_weights", type=str | dict[str, float] | None, default=None, help="a weight a layer, or 'balanced'"
        )
        parser.add_argument(
            "--true", type=str | None, default=None, help="folder of true images, or of texts (.txt), matched by name"
        )
        parser.add_argument("--size", type=int | None, default=None, help="side of the images in pixels")
        parser.add_argument("--output", type=str, default="runs/predict", help="folder for everything that comes out")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and take lists of layers apart."""
        super().parse_arguments(parser, args)
        named = [name for given in self.config.layer or () for name in check_layer_names("--layer", given)]
        self.config.layer = named or None
        self.config.layer_weights = check_layer_weights("--layer_weights", self.config.layer_weights)


class Given(NamedTuple):
    """What is given, in the shapes that the network has."""

    features: Features
    input_shape: tuple[int, ...] | None
    """None for texts."""
    true: dict[str, Tensor]
    """Those of true inputs that are known."""
    doubt: str | None = None
    """Why they may be of another network."""


class DatalessParser(Parser):
    """Takes the section ``data``, and builds nothing of it."""

    def instantiate_classes(self, cfg: Namespace, **kwargs: Any) -> Namespace:
        """See jsonargparse."""
        without = cfg.clone()
        if "data" in without:
            without.data = None
        built: Namespace = super().instantiate_classes(without, **kwargs)
        return built


def _of_images(config: Namespace, extractor: FeatureExtractor, found: Sequence[Found]) -> Given:
    noise = torch.rand(extractor.example(_size(config, extractor)).shape, generator=torch.Generator().manual_seed(0))
    extractor.find_layers(noise)
    own = _own_features(extractor, noise, found)
    input_shape = tuple(noise.shape[1:])
    features = as_features(found, _shapes(own), extractor.name, input_shape)
    true = true_images(config.true, features, input_shape) if config.true else {}
    return Given(features, input_shape, true, doubt(features, own, f"{extractor.name} ({extractor.weights_name})"))


def _of_texts(config: Namespace, inversion: TextInversion, found: Sequence[Found]) -> Given:
    if config.size is not None:
        raise ReadoutError("--size is for images; how many tokens a text has follows from its feature. Leave it out.")
    shapes = _shapes(_own_features(inversion.extractor, inversion.extractor.example(1), found))
    features = as_text_features(found, {layer: width for layer, (_, width) in shapes.items()}, inversion)
    return Given(features, None, true_texts(config.true, features, inversion) if config.true else {})


@torch.no_grad()
def _own_features(extractor: FeatureExtractor, example: Tensor, found: Sequence[Found]) -> dict[str, Tensor]:
    """What the network itself gives at the layers that were found, in its order."""
    return extract_several(extractor, example, extractor.resolve({one.layer for one in found}))


def _shapes(own: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Without the batch."""
    return {layer: tuple(feature.shape[1:]) for layer, feature in own.items()}


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
    return check_side("--size", size)
