"""The command line: ``python -m readout.cli COMMAND``.

Nothing heavy is imported until a command runs, so that ``--help`` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from readout.commands.early import Arguments, check, meant
from readout.common.errors import ReadoutError, user_error
from readout.common.memory import keep_freed_memory
from readout.common.signals import KEPT, leave_on_signals
from readout.common.terminal import print_anywhere
from readout.version import __version__

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

COMMANDS = {
    "fit": "measure representation sizes: perturb features, recover inputs, report",
    "learn": "learn a dictionary of sparse codes from the features of a layer",
    "layers": "list the layers of a model, with the shapes and dimensions of their features",
    "compare": "compare layers with each other, with another model or with responses",
    "encode": "predict responses, such as a brain's, from the features of a layer",
    "decode": "predict features of layers from responses, for invert",
    "invert": "recover inputs from external features in files",
    "report": "rewrite figures and report.html of an output folder",
}

DESCRIPTION = """\
How far can a network's feature move before its input is lost?

  python -m readout.cli fit --config vgg_dip.yaml
      a first result in a few minutes on a laptop
  python -m readout.cli fit --config vgg_dip.yaml --config paper.yaml --data.folder IMAGES
      the paper's protocol, for a GPU
  python -m readout.cli fit --config vgg_dip.yaml --sweep.layers '[conv1_2, conv3_1]' --sweep.levels '[0, 0.5]'
      anything in a configuration can be set on the command line; later --config files win over earlier ones
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments; default: those of the process.

    Returns:
        Exit code: 0 on success, 2 after an error that the user can correct, 130 after Ctrl-C, 143 after SIGTERM.

    Examples:
        >>> main(["report", "no_such_folder"])  # prints the error to stderr
        2
    """
    print_anywhere()
    # Threads of GNU OpenMP spin while they wait, which made steps up to 40 times slower beside another busy process.
    # Spinning briefly avoids that and costs 5 % of the speed on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    keep_freed_memory()
    sys.path.insert(0, os.getcwd())  # finds the user's own classes, as `python -m` does
    try:
        command, rest = _command(argv)
        check(command, rest)
        import_module(f"readout.commands.{command}").run(rest)
    except (KeyboardInterrupt, SystemExit) as stop:
        sentence, code = _interrupted(stop)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        return code
    except Exception as error:
        reported = user_error(error)
        if reported is None:
            raise
        print(f"error: {reported}", file=sys.stderr)
        return 2
    return 0


def _command(argv: Sequence[str] | None) -> tuple[str, list[str]]:
    """Split arguments into the command and the rest.

    Raises:
        ReadoutError: if there is no such command.
    """
    parser = Arguments("readout", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"readout {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    first = next(iter(sys.argv[1:] if argv is None else argv), "")
    if first and not first.startswith("-") and first not in COMMANDS:
        *others, last = COMMANDS
        choices = f"{', '.join(others)} or {last}"
        raise ReadoutError(f"There is no command {first!r}{meant(first, COMMANDS)}; choose {choices}.")
    arguments, rest = parser.parse_known_args(argv)
    return arguments.command, rest


def _interrupted(stop: KeyboardInterrupt | SystemExit) -> tuple[str | None, int]:
    """Return the sentence and exit code of an interruption; no sentence for any other exit."""
    if isinstance(stop, SystemExit):
        sentence = getattr(stop, "sentence", None)  # readout.common.signals.Terminated
        if sentence is not None:
            return sentence, int(str(stop.code))
        if not isinstance(stop.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into an exit
            return None, 0
    said = str(stop) if isinstance(stop, KeyboardInterrupt) else ""
    return said or f"Stopped; {KEPT}", INTERRUPTED


def entry_point() -> None:
    """Run the ``readout`` script."""
    leave_on_signals()
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
