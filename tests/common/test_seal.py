"""Damage to any file that is read back: the same content, or one sentence that names the file."""

import io
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console

from readout import load_results
from readout.analysis.external import ASKED, asked_keys
from readout.analysis.outputs import read_outputs
from readout.callbacks.logbook import NAME, Logbook, read_entry, read_name
from readout.callbacks.loggers.csv import CSVAdapter
from readout.common.errors import ReadoutError
from readout.common.files import write_whole
from readout.common.seal import COMMENT, UNSEALED, is_damaged
from readout.common.software import versions
from readout.prediction import beside
from readout.problems import Setting
from readout.problems.identity import batch_name
from readout.store import ResultStore, read_config
from readout.sweep.checkpoints import FOLDER, Checkpoints, WholeFiles, file_name
from readout.sweep.options import RunOptions
from tests.test_store import pictures, table

FLIPS, CUTS = 40, 15
SEAL = UNSEALED.encode()
CONFIG = {"seed_everything": 0, "sweep": {"threshold": 0.2, "tolerance": 0.03, "estimator": "crossing"}}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """A folder with one of everything that is read back."""
    store = ResultStore(tmp_path / "out")
    store.append(table("a"), pictures(1))
    store.append(table("b"), pictures(1))
    store.save_input("cat", torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)))
    store.write_setting(Setting("weights", {"optimizer": {"lr": 0.05}}, "given", 10, "32-true"))
    store.write_text("config.yaml", RunOptions(store.folder).kept(CONFIG, 0.2))
    store.write_text(ASKED, f"{COMMENT}a\nb\n")
    predicted = pd.DataFrame([{"layer": "late", "sample": "0", "level": 0.5, "predicted_distance": 0.1}])
    predicted = predicted.assign(weights_digest="01", input_digest="02", threshold=0.2)
    beside.write_predictions(store, pd.concat([predicted, predicted.assign(level=0.9)]))
    book = Logbook(store)
    entry = book.entry(book.run_id("layer"), {"class_path": "Some"})
    entry.curves["0.5"] = "0123456789abcdef"
    entry.save()
    return store


def damaged(content: bytes, seed: int) -> Iterator[bytes]:
    """Flipped bits, cuts, noise, nothing, zeros."""
    draw = random.Random(seed)
    for _ in range(FLIPS):
        flipped, place = bytearray(content), draw.randrange(8 * len(content))
        flipped[place // 8] ^= 1 << place % 8
        yield bytes(flipped)
    for _ in range(CUTS):
        yield content[: draw.randrange(len(content))]
    yield from (draw.randbytes(len(content)), b"", bytes(len(content)))


def read_tensors(path: Path) -> list[list[float]]:
    tensors = ResultStore(path.parents[1]).load_recovered(["a", "b"])
    return [tensors[key].flatten().tolist() for key in ("a", "b")]


def read_input(path: Path) -> list[float]:
    return ResultStore(path.parents[1]).load_inputs(["cat"])["cat"].flatten().tolist()


READ: dict[str, Callable[[Path], Any]] = {
    "results/*.parquet": lambda path: load_results(path.parents[1], trajectories=True).to_json(),
    "recovered/*.safetensors": read_tensors,
    "inputs/cat.png": read_input,
    "settings/*.yaml": lambda path: ResultStore(path.parents[1]).read_setting(path.stem),
    "config.yaml": lambda path: read_config(path.parent),
    ASKED: asked_keys,
    beside.FILE: lambda path: beside.read_predictions(ResultStore(path.parent)).to_json(),
    f"logged/{NAME}": read_name,
    "logged/*.json": read_entry,
}


@pytest.mark.parametrize("pattern", READ)
def test_damage_is_never_taken_for_content(store: ResultStore, pattern: str) -> None:
    path = sorted(store.folder.glob(pattern))[0]
    content, whole = path.read_bytes(), READ[pattern](path)
    found = 0
    for changed in damaged(content, seed=len(pattern)):
        path.write_bytes(changed)
        sentence = ""
        try:
            assert READ[pattern](path) == whole  # a flip in the words before a digest changes nothing
        except ReadoutError as error:
            sentence = str(error)
        assert not sentence or (path.name in sentence and "\n" not in sentence)
        found += bool(sentence)
    assert found > FLIPS / 3 + CUTS


@pytest.mark.parametrize("pattern", READ)
def test_another_content_is_never_a_traceback(store: ResultStore, pattern: str) -> None:
    path = sorted(store.folder.glob(pattern))[0]
    for content in (  # lists, words and dates where something else should be
        b"- 1\n- [",
        b"- 1",
        b'{"a": [1]}',
        b'{"curves": 3}',
        b"2026-99-99",
        b"[" * 500,
        b"\xff",
        b"1,2\n3",
    ):
        path.write_bytes(content)
        with suppress(ReadoutError):
            READ[pattern](path)


def test_a_damaged_checkpoint_is_not_gone_on_with(tmp_path: Path) -> None:
    keys = ["a", "b"]
    problems = cast(Any, [SimpleNamespace(key=key) for key in keys])
    path = tmp_path / FOLDER / file_name("setting", batch_name(keys))
    attempt = {"todo": [0, 1], "rows": [], "recovered": [], "restart": 0}
    batch = {"keys": keys, "versions": versions(), "attempt": attempt}
    WholeFiles().save_checkpoint({"batch": batch, "inversion": {"step": 7}, "weights": torch.rand(2000)}, path)
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path, "setting", None, said.append)
    assert checkpoints.begun(problems, set()) == [problems]
    assert said == []
    content = path.read_bytes()
    for changed in damaged(content, seed=0):
        if not changed.startswith(content[: -len(SEAL)]):  # all but the words before the digest
            path.write_bytes(changed)
            assert checkpoints.begun(problems, set()) == []
            assert said.pop().endswith("so its batch starts over")


