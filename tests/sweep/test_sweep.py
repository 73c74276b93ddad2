"""Sweeps over inputs that can't all be run."""

import html
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor, nn

from readout import load_results
from readout.analysis.outputs import read_outputs
from readout.analysis.report import report
from readout.analysis.sizes import sizes_table
from readout.common.errors import ReadoutError
from readout.data.in_memory import ImagesInMemory
from readout.extractors import FeatureExtractor
from readout.perturbations import GaussianPerturbation
from readout.priors import Pixels
from readout.readouts import FeatureInversion, ImageInversion
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.external import ExternalSweep
from readout.sweep.options import RunOptions
from readout.sweep.runtime import Runtime
from tests.helpers import CPU

LEVELS = [0.0, 0.5]


class Overflow(nn.Module):
    """Infinite wherever a value is above a limit, as in half precision."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 2, torch.inf, x)


class Picky(FeatureExtractor):
    """``dead`` is constant for dark images, ``wide`` infinite for bright ones; ``first`` and ``last`` take all."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2)
        shift = nn.Conv2d(3, 3, 1)
        shift.weight.data, shift.bias.data = torch.eye(3).view(3, 3, 1, 1), torch.full((3,), -0.3)  # type: ignore[union-attr]
        double = nn.Conv2d(3, 3, 1, bias=False)
        double.weight.data = 2.5 * torch.eye(3).view(3, 3, 1, 1)
        parts = {"first": first, "shift": shift, "dead": nn.ReLU(), "gain": double, "wide": Overflow(), "last": last}
        super().__init__(_Branches(parts), {name: f"parts.{name}" for name in ("first", "dead", "wide", "last")})


class _Branches(nn.Module):
    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        self.parts["first"](x)
        self.parts["dead"](self.parts["shift"](x))
        self.parts["wide"](self.parts["gain"](x))
        out: Tensor = self.parts["last"](x)
        return out


def images(**scales: float) -> ImagesInMemory:
    """Noise from 0 up to a brightness each."""
    generator = torch.Generator().manual_seed(0)
    return ImagesInMemory({name: scale * torch.rand(3, 12, 12, generator=generator) for name, scale in scales.items()})


def inversion(network: FeatureExtractor) -> FeatureInversion:
    return ImageInversion(network, Pixels(), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.05))


def sweep(
    folder: Path,
    data: ImagesInMemory,
    *callbacks: Callback,
    network: FeatureExtractor | None = None,
    page: bool = False,
    **settings: Any,
) -> str:
    """What is said; with a page as ``fit`` does, without one as ``measure`` does."""
    console = Console(file=io.StringIO(), width=300)
    asked = {"layers": ["first", "last"], "levels": LEVELS, "batch_size": 3, **settings}
    driver = Sweep(**asked, output=str(folder))
    trainer = {**CPU, "max_steps": 4, "callbacks": list(callbacks)}
    config = {"sweep": {key: value for key, value in asked.items() if key != "perturbation"}}
    runtime = Runtime(trainer, config=config, seed=1)
    if page:
        driver.run(inversion(network or Picky()), data, runtime, console)
    else:
        driver.measure(inversion(network or Picky()), data, runtime, console, report=False)
    return console.file.getvalue()  # type: ignore[attr-defined]


