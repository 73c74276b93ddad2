"""How often a sweep loads its inputs, and what of them goes to other processes."""

import io
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console

from readout.common.errors import ReadoutError
from readout.data import InputData, Sample
from readout.data.in_memory import ImagesInMemory
from readout.external.collect import Found
from readout.external.shapes import as_features
from readout.perturbations import GaussianPerturbation, Perturbation, TangentPerturbation, Toward
from readout.priors import Pixels
from readout.readouts import ClassReadout, FeatureInversion, Identification, Readout
from readout.readouts.run import inputs_of, read
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.driver import Driver
from readout.sweep.external import ExternalSweep
from readout.sweep.options import RunOptions
from readout.sweep.plan import Plan
from tests.helpers import runtime
from tests.readouts.test_contract import READOUTS, fast
from tests.tiny import Identity, TinyClassifier, TinyNet

SIDE = 8
BYTES = 3 * SIDE * SIDE * 4
"""Size of an image."""

PER_FEATURE = 400
"""Most bytes that go along with the values of a feature."""

PER_INPUT = 150
"""Most bytes per input that may go to other processes: its name, label and digest."""


QUIET = Console(file=io.StringIO())


class Counted(InputData):
    """Noise, and how often each input was loaded; with two channels, inputs are no images."""

    def __init__(self, count: int, channels: int = 2, shift: float = 0) -> None:
        super().__init__()
        self.count, self.channels, self.shift = count, channels, shift
        self.loads: Counter[str] = Counter()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        self.loads[str(index)] += 1
        generator = torch.Generator().manual_seed(index)
        return Sample(str(index), torch.rand(self.channels, SIDE, SIDE, generator=generator) + self.shift)


def sweep(folder: Path, data: Counted, **options: Any) -> None:
    """Batches of two inputs each; the probe takes the first and those in the middle."""
    readout = FeatureInversion(Identity(), Pixels(), optimizer=fast)
    driver = Sweep(levels=[0, 0.5], batch_size=4, output=str(folder), **options)
    driver.measure(readout, data, runtime(3), QUIET, report=False)


def test_inputs_that_fit_in_memory_are_loaded_once(tmp_path: Path) -> None:
    data = Counted(4)
    sweep(tmp_path, data)
    assert set(data.loads.values()) == {1}


def test_other_inputs_are_loaded_once_to_begin_with_and_once_per_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readout.data.samples.MEMORY", 2 * SIDE * SIDE * 4)
    data, again, toward = Counted(12), Counted(12), Counted(12)
    sweep(tmp_path / "gaussian", data)
    assert [data.loads[name] for name in ("0", "9", "10", "11")] == [1, 2, 2, 2]
    sweep(tmp_path / "gaussian", again)
    assert set(again.loads.values()) == {1}  # nothing is left to do
    sweep(tmp_path / "toward", toward, perturbation=Toward())
    # the even ones are needed in the batch before, too
    assert [toward.loads[name] for name in ("0", "9", "10", "11")] == [1, 2, 3, 2]


def test_images_that_the_folder_holds_are_not_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readout.data.samples.MEMORY", 0)
    first, again = Counted(12, channels=1), Counted(12, channels=1)
    sweep(tmp_path, first)
    (tmp_path / "inputs" / "2.png").write_bytes(b"damaged")
    sweep(tmp_path, again)
    assert first.loads["11"] == 3  # to check it, for its picture, and for its batch
    assert [again.loads[name] for name in ("1", "2", "11")] == [1, 2, 1]
    torch.testing.assert_close(
        ResultStore(tmp_path).load_inputs("2")["2"][:1], first[2].input, atol=0.5 / 255 + 1e-6, rtol=0
    )


def test_an_input_that_changes_during_a_sweep_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readout.data.samples.MEMORY", 0)
    data = Counted(4)

    def edit(*problems: Any, **inputs: Any) -> Any:
        data.shift = 0.1
        return read(*problems, **inputs)

    monkeypatch.setattr("readout.sweep.jobs.read", edit)
    with pytest.raises(ReadoutError, match="Input '2' has changed since the run began"):
        sweep(tmp_path, data)


