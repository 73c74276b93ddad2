"""The command ``fit``: run a sweep."""

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
from readout.readouts import Readout
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
    """Run a sweep as the arguments say."""
    with quiet_lightning():
        cli = build(arguments)
    cli.config_init["sweep"].run(cli.model, cli.datamodule, cli.runtime(), make_console())


def build(arguments: Sequence[str]) -> "ReadoutCLI":
    """Parse the arguments and instantiate everything that they name."""
    return ReadoutCLI(**cli_arguments("fit", "Measure representation sizes.", arguments))


def cli_arguments(command: str, description: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of :class:`ReadoutCLI` for a command."""
    return {
        "model_class": Readout,
        "datamodule_class": InputData,
        "subclass_mode_model": True,
        "subclass_mode_data": True,
        "parser_class": Parser,
        "parser_kwargs": {"prog": f"readout {command}", "description": description, "allow_abbrev": False},
        "save_config_callback": None,  # the store keeps the configuration with the results
        "trainer_defaults": {**QUIET, "logger": False},
        "seed_everything_default": 0,
        "auto_configure_optimizers": False,
        "args": find_configs(arguments),
        "run": False,
    }


class ReadoutCLI(LightningCLI):
    """A LightningCLI with a ``sweep`` section."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build a Trainer that never fits, so that Lightning refuses bad settings before anything runs."""
        plugins = one_process(self.config_init.trainer.plugins)
        with explained_misconfiguration():
            return super().instantiate_trainer(**kwargs, plugins=plugins)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the ``sweep`` section."""
        parser.add_class_arguments(Sweep, "sweep")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without LightningCLI's warning about explicit arguments, and check seed and trainer.

        Raises:
            ReadoutError: if the seed or the trainer can't be used.
        """
        self.config = parser.parse_args(args)
        check_seed("seed_everything", self.config.seed_everything)
        check_trainer(self.config.trainer)

    def runtime(self) -> Runtime:
        """Return the trainer, loggers and seed of the configuration, which a sweep uses for every batch.

        Raises:
            ReadoutError: if ``trainer.logger`` is true, which names no logger.
        """
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        loggers = self.config.trainer.logger
        if loggers is True:
            raise ReadoutError(
                "trainer.logger is true, which names no logger; add `--config csv.yaml` or `--config wandb.yaml`, or "
                "set trainer.logger to a class."
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
