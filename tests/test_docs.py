"""The documentation says nothing that is not so; :mod:`tests.test_pages` runs what it tells readers to run."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from readout import load_results
from readout.commands import fit, invert
from readout.store import COLUMNS, TRAJECTORY
from readout.sweep import Sweep
from tests.helpers import run_cli, write_noise_images
from tests.pages import COMMANDS, DOCS, FENCES, ROOT, arguments
from tests.test_pages import RUN

TINY = ["--trainer.max_steps=3", "--trainer.accelerator=cpu", "--sweep.levels=[0, 0.5]"]


SNIPPETS = [fence for fence in FENCES if fence.language == "python" and fence.rest == "exec"]
PARSED = [
    (page, command)
    for page, command in COMMANDS
    if (page, command) not in RUN and arguments(command)[0] in ("fit", "invert")
]
"""Commands of pages that :mod:`tests.test_pages` does not run, or on real weights only."""

OWN_CLASSES = [command for page, command in COMMANDS if page == "docs/add-a-model.md" and " fit " in command]


@pytest.fixture(scope="module")
def readers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it: the files that pages say to write, and the output of a first run."""
    folder = tmp_path_factory.mktemp("reader")
    for fence in FENCES:
        if fence.title:
            with (folder / fence.title).open("a", encoding="utf-8") as file:
                file.write(fence.body)
    command = next(command for command in OWN_CLASSES if "my_models.MyNet" in command)
    small = ["--data.size=32", "--data.names=[chelsea]", "--config=csv.yaml"]
    done = run_cli(*arguments(command), *TINY, *small, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def as_reader(readers_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in that folder, and forget the reader's classes afterwards."""
    monkeypatch.chdir(readers_folder)
    monkeypatch.syspath_prepend(readers_folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield readers_folder
    for name in ("my_models", "my_parts"):
        sys.modules.pop(name, None)


def test_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")]
    assert len(pages) > 15
    loads = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"')
    assert [match for page in pages for match in loads.findall(page)] == []
    roles = re.compile(r":(?:class|meth|func|attr|data|math):")
    assert [match for page in pages for match in roles.findall(page)] == []


def test_every_python_block_is_run_or_written_to_a_file() -> None:
    loose = [fence for fence in FENCES if fence.language == "python" and fence.rest != "exec" and not fence.title]
    assert [fence for fence in loose if fence.page.startswith("docs/")] == []
    assert SNIPPETS
    assert OWN_CLASSES


@pytest.mark.parametrize(("page", "command"), PARSED)
def test_command_is_accepted(page: str, command: str, as_reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # parsed in full, configurations and classes looked up, nothing built
    monkeypatch.setattr(fit.ReadoutCLI, "_set_seed", lambda self: None)
    monkeypatch.setattr(fit.ReadoutCLI, "instantiate_classes", lambda self: None)
    name, *rest = arguments(command)
    if name == "fit":
        assert fit.build(rest).config["sweep"]["output"]
    else:
        assert invert.build(rest).config["features"][0] in ("decoded.npz", "decoded_texts.npz")


def test_a_first_run_with_a_class_of_ones_own_leaves_what_the_pages_say(readers_folder: Path) -> None:
    output = readers_folder / "runs" / "my_net"
    for name in (
        "report.html",
        "sizes.csv",
        "config.yaml",
        "inputs/chelsea.png",
        "recovered/late/chelsea/level=0.5_draw=0.png",
        "logs/late/metrics.csv",
        *(f"figures/{figure}.svg" for figure in ("recovery", "sizes", "trajectories", "recovered")),
    ):
        assert (output / name).is_file(), name
    results = load_results(output)
    assert results["model"].unique().tolist() == ["MyNet"]
    problems = set(zip(results["layer"], results["level"], strict=True))
    assert problems == {("early", 0.0), ("early", 0.5), ("late", 0.0), ("late", 0.5)}
    assert (results["steps"] == 3).all()
    sizes = pd.read_csv(output / "sizes.csv")
    assert sizes["layer"].tolist() == ["early", "late"]
    described = list(page_table("output.md", "### The table of sizes"))
    assert described == list(sizes.columns)[-len(described) :]


def test_ones_own_features_are_inverted_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "docs/your-features.md"
    save = next(snippet.body for snippet in SNIPPETS if snippet.page == page)
    monkeypatch.chdir(tmp_path)
    exec(save, {"__name__": "__main__"})
    write_noise_images(tmp_path, 64)
    (tmp_path / "stimuli").mkdir()
    (tmp_path / "0.png").rename(tmp_path / "stimuli" / "cat.png")
    (command,) = [command for where, command in COMMANDS if where == page and "--true" in command]
    small = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--model.extractor.weights=random"]
    done = run_cli(*arguments(command), *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "runs" / "decoded"
    described = [name for name in page_table("your-features.md", "## Output") if name.endswith(".LAYER")]
    assert len(described) == 3
    columns = pd.read_csv(output / "recovered.csv").columns
    for layer in ("conv2_1", "conv3_1"):
        assert {name.replace("LAYER", layer) for name in described} <= set(columns)
    for name in ("report.html", "recovered.csv", "recovered/conv2_1+conv3_1/dog.png"):
        assert (output / name).is_file(), name


def test_columns_of_the_results_are_those_on_the_page() -> None:
    described = page_table("output.md", "### The table of results")
    assert set(described) - {"ssim", "psnr", "reason"} == set(COLUMNS)
    text = (DOCS / "output.md").read_text(encoding="utf-8")
    assert all(f"`{column}`" in text for column in TRAJECTORY)


def test_keys_and_defaults_of_the_sweep_are_those_on_the_page() -> None:
    described = page_table("configuration.md", "## `sweep`")
    parameters = inspect.signature(Sweep).parameters
    assert list(described) == list(parameters)
    for name, value in described.items():
        default = parameters[name].default
        if not isinstance(default, tuple):
            assert yaml.safe_load(value) == default, name


def test_every_shipped_configuration_is_named() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    shipped = sorted(path.name for path in (ROOT / "lightning_configs").glob("*.yaml"))
    assert [name for name in shipped if f"`{name}`" not in text] == []


def test_module_map_is_the_tree() -> None:
    found = (ROOT / "readout").iterdir()
    tree = {
        path.name + "/" * path.is_dir() for path in found if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(module_map()) == tree - {"__init__.py"}


def test_nothing_imports_from_above_it_in_the_module_map() -> None:
    """A caller stands above what it calls, so there is no circle either."""
    places = {name.removesuffix("/").removesuffix(".py"): place for place, name in enumerate(module_map())}
    wrong = [
        f"{path.relative_to(ROOT)} imports readout.{target}"
        for path in sorted((ROOT / "readout").rglob("*.py"))
        if path != ROOT / "readout" / "__init__.py"
        for target in imported(path)
        if places.get(target, -1) < places[path.relative_to(ROOT / "readout").parts[0].removesuffix(".py")]
    ]
    assert wrong == []


def imported(path: Path) -> set[str]:
    """Parts of the package that a module imports: ``store``, ``sweep``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "readout":
            names = [node.module.split(".")[1]] if "." in node.module else [alias.name for alias in node.names]
            found.update(names)
    return found


def page_table(page: str, heading: str) -> dict[str, str]:
    """First column (each name in code) → second column, of the tables below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = re.split(r"^#{1,3} ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", section, flags=re.MULTILINE)
    return {name: value.strip("` ") for names, value in rows for name in re.findall(r"`([^`]+)`", names)}


def module_map() -> list[str]:
    """What design.md lists at the top of the package, from the top down."""
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    return re.findall(r"^      (\w+(?:\.py|/)) ", text, flags=re.MULTILINE)
