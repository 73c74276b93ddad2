"""Running things as a user would."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from readout.sweep.runtime import Runtime

CPU = {"accelerator": "cpu", "devices": 1}


def runtime(steps: int, precision: str = "32-true", **more: Any) -> Runtime:
    """A silent runtime on the CPU."""
    return Runtime(trainer={**CPU, "max_steps": steps, "precision": precision}, **more)


def run_cli(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m readout.cli`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "readout.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "WANDB_SILENT": "true", "COLUMNS": "160", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


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
