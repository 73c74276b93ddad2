"""Arguments that end in one clear sentence when they are wrong."""

import re
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from readout.errors import ReadoutError, user_error
from readout.inversions.schedules import late_arguments

NOISE = re.compile(
    r"Parser key|Does not validate against any|Subtypes:|Errors:|Given value|Problem with given class_path|"
    r"Expected a <class '[\w.]+'>$|Expected a path but"
)
"""Lines of jsonargparse's messages that say nothing a user can act on."""


WORDS = (
    (
        r"Expected a dot import path string: (\S+)",
        r"there is no class \1; write a class of this package or an import path such as my_models.MyNet",
    ),
    (r"Expected a (?:<class '(?:[\w.]+\.)?(\w+)'>|(\S.*?))\. Got value: (.*)", r"expected \1\2, got \3"),
)
"""jsonargparse's wording, and ours."""


class Parser(LightningArgumentParser):
    """Raises :class:`ReadoutError` where argparse would print its usage and a tree of alternatives."""

    def add_class_arguments(self, theclass: type, *args: Any, **kwargs: Any) -> list[str]:
        """See jsonargparse; what a schedule learns from its run can be left out."""
        late = late_arguments(theclass)
        skip = {*(kwargs.pop("skip", None) or ()), *late, *(["optimizer"] if late else [])}
        added: list[str] = super().add_class_arguments(theclass, *args, skip=skip, **kwargs)
        for name, kind in late.items():
            self.add_argument(f"--{name}", type=kind, default=None)
        return [*added, *late]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong in one sentence; parsers of nested classes report to the one above them."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise user_error(ex) or ReadoutError(
            f"{sentence(message)} `{self.prog} --help` lists what is accepted."
        ) from ex


def sentence(message: str) -> str:
    """The key and the reason out of jsonargparse's message."""
    keys = re.findall(r'Parser key "([^"]+)"', message) + re.findall(r"NestedArg\(key='([^']+)'", message)[:1]
    lines = (line.strip(" -\t") for line in message.splitlines())
    reasons = list(dict.fromkeys(line for line in lines if line and not NOISE.match(line)))
    reason = " ".join(reasons) or message.splitlines()[0]
    for pattern, words in WORDS:
        reason = re.sub(pattern, words, reason)
    where = f"{'.'.join(dict.fromkeys('.'.join(keys).split('.')))}: " if keys else ""
    return f"{where}{reason.rstrip('.')}."
