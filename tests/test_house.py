"""The files that a repository has beside its code."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from readout.version import __version__
from tests.pages import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
WORK_TYPES = {"article", "conference-paper", "proceedings"}
"""Of the types of works that schema 1.2.0 knows, those that a paper can be."""


def test_citation_is_what_its_schema_asks_for() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    known = {"cff-version", "message", "title", "authors", "type", "abstract", "version", "license", "keywords"}
    known |= {"preferred-citation", "references"}
    assert {"cff-version", "message", "title", "authors"} <= set(citation) <= known
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == __version__
    assert f'license = "{citation["license"]}"' in PROJECT
    assert all(re.search(rf'keywords = \[.*"{word}"', PROJECT) for word in citation["keywords"])
    assert all(set(author) == {"name"} for author in citation["authors"])


def test_citation_names_the_paper() -> None:
    paper: Mapping[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    assert paper["type"] in WORK_TYPES
    assert isinstance(paper["year"], int)
    assert paper["conference"]["name"]
    assert all(set(entry) <= {"type", "value", "description"} for entry in paper["identifiers"])
    readme = re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert paper["title"] in readme
    assert [author["family-names"] for author in paper["authors"]] == ["Onoo", "Nagano", "Kamitani"]
    (doi,) = [entry["value"] for entry in paper["identifiers"] if entry["type"] == "doi"]
    assert re.fullmatch(r"10\.\d{4,9}/arXiv\.(.+)", doi)
    assert doi.rpartition("arXiv.")[2] in readme


def test_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(__version__)}\]|^What will be {re.escape(__version__)}\.$", text, re.MULTILINE)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_and_places_are_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https://)([^)#]+)", text)
    places = re.findall(r"`((?:readout|tests|docs|experiments|lightning_configs|\.ci)/[\w./]*)`", text)
    missing = [place for place in (*links, *places) if not (ROOT / place.replace("NAME", "metric")).exists()]
    assert missing == []


def test_lanes_are_those_of_the_settings() -> None:
    lanes = re.findall(r'pytest .*-m "?(?:not )?(\w+)"?`', (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert lanes == ["slow", "slow", "real_weights"]
    assert all(f'"{lane}:' in PROJECT for lane in lanes)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_constraints_pin_what_the_project_needs(python: str) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    pinned: dict[str, str] = {}
    for each in map(Requirement, lines):
        assert re.fullmatch(r"==[\w.]+", str(each.specifier))
        assert each.url is None
        if each.marker is None or each.marker.evaluate(environment):
            assert pinned.setdefault(each.name, str(each.specifier)) == str(each.specifier)
    lists = "".join(PROJECT.split(f"\n{name} = [")[1].split("\n]")[0] for name in ("dependencies", "dev"))
    needed = [Requirement(text) for text in re.findall(r'^    "([^"]+)",', lists, re.MULTILINE)]
    wanted = {need.name.lower().replace("_", "-"): need.specifier for need in needed}
    assert len(wanted) > 30
    assert {
        name for name, admitted in wanted.items() if not admitted.contains(pinned[name].removeprefix("=="))
    } == set()


@pytest.mark.parametrize(
    ("module", "category", "message", "fails"),
    [
        ("readout.sweep", UserWarning, "odd", True),
        ("readout.sweep", FutureWarning, "`old` is now `new`", False),
        ("readout.sweep", UserWarning, "old() is deprecated", False),
        ("somebody.else", UserWarning, "odd", False),
        ("somebody.else", RuntimeWarning, "divide by zero", True),
    ],
)
def test_warnings_of_our_own_are_errors(module: str, category: type[Warning], message: str, fails: bool) -> None:
    caught: type[Warning] | tuple[()] = ()
    try:
        warnings.warn_explicit(message, category, "file.py", 1, module)
    except Warning as warning:
        caught = type(warning)
    assert (caught == category) is fails


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "constraints.txt"])
def test_house_files_are_in_the_source_distribution(name: str) -> None:
    included = PROJECT.split("[tool.hatch.build.targets.sdist]")[1].split("[tool.")[0]
    assert f'"{name}"' in included
    assert (ROOT / name).is_file()