ONE_BY_ONE = {"dark": ("dead", "the same value everywhere"), "bright": ("wide", "values that are not finite")}


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("search", ["grid", "bisection"])
def test_an_input_that_a_layer_can_not_tell_is_marked_and_the_rest_goes_on(tmp_path: Path, search: str) -> None:
    data, layers = images(dark=0.2, bright=1.0, plain=0.7), ["first", "dead", "wide", "last"]
    said = sweep(tmp_path / "all", data, search=search, layers=layers)
    results = load_results(tmp_path / "all", trajectories=True)
    parts = len(list((tmp_path / "all" / "results").iterdir()))
    for name, (layer, reason) in ONE_BY_ONE.items():
        assert f"Nothing was inverted at {layer} for {name}: its feature has {reason}" in said
        marked = results[(results["layer"] == layer) & (results["sample"] == name)]
        assert (marked["verdict"] == "failed").all()
        assert (marked["restarts"] == 0).all()
        assert marked[["distance", "feature_distance", "loss", "best_distance"]].isna().all(axis=None)
        assert not set(ResultStore(tmp_path / "all").load_recovered(results["key"])) & set(marked["key"])
    assert results["reason"].notna().sum() == 4
    assert (results["verdict"] == "failed").sum() == 4
    # the others are as without them
    sweep(tmp_path / "some", data, search=search)
    ran = results[results["layer"].isin(["first", "last"])].drop(columns=["seconds", "reason"])
    alone = load_results(tmp_path / "some", trajectories=True).drop(columns="seconds")
    pd.testing.assert_frame_equal(ran.reset_index(drop=True), alone, check_exact=True)
    sizes = sizes_table(results).set_index(["layer", "sample"])
    assert sizes["representation_size"].isna()[("dead", "dark")]
    assert sizes.loc[("wide", "bright"), "flags"] == "undefined"
    assert sizes["representation_size"].isna().sum() == 2
    # again it says the same, and computes nothing
    again = sweep(tmp_path / "all", data, search=search, layers=layers, page=search == "grid")
    for line in said.splitlines():
        assert line in again or not line.startswith("Nothing was")
    assert len(list((tmp_path / "all" / "results").iterdir())) == parts
    if search == "grid":
        assert "nothing left to do" in again
        page = (tmp_path / "all" / "report.html").read_text()
        assert "Nothing was inverted at dead for dark" in page
        assert ">nan" not in page


def test_a_layer_that_tells_no_input_is_said_and_later_ones_run(tmp_path: Path) -> None:
    said = sweep(tmp_path, images(a=0.1, b=0.2), layers=["dead", "last"], batch_size="auto")
    assert "Nothing was inverted at dead for a, b: its feature has the same value everywhere" in said
    results = load_results(tmp_path)
    assert results["reason"].notna().groupby(results["layer"]).all().to_dict() == {"dead": True, "last": False}
    assert "Nothing was inverted" in report([tmp_path]).read_text()


class Refusing(GaussianPerturbation):
    """Takes no feature whose values are small, but at level 0."""

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Any, mask: Tensor | None = None) -> Tensor:
        if ((feature.flatten(1).std(1) < 0.1) & (levels.to(feature) > 0)).any():
            raise ReadoutError("A feature is too small; give larger ones.")
        return super().__call__(feature, levels, seeds, mask)


def test_a_level_that_can_not_be_made_of_one_input_is_marked_alone(tmp_path: Path) -> None:
    said = sweep(tmp_path, images(dark=0.1, plain=0.7), layers=["first"], perturbation=Refusing())
    assert "at first for dark at level 0.5: A feature is too small; give larger ones." in said
    results = load_results(tmp_path).set_index(["sample", "level"])
    assert results["reason"].notna().to_dict() == {
        ("dark", 0.0): False,
        ("dark", 0.5): True,
        ("plain", 0.0): False,
        ("plain", 0.5): False,
    }
    assert "rests_on_failed" in sizes_table(results.reset_index()).set_index("sample")["flags"]["dark"]


class Removes(Callback):
    """Removes a folder when a fit begins, counted over all fits."""

    def __init__(self, folder: Path, *fits: int) -> None:
        self.folder, self.fits, self.seen = folder, fits, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen += 1
        if self.seen in self.fits:
            shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.parametrize("removed", ["results", "recovered", "."])
