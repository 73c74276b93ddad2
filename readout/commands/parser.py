"""A parser that reports wrong arguments in one sentence."""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from readout.commands.early import meant
from readout.common.errors import ReadoutError, user_error
from readout.problems.identity import constructor_arguments
from readout.readouts.inversion.schedules import late_arguments

NOISE = re.compile(
    r"Parser key|Does not validate against any|Subtypes:|Errors:|Given value|Problem with given class_path|"
    r"Expected a <class '[\w.]+'>$|Expected a path but"
)
"""Lines of jsonargparse's messages that do not help a user."""

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Sequence": "a list",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "Mapping": "a mapping",
}
"""Python types in words."""

KNOWN = (
    *(f"readout.{name}" for name in ("extractors", "priors", "readouts", "data", "metrics", "callbacks")),
    "readout.codes",
    "readout.encoding",
    "readout.learning",
    "readout.perturbations",
    "torch.optim",
    "torch.optim.lr_scheduler",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
)
"""Modules whose classes can be named without an import path."""


class Parser(LightningArgumentParser):
    """A parser that raises :class:`ReadoutError` where argparse would print its usage and a tree of alternatives."""

    def add_class_arguments(self, theclass: type, *args: Any, **kwargs: Any) -> list[str]:
        """See jsonargparse; arguments that a schedule derives from the run become optional."""
        late = late_arguments(theclass)
        skip = {*(kwargs.pop("skip", None) or ()), *late, *(["optimizer"] if late else [])}
        added: list[str] = super().add_class_arguments(theclass, *args, skip=skip, **kwargs)
        for name, kind in late.items():
            self.add_argument(f"--{name}", type=kind, default=None)
        return [*added, *late]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a :class:`ReadoutError` with one sentence; parsers of nested classes report to their parent."""
        if not self.exit_on_error:
            super().error(message, ex)
        said = sentence(message)
        if self.prog.endswith(" learn"):  # the example of a configuration is for the command
            said = said.replace("vgg_dip.yaml", "vgg_sae.yaml")
        raise user_error(ex) or ReadoutError(f"{said} `{self.prog} --help` lists what is accepted.") from ex


def sentence(message: str) -> str:
    """Turn jsonargparse's message into one sentence: the value found, and the values accepted."""
    keys = re.findall(r'Parser key "([^"]+)"', message) + re.findall(r"NestedArg\(key='([^']+)'", message)[:1]
    key = ".".join(dict.fromkeys(".".join(keys).split(".")))
    for pattern, words in SENTENCES:
        if found := re.search(pattern, message):
            return words(found[1], key, message)
    value, wanted = _value(message), _wanted(message)
    found = re.search(r"Expected a dot import path string: (.+)", message)
    if found and not set(wanted) & {"a number", "a whole number", "text"}:
        return f"{key}: {_no_class(found[1].strip(), key, message)}"
    if wanted and value is not None:
        *others, last = wanted
        either = f"{', '.join(others)} or {last}" if others else last
        like = f", such as [{value}]" if wanted[0] == "a list" and re.fullmatch(r"[\w.]+", value) else ""
        near = meant(value, [choice.strip("'") for choice in wanted if choice.startswith("'")])
        return f"{key} is {value or 'empty'}{near}; give {either}{like}."
    lines = (line.strip(" -\t") for line in message.splitlines())
    said = " ".join(dict.fromkeys(line for line in lines if line and not NOISE.match(line))) or message.splitlines()[0]
    return f"{key}: {said.rstrip('.')}." if key else f"{said.rstrip('.')}."


def _value(message: str) -> str | None:
    """Return the value that the user wrote, if the message has it."""
    values = re.findall(r"(?:Got value|Given value): ?([^\n]*)", message)
    plain = [value for value in values if not value.startswith(("NestedArg", "Namespace", "[Namespace"))]
    if plain:
        return str(plain[0]).partition(". Got value")[0].strip()
    nested = re.search(r"NestedArg\(key='[^']+', val=(.*)\)", message)
    return nested[1].strip("'") if nested else None


def _wanted(message: str) -> list[str]:
    """List the accepted kinds of value in words; empty where an object is expected."""
    kinds = list(dict.fromkeys(re.findall(r"Expected a <class '(?:[\w.]+\.)?(\w+)'>", message)))
    wanted = [KINDS[kind] for kind in kinds if kind in KINDS and not (kind == "bool" and "int" in kinds)]
    for literal in re.findall(r"Expected a typing\.Literal\[([^\]]*)\]", message):
        wanted += literal.split(", ")
    if wanted and "NoneType" in kinds and "NestedArg" not in message:
        wanted.append("null")
    return list(dict.fromkeys(wanted))


