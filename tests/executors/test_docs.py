"""What docs/cluster.md has users type exists in Ray's own command line."""

import re
from pathlib import Path
from typing import Any

from ray.scripts.scripts import cli

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
COMMAND = re.compile(r"\bray ([a-z][a-z-]+(?: submit)?)((?: [^|;&)>\n]*)?)")


def uses(page: str) -> list[tuple[str, set[str]]]:
    """Commands of Ray in the page's shell scripts, each with its flags; variables of a script are replaced."""
    found = []
    for script in re.findall(r"```bash[^\n]*\n(.*?)```", page, re.DOTALL):
        lines = script.replace("\\\n", " ")
        for name, value in re.findall(r'^(\w+)="([^"]*)"$', lines, re.MULTILINE):
            lines = lines.replace(f"${name}", " ".join(value.split()))
        for command, rest in COMMAND.findall(lines):
            found.append((command, set(re.findall(r" (--[a-z][a-z-]*)", rest.split(" -- ")[0]))))
    return found


def test_flags_are_read_from_scripts() -> None:
    page = '```bash\nnode="--num-cpus=2\n  --block"\nsrun -N1 ray start --head \\\n  --port="$port" $node &\n```\n'
    assert uses(page) == [("start", {"--head", "--port", "--num-cpus", "--block"})]


def test_commands_and_flags_of_the_page_are_rays() -> None:
    found = uses(PAGE)
    assert {"start", "health-check", "get-auth-token"} <= dict(found).keys()
    for name, flags in found:
        command: Any = cli
        for word in name.split():
            command = command.commands[word]
        assert flags <= {option for parameter in command.params for option in parameter.opts}, name