def test_results_that_go_while_a_sweep_runs_are_computed_again(tmp_path: Path, removed: str) -> None:
    out = tmp_path / "out"
    said = sweep(out, images(a=0.7), Removes(out / removed, 2))
    assert f"2 results have gone from {out}; they are computed again" in said
    assert len(ResultStore(out).load_recovered(load_results(out)["key"])) == 4
    assert (out / "config.yaml").exists()
    assert len(pd.read_csv(out / "sizes.csv")) == 2


def test_results_that_go_again_are_an_error(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ReadoutError, match=r"2 results have gone from .* twice; find out what removes them"):
        sweep(out, images(a=0.7), Removes(out / "results", *range(2, 9)))


@pytest.mark.parametrize("search", ["grid", "bisection"])
def test_what_is_missing_is_said(tmp_path: Path, search: str) -> None:
    def lacks() -> str:
        return " ".join(read_outputs([tmp_path])[0].lacks)

    data = images(a=0.7, b=0.5)
    sweep(tmp_path, data, search=search)
    total = len(load_results(tmp_path))
    assert not lacks()
    next((tmp_path / "recovered").glob("*.safetensors")).unlink()
    assert f"of {total} inversions are missing, so they are not shown" in lacks()
    sweep(tmp_path, data, search=search)
    assert not lacks()
    shutil.rmtree(tmp_path / "recovered")
    assert f"Recovered inputs of {total} of {total} inversions are missing" in lacks()
    if search == "grid":
        assert lacks() in html.unescape(report([tmp_path]).read_text())
    sorted((tmp_path / "results").iterdir())[0].unlink()
    assert f"{len(load_results(tmp_path))} of {total} inversions are here" in lacks()


@pytest.mark.usefixtures("reports")
def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    layers = ["[/]", "[bold]", r"$\frac$", "_hidden_100%", "<b>x</b>", "Case", "case", ":cat:", "a\nb"]
    network = Picky()
    network.layers = dict.fromkeys(layers, "parts.first")
    out = tmp_path / "[x]" / "[/y]"
    said = sweep(
        out, ImagesInMemory({"[red]": torch.rand(3, 12, 12)}), network=network, layers=layers, levels=[0.0], page=True
    )
    for name in [*layers[:-1], f" {out}", f"report {out}"]:
        assert name in said
    assert load_results(out)["layer"].tolist() == layers
    page = report([out]).read_text()
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<b>x</b>" not in page
    folders = [path.name.casefold() for path in (out / "recovered").iterdir() if path.is_dir()]
    assert len(set(folders)) == len(layers)


def test_a_sweep_is_one_process_whatever_slurm_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {"NTASKS": "2", "JOB_ID": "7", "JOB_NAME": "train", "PROCID": "1", "LOCALID": "1", "NODEID": "0"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"another project's")
    sweep(tmp_path / "out", images(a=0.7), layers=["last"])
    assert len(load_results(tmp_path / "out")) == 2
    assert os.environ["SLURM_JOB_NAME"] == "train"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    sweep(Path("~/out"), images(a=0.7), layers=["last"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(load_results("~/out")) == 2
    assert report(["~/out"], "~/page.html") == tmp_path / "page.html"


def test_a_given_feature_whose_true_input_has_none_is_marked_and_the_others_are_inverted(tmp_path: Path) -> None:
    true = {sample.name: sample.input for sample in images(bright=1.0, plain=0.7)}
    features = {name: {"wide": torch.rand(3, 12, 12)} for name in true}
    console = Console(file=io.StringIO(), width=300)
    driver = ExternalSweep(RunOptions(tmp_path, batch_size=2))
    runtime = Runtime({**CPU, "max_steps": 4})
    results = driver.run(inversion(Picky()), features, (3, 12, 12), runtime, true, console).set_index("sample")
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Nothing was inverted at wide for bright: its feature has values that are not finite" in said
    assert results["verdict"]["bright"] == "failed"
    assert results["reason"].isna().to_dict() == {"bright": False, "plain": True}
    page = (tmp_path / "report.html").read_text()
    assert "Nothing was recovered: its feature has values that are not finite" in page
