"""What can be said of a command line before anything heavy is imported."""

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
OPTIONS["invert"] = (*OPTIONS["fit"], "features", "layer", "layer_weights", "true", "size", "output")
"""What a command takes: sections and single options, by command."""


class Arguments(argparse.ArgumentParser):
    """Raises :class:`ReadoutError` where argparse would print its usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence."""
        raise ReadoutError(f"{message[0].upper()}{message[1:]}; `{self.prog} --help` lists what is accepted.")


def check(command: str, arguments: Sequence[str]) -> None:
    """Check what needs neither the network nor a heavy library.

    Args:
        command: Name of the command.
        arguments: What follows it.

    Raises:
        ReadoutError: if a configuration is missing, is not YAML or gives a key twice, there is no such option, or a
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
            print(f"{config} was changed since it was written; it is taken as it is.", file=sys.stderr)
        for key, section in root.value if isinstance(root, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                _check_section(command, key, section, config)
    given = [value for argument in arguments for value in (argument, argument.partition("=")[2])]
    for text in (value for value in given if "{" in value):
        with suppress(yaml.YAMLError):  # the parser says what it makes of it
            check_keys(text, repr(text))
    named = [Path(value) for value in given if value.endswith(YAML)]
    _check_files([*named, *configs], set())


def report_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of ``report``.

    Raises:
        ReadoutError: if they are wrong.
    """
    parser = Arguments(
        "readout report", description="Make figures and report.html again, or compare output folders on one page."
    )
    parser.add_argument("folders", nargs="+", metavar="folder", help="output folder of a sweep, or one of `invert`")
    parser.add_argument(
        "--output", help="the page; default: report.html in the folder, or comparison.html where several folders are"
    )
    parser.add_argument(
        "--inputs", type=int, help="inputs whose recoveries the page holds by itself; default: what makes about 4 MB"
    )
    parsed, rest = parser.parse_known_args(arguments)
    if rest:
        raise unknown("report", rest[0].partition("=")[0], ["--output", "--inputs"])
    return parsed


def find_configs(arguments: Sequence[str]) -> list[str]:
    """Replace names of configurations that come with the package by their paths.

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
    """A configuration file: as named, or if it has no folder, the package's own.

    Raises:
        ReadoutError: if there is none, or it is not YAML.
    """
    path = user_path(name)
    # an installed package carries its configurations; a checkout has them at the top
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
    """Refuse YAML in which a mapping gives a key twice, of which YAML would keep the last.

    Keys that come from elsewhere by ``<<`` may be given anew: that is what merging is for.

    Args:
        text: YAML.
        where: What it is, for the sentence.

    Returns:
        Its root; None if it is empty.

    Raises:
        ReadoutError: if a key is there twice.
        yaml.YAMLError: if it is not YAML.
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
    """Ask whether something was meant that holds the word or is like it, in words to stand before a semicolon."""
    by_lower = {name.lower(): name for name in known}
    near = [word.lower()] if word.lower() in by_lower else [name for name in by_lower if word.lower() in name][:3]
    near = near or difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {' or '.join(by_lower[name] for name in near)}?)" if near and len(word) > 2 else ""


def unknown(command: str, option: str, known: Iterable[str], where: str = "") -> ReadoutError:
    """What to say of an option that there is not."""
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
    """The root of a YAML file; the parser's own complaint would not name the file."""
    try:
        return check_keys(path.read_text(encoding="utf-8"), repr(str(path)))
    except OSError as error:
        raise ReadoutError(f"{str(path)!r} can't be read ({error.strerror}); make it readable.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = f" (line {mark.line + 1})" if mark else ""
        raise ReadoutError(f"{str(path)!r} is not valid YAML{where}; correct it.") from error


def _mappings(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """All mappings of a document, each once, though aliases may lead to it again."""
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node
    for child in node.value:
        for each in child if isinstance(child, tuple) else (child,):
            yield from _mappings(each, seen)


def _check_section(command: str, key: yaml.Node, section: yaml.Node, config: Path) -> None:
    """Check a key of a configuration, and those below it where they are known."""
    _check_name(command, str(key.value), where=f" (line {key.start_mark.line + 1} of {str(config)!r})")
    for name, _ in section.value if isinstance(section, yaml.MappingNode) else ():
        where = f" (line {name.start_mark.line + 1} of {str(config)!r})"
        _check_name(command, f"{key.value}.{name.value}".rstrip("+"), where=where)


def _check_name(command: str, name: str, dashes: str = "", where: str = "") -> None:
    """Refuse an option that there is not: a section or a single option, or an argument of the sweep or the trainer."""
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
    """Check files of YAML for keys given twice, and those that they name."""
    while pending:
        path = pending.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        with suppress(yaml.YAMLError, OSError, UnicodeDecodeError):  # it may be something else altogether
            root = check_keys(path.read_text(encoding="utf-8"), repr(str(path)))
            values = [value.value for mapping in _mappings(root, set()) for _, value in mapping.value]
            pending += [path.parent / value for value in values if isinstance(value, str) and value.endswith(YAML)]


@cache
def _arguments(section: str) -> Sequence[str]:
    """Arguments that a section's class takes, read from its source, because importing it takes seconds."""
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
