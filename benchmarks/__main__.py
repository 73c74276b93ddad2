"""``python -m benchmarks``: measure, print tables, write JSON and Markdown."""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import machine
from benchmarks.driver import Pacing, Refused
from benchmarks.options import LAYERS, SIZES, Options
from benchmarks.suites import (
    ablation,
    architectures,
    codes,
    floor,
    memory,
    pixels,
    readouts,
    reference,
    scale,
    scaling,
    size,
    speed,
    text_memory,
    texts,
    workers,
)
from benchmarks.table import Table
from benchmarks.work import Work

SUITES: dict[str, Callable[[Options], Table]] = {
    "speed": speed.run,
    "pixels": pixels.run,
    "texts": texts.run,
    "floor": floor.run,
    "ablation": ablation.run,
    "scaling": scaling.run,
    "memory": memory.run,
    "text_memory": text_memory.run,
    "size": size.run,
    "readouts": readouts.run,
    "codes": codes.run,
    "scale": scale.run,
    "workers": workers.run,
    "reference": reference.run,
    "architectures": architectures.run,
}
LONG = ("reference", "architectures")
"""Suites that run only if named by ``--only``."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen suites one after the other."""
    arguments = _parser().parse_args(argv)
    quick = arguments.quick
    options = Options(
        pacing=Pacing(arguments.rounds or (3 if quick else 9), arguments.seconds),
        threads=arguments.threads,
        layers=tuple(arguments.layers or (("conv2_1",) if quick else LAYERS)),
        sizes=tuple(arguments.sizes or ((64,) if quick else SIZES)),
        quick=quick,
        work=Work(device=arguments.device, weights=arguments.weights),
        reference=arguments.reference,
    )
    console = Console(width=None if Console().is_terminal else 160)
    described = machine.describe(options.threads, arguments.device)
    console.print(machine.sentence(described))
    written: dict[str, Any] = {
        "machine": described,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tables": {},
    }
    target, pages = Path(arguments.json), [machine.sentence(described) + "\n"]
    for name in arguments.only or [name for name in SUITES if name not in LONG]:
        with console.status(f"{name} …"):
            table = _run(SUITES[name], options, name)
        table.show(console)
        written["tables"][name] = {"title": table.title, "rows": table.rows, "notes": table.notes}
        # written after every suite, so that a failure in a later one loses nothing
        target.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        pages.append(table.markdown())
        target.with_suffix(".md").write_text("\n".join(pages), encoding="utf-8")
    console.print(f"written to {target} and, for reading, {target.with_suffix('.md').name}")


def _run(suite: Callable[[Options], Table], options: Options, name: str) -> Table:
    try:
        return suite(options)
    except Refused as refused:
        return Table(name, notes=[str(refused)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one layer, one size, few turns: minutes")
    parser.add_argument("--only", nargs="+", choices=SUITES, metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--json", default="benchmarks.json", help="output file (default: %(default)s)")
    parser.add_argument("--layers", nargs="+", help="layers of VGG19")
    parser.add_argument("--sizes", nargs="+", type=int, help="side of the image in pixels")
    parser.add_argument("--rounds", type=int, help="number of turns of each side")
    parser.add_argument("--seconds", type=float, default=0.5, help="least duration of a turn (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of each side")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="device of all sides")
    parser.add_argument("--weights", default="normalized", choices=["normalized", "random"], help="weights of VGG19")
    parser.add_argument(
        "--reference",
        default=Options.reference,
        metavar="FOLDER",
        help="folder in which `--only reference` keeps its runs of the paper's protocol (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
