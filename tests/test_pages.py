"""Every page does what it says: its commands and snippets run in order, in one folder, at tiny settings."""

import contextlib
import importlib
import io
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml

from readout import cli
from readout.commands import fit
from readout.extractors import VGG19
from tests.helpers import write_noise_images
from tests.pages import FENCES, PROGRAM, arguments

NOT_RUN = {
    r"^docs/results/": "measured results, which took minutes to hours; their commands are parsed only",
    r"^docs/performance\.md: ": "benchmarks take minutes to hours; tests/benchmarks runs them at their smallest",
    r": pip install ": "would install into the environment of the tests; .ci/run installs from scratch",
    r"wandb\.yaml|: wandb ": "starts a service of W&B's, or needs an account; tests/callbacks/test_wandb.py runs it",
    r": (sbatch|export) ": "needs Slurm; the scripts are run with stand-ins below",
    r": (kubectl|ray) ": "needs Kubernetes or a cloud",
    r"executor Ray": "starts a Ray cluster; tests/executors runs sweeps on one",
    r"google-bert/|facebook/": "weights from a model hub",
}
"""Patterns of ``PAGE: COMMAND`` that no test here runs, and why."""

NEEDS_WEIGHTS = r"VGG19\(\)|minilm|bert_tokens\.yaml|causal_\w+\.yaml"
"""What runs on real weights only, fetched through pip."""

SMALL = {
    "images": {
        "data": {"init_args": {"size": 32}},
        "sweep": {"layers": ["conv1_2"], "levels": [0, 0.5]},
        "trainer": {"accelerator": "cpu"},
    },
    "texts": {
        "data": {"init_args": {"count": 1, "max_tokens": 8}},
        "sweep": {"layers": ["layer.0"], "levels": [0, 0.3]},
        "trainer": {"accelerator": "cpu"},
    },
}
"""Lie between a command's configurations and its arguments: whatever a page sets itself stays."""


LEFT = {
    "docs/tutorial.md": ("runs/vgg_dip/report.html", "runs/vgg_pixels/sizes.csv", "mine.png", "comparison.png"),
    "docs/cluster.md": ("both.html", "by_layer.png"),
    "docs/extend.md": ("runs/experiments/my_question-smoke/result.txt",),
}
"""What a page's commands and snippets must have left behind."""


class Step(NamedTuple):
    """Something that a page says to do."""

    page: str
    kind: str
    text: str
    title: str | None = None

    @property
    def why_not(self) -> str | None:
        """Why it is not run."""
        return next((NOT_RUN[pattern] for pattern in NOT_RUN if re.search(pattern, f"{self.page}: {self.text}")), None)

    @property
    def needs_weights(self) -> bool:
        """Whether random weights won't do."""
        return self.kind != "file" and re.search(NEEDS_WEIGHTS, self.text) is not None


def _steps() -> Iterator[Step]:
    for fence in FENCES:
        if fence.title:
            yield Step(fence.page, "file", fence.body, fence.title)
        elif fence.language == "python" and fence.rest == "exec":
            yield Step(fence.page, "python", fence.body)
        for command in fence.commands:
            yield Step(fence.page, "command", command)


