"""Running things as a user would."""

import atexit
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

from readout import cli
from readout.sweep.runtime import Runtime

CPU = {"accelerator": "cpu", "devices": 1}


def runtime(steps: int, precision: str = "32-true", **more: Any) -> Runtime:
    """A silent runtime on the CPU."""
    return Runtime(trainer={**CPU, "max_steps": steps, "precision": precision}, **more)


class Command(ForkServerProcess):
    """``python -m readout.cli`` in a process of its own, forked from one that has already imported what takes seconds.

    Args:
        arguments: Command and options.
        cwd: Working directory.
        limit: Size in bytes that no file may exceed, if any.
        environment: Environment variables to add.
    """

    def __init__(
        self, *arguments: str, cwd: Path, limit: int | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(daemon=True)
        self.arguments, self.cwd, self.limit = arguments, cwd, limit
        self.environment = {**os.environ, "WANDB_SILENT": "true", "COLUMNS": "160", **(environment or {})}
        folder = Path(tempfile.mkdtemp())
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        self.start()

    def run(self) -> None:
        """Become the command: its directory, environment, arguments, output, signals and limits."""
        for path, stream in ((self.stdout, sys.stdout), (self.stderr, sys.stderr)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.cwd)
        sys.argv = ["readout", *self.arguments]
        # tests run in the background of a shell inherit an ignored Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))
        try:
            cli.entry_point()
        finally:
            atexit._run_exitfuncs()  # multiprocessing leaves them out

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self.pid is not None
        os.kill(self.pid, number)

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end; return exit code, standard output and standard error."""
        self.join(600)
        assert self.exitcode is not None, self.stderr.read_text()
        return self.exitcode, self.stdout.read_text(), self.stderr.read_text()


multiprocessing.get_context("forkserver").set_forkserver_preload(
    [*(f"readout.commands.{name}" for name in ("fit", "invert", "layers", "compare")), "readout.analysis.report"]
)


def run_cli(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a process of its own."""
    return subprocess.CompletedProcess(arguments, *Command(*arguments, cwd=cwd, environment=environment).finish())


def tiny_config(output: Path, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep that takes a second: a tiny network, two noise images, few steps."""
    config: dict[str, Any] = {
        "seed_everything": 0,
        "model": {
            "class_path": "ImageInversion",
            "init_args": {
                "extractor": {"class_path": "tests.tiny.TinyNet"},
                "prior": {"class_path": "Pixels"},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.05}},
                "record_every": 5,
            },
        },
        "data": {"class_path": "UniformNoise", "init_args": {"count": 2, "shape": [3, 16, 16]}},
        "sweep": {"layers": ["early", "middle"], "levels": [0, 0.5], "output": str(output), "batch_size": 2},
        "trainer": {**CPU, "max_steps": 10},
    }
    for name, section in sections.items():
        config[name] = {**config[name], **section} if isinstance(config[name], dict) else section
    return config


def write_config(path: Path, config: Mapping[str, Any]) -> Path:
    """Write a configuration as YAML."""
    path.write_text(yaml.safe_dump(dict(config)))
    return path


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file with its floats to the last digit, which pandas 2 may change when it parses them itself."""
    table = pd.read_csv(path)
    floats = list(table.select_dtypes("float"))
    return table.assign(**pd.read_csv(path, dtype=str)[floats].astype(float))


def write_noise_images(folder: Path, side: int, count: int = 2) -> None:
    """PNG files of seeded noise, ``0.png`` and so on."""
    for index in range(count):
        generator = torch.Generator().manual_seed(index)
        pixels = torch.randint(0, 255, (side, side, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")


def damaged(content: bytes, generator: np.random.Generator) -> bytes:
    """The same with bytes overwritten, or cut short."""
    if generator.random() < 0.3:
        return content[: int(generator.integers(len(content)))]
    values = np.frombuffer(content, dtype=np.uint8).copy()
    for place in generator.integers(min(len(values), 200), size=4):  # headers come first
        values[place] = generator.integers(256)
    return values.tobytes()
