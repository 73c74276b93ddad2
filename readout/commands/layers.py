"""The command ``layers``: list a model's layers and the sizes of their features."""

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from readout.commands.parser import Parser
from readout.common.checks import check_whole
from readout.common.terminal import make_console
from readout.extractors import FeatureExtractor


def run(arguments: Sequence[str]) -> None:
    """Build the model, run it once and print its layers."""
    parser = Parser(prog="readout layers", description="List the layers of a model.")
    parser.add_subclass_arguments(FeatureExtractor, "model", required=True, help="class name or import path")
    parser.add_argument(
        "--size", type=int, default=224, help="side of the input image in pixels, or number of tokens of a text"
    )
    config = parser.parse_args(list(arguments))
    check_whole("--size", config.size, 1, hint=": the side of the image in pixels, or a number of tokens")
    extractor: FeatureExtractor = parser.instantiate_classes(config).model
    shapes = extractor.shapes(extractor.example(config.size))
    example = tuple(extractor.example(config.size).shape[1:])
    table = Table(
        title=Text(f"{extractor.name} ({extractor.weights_name}), inputs of {_times(example)}"),
        title_justify="left",
    )
    table.add_column("layer")
    table.add_column("shape", justify="right")
    table.add_column("dimension", justify="right")
    table.add_column("× input", justify="right")
    for layer, shape in shapes.items():
        dimension = math.prod(shape)
        table.add_row(Text(layer), _times(shape), f"{dimension:,}", f"{dimension / math.prod(example):.2f}")
    make_console().print(table)


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
