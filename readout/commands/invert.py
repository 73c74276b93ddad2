"""The command ``invert``: recover inputs from external features in files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor

from readout.commands.fit import ReadoutCLI, cli_arguments
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
from readout.readouts import TextInversion
from readout.sweep.external import ExternalSweep
from readout.sweep.runtime import quiet_lightning


def run(arguments: Sequence[str]) -> None:
    """Read external features and invert them as the arguments say."""
    with quiet_lightning():
        cli = build(arguments)
    config, sweep, inversion = cli.config, cli.config_init["sweep"], cli.model
    found = collect(config.features, inversion.extractor, config.layer or [])
    if isinstance(inversion, TextInversion):
        external = _text_features(config, inversion, found)
    else:
        external = _image_features(config, inversion.extractor, found)
    console = make_console()
    if external.doubt:
        say(console, f"warning: {external.doubt}")
    options = replace(sweep.options, output=Path(config.output))
    driver = ExternalSweep(options, config.layer_weights, sweep.plan_only)
    driver.run(inversion, external.features, external.input_shape, cli.runtime(), external.true, console)


def build(arguments: Sequence[str]) -> "InvertCLI":
    """Parse the arguments and instantiate everything that they name, except the data."""
    cli = cli_arguments("invert", "Recover inputs from external features in files.", arguments)
    return InvertCLI(**{**cli, "parser_class": DatalessParser})


class InvertCLI(ReadoutCLI):
    """A CLI that takes configurations of ``fit``, with external features in place of data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of ``invert`` to the sections of ``fit``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--features", nargs="+", type=str, help="files or folders: npz, npy, safetensors, mat")
        parser.add_argument("--layer", nargs="+", type=str, default=None, help="layers to take; default: all found")
        parser.add_argument(
            "--layer_weights",
            type=str | dict[str, float] | None,
            default=None,
            help="weight per layer, or 'balanced'",
        )
        parser.add_argument(
            "--true", type=str | None, default=None, help="folder of true images, or of texts (.txt), matched by name"
        )
        parser.add_argument("--size", type=int | None, default=None, help="side of the images in pixels")
        parser.add_argument("--output", type=str, default="runs/invert", help="output folder")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and flatten lists of layers."""
        super().parse_arguments(parser, args)
        named = [name for names in self.config.layer or () for name in check_layer_names("--layer", names)]
        self.config.layer = named or None
        self.config.layer_weights = check_layer_weights("--layer_weights", self.config.layer_weights)


class External(NamedTuple):
    """External features in the shapes of the network's layers, with the true inputs that are known."""

    features: Features
    input_shape: tuple[int, ...] | None
    """None for texts."""
    true: dict[str, Tensor]
    """Known true inputs by name."""
    doubt: str | None = None
    """Sign that the features come from another network."""


class DatalessParser(Parser):
    """A parser that accepts the section ``data`` without instantiating it."""

    def instantiate_classes(self, cfg: Namespace, **kwargs: Any) -> Namespace:
        """See jsonargparse."""
        without = cfg.clone()
        if "data" in without:
            without.data = None
        built: Namespace = super().instantiate_classes(without, **kwargs)
        return built


def _image_features(config: Namespace, extractor: FeatureExtractor, found: Sequence[Found]) -> External:
    shape = extractor.example(image_side(config, extractor)).shape
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    extractor.find_layers(noise)
    own = _own_features(extractor, noise, found)
    input_shape = tuple(noise.shape[1:])
    features = as_features(found, _shapes(own), extractor.name, input_shape)
    true = true_images(config.true, features, input_shape) if config.true else {}
    return External(features, input_shape, true, doubt(features, own, f"{extractor.name} ({extractor.weights_name})"))


def _text_features(config: Namespace, inversion: TextInversion, found: Sequence[Found]) -> External:
    if config.size is not None:
        raise ReadoutError("--size is for images, and the length of a text follows from its feature; leave it out.")
    shapes = _shapes(_own_features(inversion.extractor, inversion.extractor.example(1), found))
    features = as_text_features(found, {layer: width for layer, (_, width) in shapes.items()}, inversion)
    return External(features, None, true_texts(config.true, features, inversion) if config.true else {})


@torch.no_grad()
def _own_features(extractor: FeatureExtractor, example: Tensor, found: Sequence[Found]) -> dict[str, Tensor]:
    """Extract the network's own features of an example at the layers found, in the network's order."""
    return extract_several(extractor, example, extractor.resolve({one.layer for one in found}))


def _shapes(own: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes without the batch dimension."""
    return {layer: tuple(feature.shape[1:]) for layer, feature in own.items()}


def image_side(config: Namespace, extractor: FeatureExtractor) -> int:
    """Return the side of the images: --size, or that of the configuration's data."""
    size = config.size
    if size is None:
        data: dict[str, Any] = config.data.init_args.as_dict() if config.data and "init_args" in config.data else {}
        size = data.get("size") or (list(data.get("shape") or []) or [None])[-1]
    if size is None:
        if extractor.example(64).shape != extractor.example(128).shape:
            raise ReadoutError("The configuration does not set the size of images; give their side as --size.")
        return 64
    return check_side("--size", size)