def images(count: int) -> ImagesInMemory:
    generator = torch.Generator().manual_seed(0)
    return ImagesInMemory({f"{place:03d}": torch.rand(3, SIDE, SIDE, generator=generator) for place in range(count)})


def sent(driver: Driver) -> bytes:
    """What another process needs to read a batch."""
    return pickle.dumps((driver.readout, driver.perturbation, driver.label, driver.example))


def of_sweep(folder: Path, readout: Readout, layer: str, perturbation: Perturbation, count: int) -> Driver:
    """A planned sweep, whose readout has read problems already."""
    asked = Sweep(layer, [0, 0.5], output=str(folder), perturbation=perturbation, batch_size=2)
    driver = asked._driver(readout, asked._load(readout, images(count)), runtime(2), QUIET)
    with driver.working():
        driver.plan(QUIET)
    return driver


@pytest.mark.parametrize("perturbation", [GaussianPerturbation, TangentPerturbation, Toward])
@pytest.mark.parametrize("name", [name for name, entry in READOUTS.items() if not entry.weights and not entry.codes])
def test_no_input_of_a_sweep_goes_to_other_processes(tmp_path: Path, name: str, perturbation: type) -> None:
    entry = READOUTS[name]
    few, many = (len(sent(of_sweep(tmp_path, entry.make(""), entry.layer, perturbation(), count))) for count in (2, 12))
    candidates = BYTES if name == "identification" else 0  # which are what it reads
    assert many - few < 10 * (candidates + PER_INPUT)


@pytest.mark.parametrize("readout", [ClassReadout(TinyClassifier()), Identification(TinyClassifier())])
def test_what_was_sent_reads_the_same(tmp_path: Path, readout: Readout) -> None:
    driver = of_sweep(tmp_path, readout, "image", Toward(), 3)
    problems, trainer = driver.problems["image"], runtime(2).make_bare_trainer
    tables = []
    for own, moved, label, _ in (pickle.loads(sent(driver)), (driver.readout, driver.perturbation, driver.label, None)):
        inputs = inputs_of(problems, driver.inputs, moved)
        rows, recovered = read(own, problems, inputs, moved, lambda each: each.run(trainer()))
        tables.append(label(rows, recovered, inputs).drop(columns="seconds"))
    here, there = tables
    pd.testing.assert_frame_equal(here, there, check_exact=True)
    assert (here["feature_distance"] > 0).sum() == 3


@pytest.mark.parametrize("layers", [["middle"], ["early", "middle"]])
def test_external_features_and_the_network_go_along_once_and_true_inputs_do_not(
    tmp_path: Path, layers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bytes] = []
    plan = Driver.plan

    def planned(driver: Driver, console: Console) -> Plan:
        made = plan(driver, console)
        found.append(sent(driver))
        return made

    monkeypatch.setattr(Driver, "plan", planned)
    for count in (2, 12):
        true = torch.stack([sample.input for sample in images(count)])
        features = {layer: TinyNet().extract(true, layer) for layer in layers}
        names, shapes = [str(place) for place in range(count)], {layer: x.shape[1:] for layer, x in features.items()}
        files = [Found("file", layer, "", x.numpy(), names) for layer, x in features.items()]
        readout = FeatureInversion(TinyNet(), Pixels(), optimizer=fast)
        options = RunOptions(tmp_path, resume=True, threshold=None, tolerance=1e-4, batch_size=2, checkpoint_minutes=5)
        inversion = ExternalSweep(options, plan_only=True)
        known = dict(zip(names, true, strict=True))
        shape = (3, SIDE, SIDE)
        inversion.run(readout, as_features(files, shapes, "TinyNet", shape), shape, runtime(2), known, QUIET)
    each = sum(x[0].nbytes + PER_FEATURE for x in features.values())
    assert len(found[1]) - len(found[0]) < 10 * each
    readout, _, label, _ = pickle.loads(found[0])
    by_layer = label.keywords["by_layer"]
    assert by_layer.args[0] is readout
    assert by_layer.args[1] is (readout.extractor if len(layers) == 1 else readout.extractor.network)
