"""Checks of the command line that need no heavy import."""

import argparse
import ast
import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import yaml

from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.common.seal import is_damaged

PACKAGE = Path(__file__).parent.parent

YAML = (".yaml", ".yml")

OPTIONS = {
    "fit": ("config", "print_config", "seed_everything", "trainer", "model", "data", "sweep"),
    "layers": ("config", "print_config", "model", "size"),
}
OPTIONS["learn"] = (*OPTIONS["fit"][:-1], "output", "executor")
OPTIONS["encode"] = (*OPTIONS["fit"], "responses", "stimuli", "layer", "mask", "folds", "size", "output")
OPTIONS["decode"] = (*OPTIONS["encode"], "test")
OPTIONS["invert"] = (*OPTIONS["fit"], "features", "layer", "layer_weights", "true", "size", "output")
OPTIONS["compare"] = (
    *(*OPTIONS["fit"], "other", "other_layers", "responses", "mask", "measure", "units", "resamples", "sizes"),
    "output",
)
"""Sections and single options that each command takes."""


class Arguments(argparse.ArgumentParser):
    """A parser that raises :class:`ReadoutError` where argparse would print its usage."""

    def error(self, message: str) -> NoReturn:
        """Raise a :class:`ReadoutError` with argparse's message as one sentence."""
        raise ReadoutError(f"{message[0].upper()}{message[1:]}; `{self.prog} --help` lists what is accepted.")


def check(command: str, arguments: Sequence[str]) -> None:
    """Check options, configuration files and folders as far as that needs no heavy library.

    Args:
        command: Name of the command.
        arguments: Arguments after the command.

    Raises:
        ReadoutError: if a configuration is missing, is not YAML or repeats a key, if an option does not exist, or if a
            folder to report on is missing.
    """
    if command == "report":
        for folder in report_arguments(arguments).folders:
            if not user_path(folder).is_dir():
                raise ReadoutError(f"There is no folder {folder!r}; give the output folder of a sweep or of `invert`.")
        return
    for argument in arguments:
        if argument.startswith("--"):
            _check_name(command, argument[2:].partition("=")[0].rstrip("+"), dashes="--")
    configs = [Path(config) for config in _after_config(find_configs(arguments))]
    for config in configs:
        root = _read(config)
        if is_damaged(config):
            print(f"{config} was changed since it was written; it is used as it is.", file=sys.stderr)
        for key, section in root.value if isinstance(root, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                _check_section(command, key, section, config)
    values = [value for argument in arguments for value in (argument, argument.partition("=")[2])]
    for text in (value for value in values if "{" in value):
        with suppress(yaml.YAMLError):  # jsonargparse reports it later
            check_keys(text, repr(text))
    named = [Path(value) for value in values if value.endswith(YAML)]
    _check_files([*named, *configs], set())


def report_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of ``report``.

    Raises:
        ReadoutError: if an argument is missing or unknown.
    """
    parser = Arguments(
        "readout report", description="Rewrite figures and report.html, or compare output folders on one page."
    )
    parser.add_argument("folders", nargs="+", metavar="folder", help="output folder of a sweep, or one of `invert`")
    parser.add_argument(
        "--output",
        help="path of the page; default: report.html, or comparison.html for several folders",
    )
    parser.add_argument(
        "--inputs",
        type=int,
        help="inputs whose recoveries the page embeds; default: about 4 MB of them",
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="first write all recovered inputs that were not written as pictures or texts",
    )
    parsed, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("report", rest[0].partition("=")[0], ["--output", "--inputs", "--pictures"])
    return parsed


def find_configs(arguments: Sequence[str]) -> list[str]:
    """Replace names of shipped configurations by their paths.

    Raises:
        ReadoutError: if there is no such configuration.
    """
    found = list(arguments)
    for place, argument in enumerate(found):
        if argument in ("--config", "-c") and place + 1 < len(found):
            found[place + 1] = str(find_config(found[place + 1]))
        elif argument.startswith("--config="):
            found[place] = f"--config={find_config(argument.removeprefix('--config='))}"
    return found


def find_config(name: str) -> Path:
    """Find a configuration file: the path itself, or a shipped configuration if the name has no folder.

    Raises:
        ReadoutError: if there is no such file, or it is not YAML.

    Examples:
        >>> find_config("vgg_dip.yaml").parent.name
        'lightning_configs'
    """
    path = user_path(name)
    # an installed package contains the configurations; a checkout has them in its root
    shipped = [folder / "lightning_configs" for folder in (PACKAGE, PACKAGE.parent)]
    candidates = [path, *(folder / name for folder in shipped if path.parent == Path())]
    for candidate in candidates:
        if candidate.is_file():
            _read(candidate)
            return candidate
    names = sorted(file.name for folder in shipped for file in folder.glob("*.yaml"))
    near = meant(path.stem, [Path(each).stem for each in names]).replace("?", ".yaml?").replace(" or ", ".yaml or ")
    raise ReadoutError(
        f"There is no configuration {name!r}{near}; give the path of a YAML file, or one of {', '.join(names)}."
    )


def check_keys(text: str, where: str) -> yaml.Node | None:
    """Refuse YAML with a repeated key in a mapping, because YAML would silently keep the last.

    Keys merged by ``<<`` may be overridden; that is their purpose.

    Args:
        text: YAML.
        where: Source of the text, for the error sentence.

    Returns:
        Root node; None for empty text.

    Raises:
        ReadoutError: if a key is repeated.
        yaml.YAMLError: if ``text`` is not YAML.

    Examples:
        >>> check_keys("{lr: 1, steps: 5, lr: 2}", "a.yaml")
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: a.yaml gives 'lr' twice, in line 1 and in line 1; keep one of them.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for mapping in _mappings(root, set()):
        lines: dict[tuple[str, str], int] = {}
        for key, _ in mapping.value:
            named, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if named in lines:
                raise ReadoutError(
                    f"{where} gives {key.value!r} twice, in line {lines[named]} and in line {line}; keep one of them."
                )
            lines[named] = line
    return root


def meant(word: str, known: Iterable[str]) -> str:
    """Suggest known names that contain a word or resemble it, as text to put before a semicolon; empty if none do.

    Examples:
        >>> meant("fti", ["fit", "layers", "invert", "report"])
        ' (did you mean fit?)'
    """
    by_lower = {name.lower(): name for name in known}
    near = [word.lower()] if word.lower() in by_lower else [name for name in by_lower if word.lower() in name][:3]
    near = near or difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {' or '.join(by_lower[name] for name in near)}?)" if near and len(word) > 2 else ""


