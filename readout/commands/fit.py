"""``fit``: run a sweep."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import readout.callbacks
import readout.data
import readout.extractors
import readout.priors
from readout.commands.console import make_console
from readout.commands.parser import Parser
from readout.data import InputData
from readout.errors import ReadoutError
from readout.inversions import FeatureInversion
from readout.runtime import QUIET, Runtime, explained_misconfiguration, quiet_lightning
from readout.seal import is_damaged
from readout.sweep import Sweep


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
        with explained_misconfiguration():
            return super().instantiate_trainer(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the ``sweep`` section."""
        parser.add_class_arguments(Sweep, "sweep")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without LightningCLI's warning about explicit arguments."""
        self.config = parser.parse_args(args)

    def runtime(self) -> Runtime:
        """What the sweep borrows from the configuration.

        Raises:
            ReadoutError: if there is no whole-numbered seed, or a logger is wanted but not named.
        """
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        seed = config["seed_everything"]
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise ReadoutError("seed_everything must be a whole number: every random number derives from it.")
        loggers = self.config.trainer.logger
        if loggers is True:
            raise ReadoutError(
                "Which logger? Add `--config csv.yaml` or `--config wandb.yaml`, or name a class as `trainer.logger`."
            )
        specs = loggers if isinstance(loggers, list) else [loggers] if loggers else []
        trainer = {key: value for key, value in self.config_init.trainer.items() if key != "logger"}
        return Runtime(
            trainer=trainer,
            loggers=[spec.as_dict() if isinstance(spec, Namespace) else spec for spec in specs],
            config=config,
            seed=seed,
        )


def find_configs(arguments: Sequence[str]) -> list[str]:
    """Replace names of configurations that come with the package by their paths."""
    found = list(arguments)
    for place, argument in enumerate(found):
        if argument in ("--config", "-c") and place + 1 < len(found):
            found[place + 1] = str(find_config(found[place + 1]))
        elif argument.startswith("--config="):
            found[place] = f"--config={find_config(argument.removeprefix('--config='))}"
    return found


def find_config(name: str) -> Path:
    """A configuration file: as named, or if it has no folder, the package's own.

    Raises:
        ReadoutError: if there is none, or it is not YAML.
    """
    path = Path(name)
    package = Path(readout.__file__).parent
    # an installed package carries its configurations; a checkout has them at the top
    shipped = [folder / "lightning_configs" for folder in (package, package.parent)]
    candidates = [path, *(folder / name for folder in shipped if path.parent == Path())]
    for candidate in candidates:
        if candidate.is_file():
            return _checked(candidate)
    names = sorted(file.name for folder in shipped for file in folder.glob("*.yaml"))
    raise ReadoutError(
        f"There is no configuration {name!r}; give the path of a YAML file, or one of {', '.join(names)}."
    )


def _checked(path: Path) -> Path:
    """The path, once it is known to hold YAML; the parser's own complaint would not name the file."""
    try:
        yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = (
            f" (line {error.problem_mark.line + 1})"
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else ""
        )
        raise ReadoutError(f"{str(path)!r} is not valid YAML{where}; correct it.") from error
    if is_damaged(path):
        print(f"{path} was changed since it was written; it is taken as it is.", file=sys.stderr)
    return path