def test_damaged_files_are_set_aside_and_only_those(store: ResultStore) -> None:
    lost = [sorted(store.folder.glob(pattern))[0] for pattern in (beside.FILE, f"logged/{NAME}", "logged/*.json")]
    lost.append(sorted(store.recovered.glob("*.safetensors"))[0])
    for path in lost:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    console = Console(file=io.StringIO(), width=400)
    RunOptions(store.folder).open_store("sweep", console)
    said = cast(io.StringIO, console.file).getvalue().splitlines()
    assert len(said) == len(lost)
    for path in lost:
        assert f"{path} is damaged; it is now {path.name}.broken" in "\n".join(said)
        assert path.with_name(f"{path.name}.broken").exists()
    assert len(store.finished()) == 1
    assert beside.read_predictions(store).empty
    assert RunOptions(store.folder).open_store("sweep", Console(quiet=True)).finished() == store.finished()


def test_files_of_older_versions_are_read_as_ever(store: ResultStore) -> None:
    expected = load_results(store.folder)
    for path in store.results.iterdir():
        pd.read_parquet(path).to_parquet(path)  # which keeps no metadata of ours
    text = (store.folder / "config.yaml").read_text(encoding="utf-8").partition("\n")[2]
    (store.folder / "config.yaml").write_text(text, encoding="utf-8")
    pd.testing.assert_frame_equal(load_results(store.folder), expected)
    (store.folder / "logged" / NAME).write_text("0123456789abcdef")
    assert read_name(store.folder / "logged" / NAME) == "0123456789abcdef"


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"threshold": "a lot"}, r"sweep.threshold in '.*config.yaml' is 'a lot'; give a number above 0"),
        ({"threshold": [0.1]}, r"sweep.threshold in .* give a number above 0"),
        ({"tolerance": -1}, r"sweep.tolerance in .* give a number of at least 0"),
        ({"estimator": ["max"]}, r"sweep.estimator in .* is \['max'\]"),
        (["threshold"], r"section `sweep` of .* is \['threshold'\]"),
        (0.1, r"section `sweep` of .* is 0.1"),
    ],
)
def test_a_configuration_edited_by_hand_is_one_sentence(store: ResultStore, section: Any, sentence: str) -> None:
    path = store.folder / "config.yaml"
    edited = path.read_text(encoding="utf-8").replace("0.2", "0.4")
    path.write_text(edited, encoding="utf-8")
    with pytest.raises(ReadoutError, match=r"was changed since it was written.*delete its first line"):
        load_results(store.folder)
    path.write_text(edited.partition("\n")[2], encoding="utf-8")
    assert set(load_results(store.folder)["threshold"]) == {0.4}
    path.write_text(yaml.safe_dump({"sweep": section}), encoding="utf-8")
    with pytest.raises(ReadoutError, match=sentence):
        read_outputs([store.folder])


def test_a_part_without_rows_is_named(store: ResultStore) -> None:
    path = sorted(store.results.iterdir())[0]
    pd.read_parquet(path).head(0).to_parquet(path)
    with pytest.raises(ReadoutError, match=path.name):
        load_results(store.folder)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1,2\n", b'step,a\n1,"x', b"step\nx\n"])
def test_noise_in_a_log_that_is_carried_on_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "logs" / "early" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ReadoutError, match=r"metrics.csv' can't be read; move it away"):
        CSVAdapter(CSVLogger(tmp_path, "logs", "early")).begin({})


@pytest.mark.parametrize(("before", "after"), [(0, 3 << 20), (3 << 20, 0), (5, 5)])
def test_a_seal_is_found_near_either_end_of_a_large_file(tmp_path: Path, before: int, after: int) -> None:
    path = write_whole(tmp_path / "file", lambda file: file.write_bytes(b"x" * before + SEAL + b"y" * after))
    assert not is_damaged(path)
    content = bytearray(path.read_bytes())
    content[0 if before else -1] ^= 1
    path.write_bytes(content)
    assert is_damaged(path)