def unknown(command: str, option: str, known: Iterable[str], where: str = "") -> ReadoutError:
    """Return the error for an option that does not exist."""
    return ReadoutError(
        f"There is no option {option}{where}{meant(option, known)}; `readout {command} --help` lists what is accepted."
    )


def _after_config(arguments: Sequence[str]) -> Iterator[str]:
    for place, argument in enumerate(arguments):
        if argument in ("--config", "-c") and place + 1 < len(arguments):
            yield arguments[place + 1]
        elif argument.startswith("--config="):
            yield argument.removeprefix("--config=")


def _read(path: Path) -> yaml.Node | None:
    """Parse a YAML file into nodes; errors name the file, as the YAML parser's would not."""
    try:
        return check_keys(path.read_text(encoding="utf-8"), repr(str(path)))
    except OSError as error:
        raise ReadoutError(f"{str(path)!r} can't be read ({error.strerror}); make it readable.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = f" (line {mark.line + 1})" if mark else ""
        raise ReadoutError(f"{str(path)!r} is not valid YAML{where}; correct it.") from error


def _mappings(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """Yield all mappings of a document, each once even if aliases lead to it again."""
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node
    for child in node.value:
        for each in child if isinstance(child, tuple) else (child,):
            yield from _mappings(each, seen)


def _check_section(command: str, key: yaml.Node, section: yaml.Node, config: Path) -> None:
    """Check a key of a configuration and the keys directly below it."""
    _check_name(command, str(key.value), where=f" (line {key.start_mark.line + 1} of {str(config)!r})")
    for name, _ in section.value if isinstance(section, yaml.MappingNode) else ():
        where = f" (line {name.start_mark.line + 1} of {str(config)!r})"
        _check_name(command, f"{key.value}.{name.value}".rstrip("+"), where=where)


def _check_name(command: str, name: str, dashes: str = "", where: str = "") -> None:
    """Refuse an unknown section or option, or an unknown argument of the sweep or the trainer."""
    section, _, rest = name.partition(".")
    argument = rest.partition(".")[0]
    known: Sequence[str] = (*OPTIONS[command], "help")
    if section in known:
        names = _arguments(section)
        if not argument or not names or argument in names:
            return
        known = [f"{section}.{each}" for each in names]
    raise unknown(command, f"{dashes}{name}", [f"{dashes}{each}" for each in known], where)


def _check_files(pending: list[Path], seen: set[Path]) -> None:
    """Check YAML files, and the YAML files that they name, for repeated keys."""
    while pending:
        path = pending.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        with suppress(yaml.YAMLError, OSError, UnicodeDecodeError):  # a value that ends in .yaml may be something else
            root = check_keys(path.read_text(encoding="utf-8"), repr(str(path)))
            values = [value.value for mapping in _mappings(root, set()) for _, value in mapping.value]
            pending += [path.parent / value for value in values if isinstance(value, str) and value.endswith(YAML)]


@cache
def _arguments(section: str) -> Sequence[str]:
    """List the arguments of a section's class from its source, because importing it takes seconds."""
    if section == "sweep":
        source, owner = PACKAGE / "sweep" / "sweep.py", "Sweep"
    elif section == "trainer" and (spec := find_spec("lightning")) and spec.origin:
        source, owner = Path(spec.origin).parent / "pytorch" / "trainer" / "trainer.py", "Trainer"
    else:
        return ()
    with suppress(OSError, SyntaxError):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name == owner:
                made = next(each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__")
                named = [each.arg for each in (*made.args.args, *made.args.kwonlyargs)]
                return [*named[1:], "help"]
    return ()