STEPS = list(_steps())
PAGES = list(dict.fromkeys(step.page for step in STEPS if step.kind != "file" and not step.why_not))
RUN = {(step.page, step.text) for step in STEPS if not step.why_not and not step.needs_weights}
WITH_WEIGHTS = [step for step in STEPS if step.needs_weights and not step.why_not]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What readers bring along: images, and runs that pages take for granted."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("photos", "IMAGES", "stimuli"):
        (folder / name).mkdir()
        write_noise_images(folder / name, 64, count=8 if name == "IMAGES" else 2)
    (folder / "stimuli" / "0.png").rename(folder / "stimuli" / "cat.png")
    np.savez(folder / "decoded_texts.npz", first=np.random.default_rng(0).normal(size=(9, 384)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(Step("", "command", f"{PROGRAM} fit --config vgg_dip.yaml"))
        run(Step("", "command", f"{PROGRAM} fit --config vgg_dip.yaml --config vgg_pixels.yaml"))
        # in place of a run that takes real weights
        run(Step("", "command", f"{PROGRAM} fit --config linear_check.yaml --sweep.output runs/bert_tokens"))
    return folder


@pytest.fixture
def reader(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder of one's own; the reader's modules are forgotten afterwards."""
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    before = set(sys.modules)
    with mpl.rc_context({"backend": "agg"}):
        yield folder
    plt.close("all")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page: str, reader: Path, request: pytest.FixtureRequest) -> None:
    if page == "docs/tutorial.md":
        request.getfixturevalue("reports")
    names: dict[str, object] = {"__name__": "__main__"}
    for step in STEPS:
        if step.page == page and not step.why_not and not step.needs_weights:
            run(step, names)
    assert [path for path in LEFT.get(page, ()) if not (reader / path).is_file()] == []


@pytest.mark.real_weights
@pytest.mark.parametrize("step", WITH_WEIGHTS, ids=lambda step: f"{step.page}: {step.text[:60]!r}")
def test_step_runs_on_real_weights(step: Step, reader: Path) -> None:
    run(step)


def test_what_is_not_run_is_on_a_page() -> None:
    unused = [pattern for pattern in NOT_RUN if not any(re.search(pattern, f"{s.page}: {s.text}") for s in STEPS)]
    assert unused == []


@pytest.fixture
def slurm(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a script finds in a job, and programs that print how they were called."""
    (reader / "bin").mkdir()
    for name in ("python", "ray", "srun"):
        program = reader / "bin" / name
        program.write_text('#!/bin/sh\necho "${0##*/} $*"\n')
        program.chmod(0o755)
    job = {"JOB_ID": "4711", "NNODES": "4", "CPUS_PER_TASK": "32", "GPUS_ON_NODE": "4"}
    names = {f"SLURM_{name}": value for name, value in job.items()}
    places = {"SLURMD_NODENAME": "n1", "IMAGES": "IMAGES", "OUTPUT": "runs/paper", "HOME": str(reader)}
    for name, value in {**names, **places, "PATH": f"{reader / 'bin'}:/usr/bin:/bin"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fit.ReadoutCLI, "_set_seed", lambda self: None)
    monkeypatch.setattr(fit.ReadoutCLI, "instantiate_classes", lambda self: None)


@pytest.mark.usefixtures("slurm")
def test_array_script_reads_a_layer_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = map(int, re.findall(r"--array=(\d+)-(\d+)", script("layers.sbatch"))[0])
    layers = []
    for task in range(first, last + 1):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
        (command,) = called("layers.sbatch")
        config = fit.build(arguments(command)[1:]).config
        layers += config["sweep"]["layers"]
        assert config["sweep"]["output"] == f"runs/paper/{layers[-1]}"
    assert layers == list(VGG19(weights="random").layers)


@pytest.mark.usefixtures("slurm")
def test_ray_script_starts_nodes_and_a_sweep_on_them() -> None:
    *steps, command = sorted(called("readout.sbatch"), key=lambda line: line.startswith("python"))
    config = fit.build(arguments(command)[1:]).config["sweep"]
    assert config["output"] == "runs/paper"
    assert config["executor"]["class_path"] == "readout.executors.Ray"
    head, others = sorted((shlex.split(step) for step in steps), key=lambda words: "--head" not in words)
    assert {"--cpus-per-task=32", "--nodelist=n1", "--head", "--port=24711"} <= {*head}
    assert {"--cpus-per-task=32", "--exclude=n1", "--nodes=3"} <= {*others}
    (address,) = (word for word in others if word.startswith("--address="))
    assert address.endswith(":24711")
    assert all({"--num-cpus=32", "--num-gpus=4", "--block"} <= {*node} for node in (head, others))


def script(name: str) -> str:
    """A file that a page says to write."""
    (text,) = [step.text for step in STEPS if step.title == name]
    return text


def called(name: str) -> list[str]:
    """Run a script of a page; return the commands that it calls."""
    Path(name).write_text(script(name), encoding="utf-8")
    done = subprocess.run(["bash", name], check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line.startswith(("python", "srun"))]


def run(step: Step, names: dict[str, object] | None = None) -> None:
    """Do what a page says, in this process and folder.

    Args:
        step: What to do.
        names: What snippets before it have defined.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if step.kind == "file":
            assert step.title is not None
            with Path(step.title).open("a", encoding="utf-8") as file:
                file.write(step.text)
            sys.modules.pop(Path(step.title).stem, None)  # a page adds to a file that has been imported before
            importlib.invalidate_caches()
            return
        if step.kind == "python":
            exec(compile(step.text, step.page, "exec"), {"__name__": "__main__"} if names is None else names)
            return
        if step.text.startswith(PROGRAM):
            status = cli.main(small(arguments(step.text)))
            assert status == 0, f"{step.page}: {step.text}\n{said.getvalue()}"
        else:
            run_script(step)
    assert said.getvalue().strip(), f"{step.page} says nothing: {step.text}"


def run_script(step: Step) -> None:
    """``python -m MODULE``, the module being a file that the page said to write."""
    python, flag, module, *rest = shlex.split(step.text)
    assert (python, flag) == ("python", "-m"), f"{step.page}: no test knows how to run {step.text!r}; see NOT_RUN"
    assert Path(f"{module}.py").is_file(), f"{step.page}: {module}.py is not on the page"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *rest])
        runpy.run_module(module, run_name="__main__")


def small(given: list[str]) -> list[str]:
    """The same command at settings that take a second."""
    name, *rest = given
    if name == "layers":
        return [name, *rest, *(["--model.weights=random"] if "VGG19" in rest else [])]
    if name == "compare":
        return [*given, "--resamples=2", "--model.extractor.weights=random", *["--data.limit=8"] * ("IMAGES" in rest)]
    if name == "learn":
        few = "--data.inputs.count=40", "--trainer.max_steps=3", "--model.latents=64"
        images = ["--data.inputs.size=32", "--data.extractor.weights=random", "--model.resample_every=null"]
        return [*given, *few, *(images if "vgg_sae.yaml" in rest else [])]
    if name in ("encode", "decode"):
        return [*given, "--size=32", "--model.extractor.weights=random", "--trainer.accelerator=cpu"]
    if name not in ("fit", "invert") or any(item.endswith(("linear_check.yaml", "/config.yaml")) for item in rest):
        return given  # as small as can be, or what was small before
    if "digits_class.yaml" in rest:
        return [*given, "--model.extractor.epochs=1", "--data.limit=2", "--sweep.levels=[0, 0.5]"]
    if "superposition.yaml" in rest:
        return [*given, "--data.count=2", "--trainer.max_steps=2"]
    text = re.search(NEEDS_WEIGHTS, " ".join(rest)) is not None
    end = ["--trainer.max_steps=2", "--trainer.accelerator=cpu"]
    if "causal_search.yaml" in rest:  # a step reads a token
        end = ["--trainer.max_steps=64", "--trainer.accelerator=cpu", "--model.candidates=64"]
    if not text and not {"my_models.MyNet", "runs/encode/encoding.yaml"} & {*rest}:
        end.append("--model.extractor.weights=random")
    if {"vgg_sae_codes.yaml", "denoised.yaml"} & {*rest}:
        end.append("--sweep.layers=[conv3_1]")
    if "IMAGES" in rest:
        end.append("--data.limit=2")
    if "UniformNoise" in rest:
        end += ["--data.count=1", "--data.shape=[3, 32, 32]"]
    if "--model.training_data" in rest:
        # `invert` takes the size of the features
        end += ["--model.training_data.count=16", *(["--model.training_data.size=32"] if name == "fit" else [])]
    if "TrainedDecoder" in rest:
        end += ["--model.training_steps=2", "--model.width=4", "--model.blocks=1"]
    if "refined.yaml" in rest:
        least = "training_data.count=16", "training_data.size=32", "training_steps=2", "width=4", "blocks=1"
        end += [f"--model.start.{each}" for each in least]
    if name == "invert":
        return [name, *rest, *end, *(["--size=32"] if "runs/decode/features" in rest else [])]
    Path("small.yaml").write_text(yaml.safe_dump(SMALL["texts" if text else "images"]))
    place = max(index for index, item in enumerate(rest) if item == "--config") + 2
    return [name, *rest[:place], "--config", "small.yaml", *rest[place:], *end]
