"""The command ``encode``: predict responses, such as a brain's, from the features of a layer."""

from collections.abc import Sequence
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from readout.commands.fit import ReadoutCLI, cli_arguments
from readout.commands.invert import DatalessParser, image_side
from readout.common.checks import check_layer_names, check_whole
from readout.common.errors import ReadoutError
from readout.common.files import user_path, write_whole
from readout.common.terminal import make_console, say
from readout.encoding.encode import encode, in_words
from readout.encoding.model import LAYER
from readout.encoding.responses import read_responses
from readout.encoding.stimuli import find_stimuli, stimulus_features
from readout.sweep.runtime import quiet_lightning

CONFIG = "encoding.yaml"
"""Name of the configuration that puts the encoding model in place of its network."""

RESPONSES = "file of responses: npz, mat, safetensors, h5 (BData), nii"
MASK = "NIfTI: an image; BData: a key of columns"
"""Help texts of options, shared with ``compare``."""


def run(arguments: Sequence[str]) -> None:
    """Fit an encoding model as the arguments say."""
    with quiet_lightning():
        cli = build("encode", "Predict responses to images from the features of a layer.", arguments)
        extractor = cli.extractor()
    config, console = cli.config, make_console()
    responses = read_responses(config.responses, config.mask)
    stimuli = find_stimuli(responses.names, config.stimuli, extractor, image_side(config, extractor))
    extractor.find_layers(stimuli[:1])
    if len(layers := extractor.resolve(config.layer)) > 1:
        raise ReadoutError(f"--layer names {len(layers)} layers; give one here.")
    output = user_path(config.output)
    with console.status("encoding"):
        features = stimulus_features(extractor, layers[0], stimuli)
        table = encode(extractor, layers[0], features, responses, output, config.folds, config.seed_everything)
    init = {"path": config.output, "extractor": config.model.init_args.extractor.as_dict()}
    model = {"extractor": {"class_path": "readout.encoding.EncodingModel", "init_args": init}}
    whole = {"model": {"init_args": model}, "sweep": {"layers": LAYER}}
    written = yaml.safe_dump(whole, sort_keys=False)
    write_whole(output / CONFIG, lambda file: file.write_text(written, encoding="utf-8"))
    for sentence in in_words(table, responses):
        say(console, sentence)
    say(console, f"Sizes of predicted responses: add --config {config.output}/{CONFIG} to a command `fit`.")


def build(command: str, description: str, arguments: Sequence[str]) -> "ResponsesCLI":
    """Parse the arguments and instantiate everything that they name, except the data."""
    cli = cli_arguments(command, description, arguments)
    return ResponsesCLI(**{**cli, "parser_class": DatalessParser})


class ResponsesCLI(ReadoutCLI):
    """A CLI that takes configurations of ``fit``, with responses and stimuli in place of data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of ``encode`` and ``decode`` to the sections of ``fit``."""
        super().add_arguments_to_parser(parser)
        command = parser.prog.rpartition(" ")[2]
        parser.add_argument("--responses", type=str, help=RESPONSES)
        parser.add_argument("--stimuli", type=str, help="folder of the images, matched by name")
        parser.add_argument("--layer", nargs="+", type=str, help="layer, or several to decode")
        parser.add_argument("--mask", type=str | None, default=None, help=MASK)
        parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation")
        parser.add_argument("--size", type=int | None, default=None, help="side of the images in pixels")
        parser.add_argument("--output", type=str, default=f"runs/{command}", help="output folder")
        if command == "decode":
            parser.add_argument("--test", type=str | None, default=None, help="file of other responses, to be decoded")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and check what all responses need."""
        super().parse_arguments(parser, args)
        for name in ("responses", "stimuli", "layer"):
            if not self.config[name]:
                raise ReadoutError(f"--{name} must be set; `{parser.prog} --help` lists what is accepted.")
        self.config.layer = [name for names in self.config.layer for name in check_layer_names("--layer", names)]
        check_whole("--folds", self.config.folds, 2)

    def extractor(self) -> Any:
        """Return the network, on the device of the trainer."""
        device = self.runtime().make_bare_trainer().strategy.root_device
        extractor = self.model.extractor.to(device)
        extractor.lay_out(device)
        return extractor
