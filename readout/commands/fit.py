"""``fit``: run a sweep."""

from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from readout.callbacks.loggers import is_disabled
from readout.commands.early import find_configs
from readout.commands.parser import Parser
from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.common.terminal import make_console
from readout.data import InputData
from readout.inversions import FeatureInversion
from readout.sweep import Sweep
from readout.sweep.runtime import (
    QUIET,
    Runtime,
    check_trainer,
    explained_misconfiguration,
    one_process,
    quiet_lightning,
)


def run(arguments: Sequence[str]) -> None:
    """Parse, build, sweep."""
    with quiet_lightning():
        cli = build(arguments)
    cli.config_init["sweep"].run(cli.model, cli.datamodule, cli.runtime(), make_console())


def build(arguments: Sequence[str]) -> "ReadoutCLI":
    """Parse the arguments and make everything they name."""
    return ReadoutCLI(**how_to_build("fit", "Measure representation sizes.", arguments))


def how_to_build(command: str, description: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Arguments of :class:`ReadoutCLI` for a command."""
    return {
        "model_class": FeatureInversion,
        "datamodule_class": InputData,
        "subclass_mode_model": True,
        "subclass_mode_data": True,
        "parser_class": Parser,
        "parser_kwargs": {"prog": f"readout {command}", "description": description, "allow_abbrev": False},
        "save_config_callback": None,  # the configuration is kept with the results
        "trainer_defaults": {**QUIET, "logger": False},
        "seed_everything_default": 0,
        "auto_configure_optimizers": False,
        "args": find_configs(arguments),
        "run": False,
    }


class ReadoutCLI(LightningCLI):
    """LightningCLI with a ``sweep`` section."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A first Trainer, so that settings Lightning refuses come to light before anything runs."""
        plugins = one_process(self.config_init.trainer.plugins)
        with explained_misconfiguration():
            return super().instantiate_trainer(**kwargs, plugins=plugins)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the ``sweep`` section."""
        parser.add_class_arguments(Sweep, "sweep")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without LightningCLI's warning about explicit arguments, and check what needs nothing built.

        Raises:
            ReadoutError: if seed or trainer can't be used.
        """
        self.config = parser.parse_args(args)
        check_seed("seed_everything", self.config.seed_everything)
        check_trainer(self.config.trainer)

    def runtime(self) -> Runtime:
        """What the sweep borrows from the configuration.

        Raises:
            ReadoutError: if a logger is wanted but not named.
        """
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        loggers = self.config.trainer.logger
        if loggers is True:
            raise ReadoutError(
                "Which logger? Add `--config csv.yaml` or `--config wandb.yaml`, or name a class as `trainer.logger`."
            )
        specs = loggers if isinstance(loggers, list) else [loggers] if loggers else []
        specs = [spec for spec in specs if not is_disabled(spec["class_path"])]
        trainer = {key: value for key, value in self.config_init.trainer.items() if key != "logger"}
        return Runtime(
            trainer=trainer,
            loggers=[spec.as_dict() if isinstance(spec, Namespace) else spec for spec in specs],
            config=config,
            seed=config["seed_everything"],
        )
