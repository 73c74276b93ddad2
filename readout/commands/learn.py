"""The command ``learn``: learn a dictionary from the features of a layer."""

from collections.abc import Sequence

from lightning.pytorch.cli import LightningArgumentParser

from readout.analysis.report import PAGE
from readout.commands.fit import ReadoutCLI, cli_arguments
from readout.common.files import user_path
from readout.common.terminal import make_console, say_where
from readout.learning import Activations, DictionaryLearner, learn
from readout.sweep.runtime import quiet_lightning


def run(arguments: Sequence[str]) -> None:
    """Learn a dictionary as the arguments say."""
    console = make_console()
    with quiet_lightning():
        given = cli_arguments("learn", "Learn a dictionary of sparse codes from the features of a layer.", arguments)
        classes = {"model_class": DictionaryLearner, "datamodule_class": Activations, "subclass_mode_data": False}
        cli = _LearnCLI(**{**given, **classes})
        output = cli.config_init["output"]
        learn(cli.model, cli.datamodule, output, cli.runtime(), console)
    say_where(console, user_path(output) / PAGE)


class _LearnCLI(ReadoutCLI):
    """A LightningCLI with an output folder in place of a sweep."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the output folder."""
        parser.add_argument("--output", type=str, default="runs/learn", help="output folder")