def _owners(message: str) -> list[str]:
    """List the import paths of the classes in a message, the innermost last."""
    return re.findall(r"class_path(?: |=)'([\w.]+)'", message)


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _no_option(name: str, key: str, message: str) -> str:
    """Report an option that a class does not take, and suggest a similar one."""
    option = key if key.endswith(name) else f"{key}.{name}"
    owner = _load(_owners(message)[-1]) if _owners(message) else None
    if not inspect.isclass(owner):
        return f"There is no option {option}."
    taken = [each for each in constructor_arguments(owner) if each != "params"]
    return f"There is no option {option}{meant(name, taken)}; {owner.__name__} takes {', '.join(taken) or 'nothing'}."


def _no_attribute(path: str, key: str, message: str) -> str:
    """Report a name that a module does not have."""
    module, _, name = path.partition("' has no attribute '")
    near = meant(name, dir(sys.modules[module])) if module in sys.modules else ""
    return f"{key}: there is no {name} in {module}{near}; correct the import path."


def _missing(names: str, key: str, message: str) -> str:
    """Report missing arguments."""
    first = names.split(", ")[0]
    if owners := _owners(message):
        return f"{owners[-1].rpartition('.')[2]} needs {names}; add --{key}.{first}, for example."
    example = "--model VGG19" if names == "model" else "--config vgg_dip.yaml"
    return f"{names.replace(', ', ' and ')} must be set; add, for example, {example}."


def _no_class(word: str, key: str, message: str) -> str:
    """Report a class that does not exist or is of another kind."""
    public = [(module, name) for module in KNOWN for name in getattr(import_module(module), "__all__", ())]
    known = {name: module for module, name in public if name[0].isupper()}
    base = re.search(r"Subtypes: \[<class '(readout[\w.]+)'>", message)
    if word in known and "NestedArg" not in message and base:
        kind = _load(base[1])
        classes = {name: getattr(import_module(module), name) for name, module in known.items()}
        fit = [name for name, each in classes.items() if inspect.isclass(each) and issubclass(each, kind)]
        return f"{word} is no {kind.__name__}; give {', '.join(name for name in fit if name != kind.__name__)}."
    if word in known:
        owner = f"{_owners(message)[-1].rpartition('.')[2]} takes" if _owners(message) else "is taken"
        return f"{word} is not what {owner} as {key.rpartition('.')[2]}; name a class of that kind."
    return (
        f"there is no class {word}{meant(word, known)}; name a class of this package or an import path such as "
        "my_models.MyNet."
    )


def _not_recognised(words: str, key: str, message: str) -> str:
    """Report an argument that no option takes."""
    word = words.split()[0]
    if word.startswith("-"):
        return f"There is no option {word.partition('=')[0]}."
    hint = f"write --config {word}" if word.endswith((".yaml", ".yml")) else "a value follows its option"
    return f"{word!r} belongs to no option; {hint}."


def _no_value(names: str, key: str, message: str) -> str:
    """Report an option without a value; it may have several names."""
    return f"{[name for name in names.split('/') if not name.endswith('+')][-1]} needs a value."


def _no_mapping(value: str, key: str, message: str) -> str:
    """Report a section that is not a mapping."""
    return f"{key} is {value!r}; give a mapping in YAML, or a file with one."


def _abstract(path: str, key: str, message: str) -> str:
    """Report an argument whose class is missing."""
    kind = path.rpartition(".")[2]
    return f"{key} belongs to a kind of {kind}; name its class too, as --{key.rpartition('.')[0]}."


SENTENCES: Sequence[tuple[str, Callable[[str, str, str], str]]] = (
    (r"unrecognized arguments: (.+)", _not_recognised),
    (r"argument ([^:]+): expected (?:one|at least one) argument", _no_value),
    (r"Option '([^']+)' is not accepted", _no_option),
    (r"module '([\w.]+' has no attribute '\w+)'", _no_attribute),
    (r"the following arguments are required: ([\w, ]+)", _missing),
    (r"Unable to load config '?([^'\n]*)'?", _no_mapping),
    (r"Expected an instantiatable class, but ([\w.]+) is abstract", _abstract),
)
"""Patterns in jsonargparse's messages, and functions (match, key, message) that return the sentence."""
