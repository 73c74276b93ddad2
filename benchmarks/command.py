"""Run ``python -m readout.cli fit`` as a user would."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.driver import ROOT


def fit(output: Path, layer: str, images: Sequence[str], levels: Sequence[float], *more: str) -> float:
    """Sweep over photographs at 64 pixels, from vgg_dip.yaml.

    Args:
        output: Output folder.
        layer: Layer of VGG19.
        images: Names of photographs.
        levels: Perturbation levels.
        more: Further arguments; configurations among them override vgg_dip.yaml.

    Returns:
        Duration of the command in seconds, including start and report.

    Raises:
        RuntimeError: if the command fails.
    """
    configurations = [part for part in more if part.endswith(".yaml")]
    arguments = [part for part in more if not part.endswith(".yaml")]
    command = [sys.executable, "-m", "readout.cli", "fit"]
    for name in ("vgg_dip.yaml", *configurations):
        command += ["--config", name]
    command += ["--data.names", f"[{', '.join(images)}]", "--sweep.layers", f"[{layer}]"]
    command += ["--sweep.levels", str(list(levels)), "--sweep.output", str(output), "--trainer.callbacks", "null"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started
