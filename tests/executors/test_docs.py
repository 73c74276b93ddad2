"""What docs/cluster.md has users type exists in Ray's own command line."""

import re
import shlex
from pathlib import Path

from ray.scripts.scripts import cli

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
COMMAND = re.compile(r"\bray ([a-z][a-z-]*)(.*)")


def uses(page: str) -> list[tuple[str, list[str]]]:
    """Commands of Ray in the page's shell scripts, each with its flags; variables of a script are replaced."""
    found = []
    for script in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
        whole = script.replace("\\\n", " ")
        variables = dict(re.findall(r'^(\w+)="(.*)"$', whole, re.MULTILINE))
        for command, rest in COMMAND.findall(whole):
            for name, value in variables.items():
                rest = rest.replace(f"${name}", value)
            words = shlex.split(rest.split("|")[0], comments=True) if rest.count("'") % 2 == 0 else rest.split()
            found.append((command, [word.split("=")[0] for word in words if word.startswith("--")]))
    return found


def test_flags_are_read_from_scripts() -> None:
    page = '```bash\nnode="--num-cpus=2 --block"\nsrun -N1 ray start --head \\\n  --port="$port" $node &\n```\n'
    assert uses(page) == [("start", ["--head", "--port", "--num-cpus", "--block"])]


def test_commands_and_flags_of_the_page_are_rays() -> None:
    found = uses(PAGE)
    assert "start" in dict(found)
    for command, flags in found:
        known = {option for parameter in cli.commands[command].params for option in parameter.opts}
        assert set(flags) <= known, command
