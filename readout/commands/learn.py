"""The command ``learn``: learn a dictionary from the features of a layer."""

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.cli import LightningArgumentParser

from readout.analysis.report import PAGE
from readout.commands.fit import ReadoutCLI, cli_arguments
from readout.common.terminal import make_console, say_where
from readout.executors import Executor
from readout.learning import Activations, DictionaryLearner
from readout.learning.learn import learn_layers
from readout.sweep.runtime import quiet_lightning


def run(arguments: Sequence[str]) -> None:
    """Learn a dictionary as the arguments say."""
    console = make_console()
    with quiet_lightning():
        given = cli_arguments("learn", "Learn a dictionary of sparse codes from the features of a layer.", arguments)
        classes = {"model_class": DictionaryLearner, "datamodule_class": Activations, "subclass_mode_data": False}
        cli = _LearnCLI(**{**given, **classes})
        output = cli.config_init["output"]
        learned = learn_layers(cli.model, cli.datamodule, output, cli.runtime(), console, cli.config_init["executor"])
    for found in learned.values():
        say_where(console, Path(found.dictionary.path) / PAGE)


class _LearnCLI(ReadoutCLI):
    """A LightningCLI with an output folder in place of a sweep."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add output folder and executor."""
        parser.add_argument("--output", type=str, default="runs/learn", help="output folder")
        parser.add_argument("--executor", type=Executor | None, default=None, help="where layers are learnt")
