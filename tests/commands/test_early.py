from pathlib import Path

import pytest
import yaml

from readout import cli
from readout.commands.early import check, check_keys, find_config
from readout.common.errors import ReadoutError
from tests.pages import ROOT

SHIPPED = sorted(path.name for path in (ROOT / "lightning_configs").glob("*.yaml"))


def refusal(command: str, *arguments: str) -> str:
    with pytest.raises(ReadoutError) as refused:
        check(command, arguments)
    return str(refused.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_configurations_of_the_package_pass(name: str) -> None:
    learns = "output" in yaml.safe_load(find_config(name).read_text(encoding="utf-8"))
    for command in ["learn"] if learns else ["fit", "invert", "compare"]:
        check(command, ["--config", name])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer:\n  max_steps: 1\nmodel: {}\ntrainer:\n  devices: 1\n", "'trainer' twice, in line 1 and in line 4"),
        ("sweep:\n  draws: 1\n  'draws': 2\n", "'draws' twice, in line 2 and in line 3"),
        ("data:\n  a:\n  - {b: 1}\n  - {b: 1,\n     b: 2}\n", "'b' twice, in line 4 and in line 5"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  y: 1\n  <<: *a\n", "'<<' twice, in line 3 and in line 5"),
        ("a: &a {x: 1, x: 2}\nb: *a\n", "'x' twice, in line 1 and in line 1"),
    ],
)
def test_a_key_given_twice_is_refused_with_both_lines(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    for given in (["--config", str(path)], [f"--config={path}"], ["-c", str(path)], ["--sweep", str(path)]):
        assert refusal("fit", *given) == f"{str(path)!r} gives {words}; keep one of them."


def test_a_key_given_twice_is_found_in_files_and_mappings_below(tmp_path: Path) -> None:
    (tmp_path / "prior.yaml").write_text("class_path: Pixels\nclass_path: DeepImagePrior\n")
    (tmp_path / "config.yaml").write_text("model:\n  init_args:\n    prior: prior.yaml\n")
    assert "prior.yaml' gives 'class_path' twice" in refusal("fit", "--config", str(tmp_path / "config.yaml"))
    assert "gives 'a' twice" in refusal("fit", "--sweep.perturbation", "{class_path: P, init_args: {a: 1, a: 2}}")


def test_merged_keys_may_be_given_anew_and_files_may_repeat_each_other(tmp_path: Path) -> None:
    check_keys("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {x: *a, y: *a}\n", "it")
    (tmp_path / "one.yaml").write_text("trainer: {max_steps: 1}\n")
    (tmp_path / "two.yaml").write_text("trainer: {max_steps: 2}\n")
    check("fit", ["--config", str(tmp_path / "one.yaml"), "--config", str(tmp_path / "two.yaml")])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "fit --config vgg_dipp.yaml",
            "no configuration 'vgg_dipp.yaml' (did you mean vgg_dip.yaml?); give",
        ),
        ("fit --config=paper", "did you mean paper.yaml?"),
        ("fit --confg vgg_dip.yaml", "There is no option --confg (did you mean --config?); `readout fit --help` lists"),
        ("fit --sweep.layer early", "There is no option --sweep.layer (did you mean --sweep.layers?)"),
        ("fit --trainer.acelerator=cpu", "(did you mean --trainer.accelerator?)"),
        ("invert --feature a.npz", "(did you mean --features?)"),
        ("layers --sise 3", "(did you mean --size?)"),
        ("layers --sweep.layers all", "There is no option --sweep.layers; `readout layers --help`"),
        ("report nowhere", "There is no folder 'nowhere'; give the output folder"),
        ("report . --outputt x", "There is no option --outputt (did you mean --output?)"),
        ("report . --inputs many", "Argument --inputs: invalid int value: 'many'; `readout report --help`"),
        ("report", "The following arguments are required: folder"),
    ],
)
def test_typing_errors_are_met_with_what_was_probably_meant(line: str, words: str) -> None:
    command, *arguments = line.split()
    assert words in refusal(command, *arguments)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modell: {}\n", "no option modell (line 1 of 'c.yaml') (did you mean model?)"),
        ("sweep:\n  draws: 1\n  layer: x\n", "no option sweep.layer (line 3 of 'c.yaml') (did you mean sweep.layers?)"),
        ("trainer: {max_step: 1}\n", "(did you mean trainer.max_steps?)"),
        ("a: [b\n", "'c.yaml' is not valid YAML (line 2); correct it."),
    ],
)
def test_a_configuration_names_the_line_of_its_error(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(text)
    assert words in refusal("fit", "--config", "c.yaml")


@pytest.mark.parametrize(
    "line", ["--sweep.layers+ x", "--sweep.help", "--trainer.logger.offline false", "--data.folder x", "-h", "--help"]
)
def test_what_only_the_parser_can_know_is_left_to_it(line: str) -> None:
    check("fit", line.split())


def test_an_unknown_command_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fitt"]) == 2
    choices = "fit, learn, layers, compare, encode, decode, invert or report"
    words = f"error: There is no command 'fitt' (did you mean fit?); choose {choices}.\n"
    assert capsys.readouterr().err == words
