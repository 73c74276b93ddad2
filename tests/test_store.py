import errno
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import readout
from readout.analysis.sizes import sizes_table
from readout.common.errors import ReadoutError
from readout.data.images import read_image, write_png
from readout.problems.identity import digest
from readout.store import (
    COLUMNS,
    TRAJECTORY,
    ResultStore,
    judge,
    load_results,
)

Table = pd.DataFrame


def row(key: str, **changes: Any) -> dict[str, Any]:
    """One finished problem."""
    values: dict[str, Any] = {
        **{"model": "TinyNet", "weights": "own", "prior": "Pixels", "protocol": "paper", "layer": "late"},
        **{"layer_index": 2, "weights_digest": "0123456789abcdef", "label": None},
        **{"feature_dim": 64, "input_dim": 48, "sample": f"sample {key}", "level": 0.5, "draw": 0, "reading": 0},
        **{"seed": 0, "readout": "ImageInversion", "signal": "input", "spread": math.nan},
        **{"threshold": 0.1, "metric": "correlation_distance", "distance": 0.05, "best_distance": 0.04},
        **{"best_step": 10, "feature_distance": 0.48, "recovered_feature_distance": 0.2, "loss": 1.0, "floor": 1.1},
        **{"scale": 2.0, "dead": False, "tolerance": 0.01, "verdict": "recovered", "steps": 20, "restarts": 0},
        **{"seconds": 1.5, "setting": "abc", "key": key, "trajectory_step": [0, 10, 20], "ssim": 0.9},
        **{name: [0.3, math.nan, 0.1] for name in TRAJECTORY[1:]},
    }
    return values | changes


def table(*keys: str, **changes: Any) -> Table:
    return pd.DataFrame([row(key, **changes) for key in keys])


def pictures(count: int, value: float | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, 3, 4, 4, generator=generator) if value is None else torch.full((count, 3, 4, 4), value)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files of results that are opened."""
    names: list[str] = []

    def spied(read: Callable[..., Any]) -> Callable[..., Any]:
        def spy(path: Path, *arguments: Any, **more: Any) -> Any:
            names.append(path.name)
            return read(path, *arguments, **more)

        return spy

    monkeypatch.setattr(pq, "ParquetFile", spied(pq.ParquetFile))
    monkeypatch.setattr("readout.store.recovered.safe_open", spied(safe_open))
    return names


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".partial")]


def half_written(error: BaseException) -> Callable[[Any, Path], None]:
    """A writer that gives up half-way."""

    def write(_: Any, path: Path, *more: Any) -> None:
        path.write_bytes(b"half of it")
        raise error

    return write


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "out")


# Roundtrips


def test_what_is_appended_is_loaded(store: ResultStore) -> None:
    first, second = table("a", "b"), table("c", distance=0.2, verdict="unrecovered")
    store.append(first, pictures(2))
    store.append(second, pictures(1))
    expected = pd.concat([first, second], ignore_index=True).drop(columns=list(TRAJECTORY))
    loaded = store.load().sort_values("key", ignore_index=True)
    pd.testing.assert_frame_equal(loaded, expected[loaded.columns], check_dtype=False)
    assert list(loaded.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert store.finished() == {"a", "b", "c"}


def test_rows_are_loaded_in_one_order_whatever_order_they_were_computed_in(store: ResultStore) -> None:
    layers = {"conv10": 1, "conv9": 0}
    rows = [
        row(f"{layer}{sample}{draw}{level}", layer=layer, layer_index=index, sample=sample, draw=draw, level=level)
        for level in (0.5, 0.1)
        for draw in (1, 0)
        for sample in ("dog", "cat")
        for layer, index in layers.items()
    ]
    for part in (rows[5:], rows[:5]):
        store.append(pd.DataFrame(part), pictures(len(part)))
    order = store.load()[["layer", "sample", "draw", "level"]].itertuples(index=False, name=None)
    assert list(order) == [
        (layer, sample, draw, level)
        for layer in ("conv9", "conv10")
        for sample in ("cat", "dog")
        for draw in (0, 1)
        for level in (0.1, 0.5)
    ]


def test_trajectories_are_loaded_only_when_asked_for(store: ResultStore) -> None:
    store.append(table("a"), pictures(1))
    assert not set(TRAJECTORY) & set(store.load().columns)
    loaded = store.load(trajectories=True).iloc[0]
    assert list(loaded["trajectory_step"]) == [0, 10, 20]
    for name in TRAJECTORY[1:]:
        np.testing.assert_array_equal(np.asarray(loaded[name]), [0.3, math.nan, 0.1])


def test_trajectories_may_differ_in_length(store: ResultStore) -> None:
    short = {name: [0.5] for name in TRAJECTORY[1:]} | {"trajectory_step": [0]}
    store.append(pd.DataFrame([row("a"), row("b", **short)]), pictures(2))
    loaded = store.load(trajectories=True).sort_values("key")
    assert [len(losses) for losses in loaded["trajectory_loss"]] == [3, 1]


def test_parts_with_different_metrics_load_together(store: ResultStore) -> None:
    store.append(table("a"), pictures(1))
    store.append(table("b", psnr=20.0).drop(columns="ssim"), pictures(1))
    loaded = store.load().set_index("key")
    assert loaded.loc["a", "ssim"] == 0.9
    assert loaded.loc["b", "psnr"] == 20.0
    assert loaded[["ssim", "psnr"]].isna().sum().tolist() == [1, 1]


def test_values_that_are_not_finite_come_back(store: ResultStore) -> None:
    store.append(table("a", distance=math.nan, loss=math.inf, dead=True, verdict="failed"), pictures(1))
    store.append(table("b"), pictures(1))
    loaded = store.load().sort_values("key")
    assert loaded["distance"].isna().tolist() == [True, False]
    assert loaded["loss"].tolist() == [math.inf, 1.0]
    assert loaded["dead"].tolist() == [True, False]


def test_recovered_inputs_come_back_to_the_bit(store: ResultStore) -> None:
    recovered = pictures(3)
    recovered[2, 0, 0, 0] = math.nan
    store.append(table("a", "b", "c"), recovered)
    found = store.load_recovered(["a", "c"])
    assert set(found) == {"a", "c"}
    assert set(store.load_recovered(["a", "never heard of"])) == {"a"}
    assert torch.equal(found["a"], recovered[0])
    assert torch.equal(found["c"].isnan(), recovered[2].isnan())


def test_inputs_that_are_not_images_have_no_picture(store: ResultStore) -> None:
    text = torch.randn(1, 7, 16, generator=torch.Generator().manual_seed(0))
    store.append(table("a"), text)
    store.save_input("text", text[0])
    assert not list(store.folder.rglob("*.png"))
    assert torch.equal(store.load_recovered(["a"])["a"], text[0])
    assert store.load_inputs(["text"]) == {}


def test_every_recovered_image_has_a_picture_of_its_own(store: ResultStore) -> None:
    rows = [
        row(f"{sample}{layer}{level}{draw}", sample=sample, layer=layer, level=level, draw=draw)
        for sample in ("a b", "a_b", "a/b")
        for layer in ("blocks.1", "blocks.11")
        for level in (0.1, 0.11)
        for draw in (0, 1)
    ]
    store.append(pd.DataFrame(rows), pictures(len(rows)))
    assert len(list(store.recovered.rglob("*.png"))) == len(rows)


def test_true_inputs_are_kept_as_pictures(store: ResultStore) -> None:
    image = pictures(1)[0]
    store.save_input("a cat/on a mat", image)
    found = store.load_inputs(["a cat/on a mat", "never heard of"])
    assert list(found) == ["a cat/on a mat"]
    torch.testing.assert_close(found["a cat/on a mat"], image, rtol=0, atol=0.5 / 255 + 1e-6)


def test_an_empty_store_holds_nothing(store: ResultStore) -> None:
    assert store.finished() == set()
    assert list(store.load().columns) == list(COLUMNS)
    assert len(store.load()) == 0
    store.write_pictures()
    assert store.load_recovered([]) == {}
    assert not store.folder.exists()


def test_the_latest_setting_is_that_of_the_part_written_last(store: ResultStore) -> None:
    store.append(table("a", setting="old"), pictures(1))
    for path in store.results.iterdir():
        os.utime(path, (1, 1))
    store.append(table("b", setting="new"), pictures(1))
    assert store.latest_setting() == "new"


# Whole or not at all


def test_a_key_found_in_two_parts_counts_once(store: ResultStore) -> None:
    store.append(table("a", "b"), pictures(2))
    store.append(table("b", "c"), pictures(2))
    assert sorted(store.load()["key"]) == ["a", "b", "c"]
    assert store.finished() == {"a", "b", "c"}


def test_the_recovered_input_belongs_to_the_row_that_counts(store: ResultStore) -> None:
    store.append(table("a", "b", distance=0.0), pictures(2, 0.0))
    store.append(table("b", "c", distance=1.0), pictures(2, 1.0))
    distance = store.load().set_index("key").loc["b", "distance"]
    assert store.load_recovered(["b"])["b"].mean().item() == distance


def test_appending_the_same_batch_again_replaces_it(store: ResultStore) -> None:
    store.append(table("a", distance=0.2), pictures(1))
    store.append(table("a", distance=0.3), pictures(1))
    assert store.load()["distance"].tolist() == [0.3]
    assert len(list(store.results.iterdir())) == 1


WRITERS = ["parts.write_tables", "results.save_file", "pictures.write_png"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("error", [RuntimeError("killed"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_leaves_no_part(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, writer: str, error: BaseException
) -> None:
    monkeypatch.setattr(f"readout.store.{writer}", half_written(error))
    with pytest.raises(type(error)):
        store.append(table("a"), pictures(1))
    assert store.finished() == set()
    assert not list(store.results.glob("*"))
    assert not partials(store.folder)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_sentence_and_what_is_finished_is_kept(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    store.append(table("a"), pictures(1, 0.25))
    with monkeypatch.context() as patch:
        patch.setattr(f"readout.store.{writer}", half_written(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(ReadoutError, match="the disk is full") as raised:
            store.append(table("b"), pictures(1))
    assert "\n" not in str(raised.value)
    assert store.finished() == {"a"}
    assert store.load_recovered(["a"])["a"].mean().item() == 0.25
    assert not partials(store.folder)
    store.append(table("b"), pictures(1))
    assert store.finished() == {"a", "b"}


def test_a_full_disk_is_recognised_where_a_library_hides_it(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    monkeypatch.setattr("readout.store.results.save_file", half_written(wrapped))
    with pytest.raises(ReadoutError, match="the disk is full"):
        store.append(table("a"), pictures(1))


def test_a_folder_that_cannot_be_looked_into_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "glob", refused)
    with pytest.raises(ReadoutError, match=r"can't be read \(Permission denied\); choose another output"):
        ResultStore(tmp_path).finished()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReadoutError, match="can't be written") as raised:
        ResultStore(tmp_path / "file" / "out").append(table("a"), pictures(1))
    assert "choose another output folder" in str(raised.value)


def test_what_another_process_left_half_written_is_not_a_part(store: ResultStore) -> None:
    store.append(table("a"), pictures(1))
    (store.results / ".0123456789abcdef.parquet.1.partial").write_bytes(b"half of it")
    (store.recovered / ".0123456789abcdef.safetensors.1.partial").write_bytes(b"half of it")
    assert store.finished() == {"a"}
    assert set(store.load_recovered(["a", "b"])) == {"a"}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a table at all", "half"])
@pytest.mark.parametrize("read", [ResultStore.finished, ResultStore.load])
def test_a_broken_part_is_named(
    store: ResultStore, read: Callable[[ResultStore], object], content: bytes | str
) -> None:
    store.append(table("a"), pictures(1))
    store.append(table("b"), pictures(1))
    path = sorted(store.results.iterdir())[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if isinstance(content, str) else content)
    with pytest.raises(ReadoutError, match="can't be read; run the same") as raised:
        read(store)
    assert str(path) in str(raised.value)


def test_parts_of_an_older_version_belong_to_the_same_readout(store: ResultStore) -> None:
    store.append(table("a", level=0.0), pictures(1))
    new = table("b", sample="sample a")
    store.append(new, pictures(1))
    (path,) = (path for path in store.results.iterdir() if digest(["a"])[:16] in path.name)
    pd.read_parquet(path).drop(columns=["readout", "signal", "reading", "spread"]).to_parquet(path)
    loaded = ResultStore(store.folder).load()
    assert loaded["reading"].tolist() == [0, 0]
    assert loaded["spread"].isna().all()
    assert loaded["signal"].tolist() == ["input", "input"]
    assert loaded["readout"].tolist() == ["ImageInversion", "ImageInversion"]
    assert len(sizes_table(loaded)) == 1


def test_a_part_without_keys_is_named(store: ResultStore) -> None:
    store.append(table("a"), pictures(1))
    table("b").drop(columns="key").to_parquet(store.results / "other.parquet")
    with pytest.raises(ReadoutError, match=r"other\.parquet"):
        store.finished()


def test_a_broken_file_of_recovered_inputs_is_named(store: ResultStore) -> None:
    store.append(table("a"), pictures(1))
    path = next(store.recovered.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ReadoutError) as raised:
        store.load_recovered(["a"])
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("folder", ["results", "recovered"])
def test_what_is_cut_short_is_set_aside_and_computed_again(store: ResultStore, folder: str, merged: bool) -> None:
    for key in "abc":
        store.append(table(key), pictures(1, 0.5))
    if merged:
        store.merge("abc", "late")
    path = sorted((store.folder / folder).glob("*.*"))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (sentence,) = store.set_aside_broken()
    assert sentence.startswith(f"{path} is damaged; it is now {path.name}.broken")
    assert [one.name for one in store.folder.rglob("*.broken")] == [f"{path.name}.broken"]
    assert store.set_aside_broken() == []
    left = set(store.finished())
    assert len(left) == (0 if merged and folder == "results" else 2)
    assert set(store.load_recovered("abc")) == left
    lost = sorted({*"abc"} - left)
    store.append(table(*lost, distance=0.9), pictures(len(lost), 0.25))
    for found in (store, ResultStore(store.folder)):
        assert found.finished() == {*"abc"}
        assert found.load().set_index("key")["distance"].to_dict() == {
            key: 0.9 if key in lost else 0.05 for key in "abc"
        }
        recovered = {key: x.mean().item() for key, x in found.load_recovered("abc").items()}
        assert recovered == {key: 0.25 if key in lost else 0.5 for key in "abc"}


def test_a_part_without_what_was_recovered_is_not_finished_and_gives_way(store: ResultStore) -> None:
    store.append(table("a", "b"), pictures(2))
    store.append(table("c"), pictures(1))
    part = next(path for path in store.recovered.glob("*.safetensors") if "a" in load_file(path))
    part.unlink()
    assert store.finished() == {"c"}
    store.append(table("a", distance=0.9), pictures(1))
    assert store.finished() == {"a", "c"}
    assert store.load().set_index("key")["distance"].to_dict()["a"] == 0.9
    assert set(store.load_recovered(["a", "b", "c"])) == {"a", "c"}


def test_problems_that_gave_nothing_are_finished_without_a_file_of_their_own(store: ResultStore) -> None:
    store.append(table("a", "b"), [pictures(1)[0], torch.empty(0)])
    store.append(table("c"), [torch.empty(0)])
    assert store.finished() == {"a", "b", "c"}
    assert set(store.load_recovered(["a", "b", "c"])) == {"a"}
    assert len(list(store.recovered.rglob("*.png"))) == 1


@pytest.mark.parametrize("name", ["sample", "layer"])
def test_names_that_differ_in_case_have_files_of_their_own(store: ResultStore, name: str) -> None:
    for key, called in {"a": "case", "b": "Case", "c": "CASE", "d": "other"}.items():
        one = {"sample": "x", "layer": "y", name: called, "key": key}
        store.append(pd.DataFrame([row(**one)]), pictures(1))
        store.save_input(called, pictures(1)[0])
    found = [path.relative_to(store.folder).as_posix() for path in store.folder.rglob("*.png")]
    assert len({path.casefold() for path in found}) == len(found) == 8
    asked = ["case", "Case", "CASE", "other"]
    assert len({str(path).casefold() for path in store.input_files(asked).values()}) == 4
    assert store.input_files(["case"])["case"].name == "case.png"
    assert not store.input_files(["cASE"])


def test_a_folder_is_read_once(store: ResultStore, opened: list[str]) -> None:
    for key in "abc":
        ResultStore(store.folder).append(table(key), pictures(1))
    assert store.finished() == {*"abc"}
    assert len(opened) == 3
    store.append(table("d"), pictures(1))
    ResultStore(store.folder).append(table("e"), pictures(1))
    assert store.finished() == {*"abcd"}
    assert len(opened) == 3
    assert set(store.load_recovered(["d"])) == {"d"}
    assert opened[3:] == [f"{digest(['d'])[:16]}.safetensors"]
    store.reread()
    assert store.finished() == ResultStore(store.folder).finished() == {*"abcde"}


def test_a_table_is_written_only_once_its_recovered_inputs_are_there(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(
        "readout.store.parts.write_tables",
        lambda *_: seen.append(sorted(path.suffix for path in store.recovered.rglob("*.*"))),
    )
    store.append(table("a"), pictures(1))
    assert seen == [[".png", ".safetensors"]]


# Loading some columns of some rows


def test_columns_and_keys_are_loaded_alone(
    store: ResultStore, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readout.store.parts.ROWS", 2)
    rows = [row(key, trajectory_loss=[place, 0.5]) for place, key in enumerate("abcdefg")]
    store.append(pd.DataFrame(rows), pictures(7))
    store.append(table("h"), pictures(1))
    assert store.finished() == {*"abcdefgh"}
    opened.clear()
    found = store.load(columns=["trajectory_loss", "key", "never heard of"], keys=["f", "b", "never heard of"])
    assert list(found.columns) == ["trajectory_loss", "key"]
    assert [(*losses, key) for losses, key in found.itertuples(index=False)] == [(1, 0.5, "b"), (5, 0.5, "f")]
    assert len(opened) == 1
    pd.testing.assert_frame_equal(store.load(keys=[*"abcdefgh"]), store.load())
    assert store.load(columns=["level"])["level"].tolist() == [0.5] * 8
    assert store.load(columns=["level"], keys=[]).empty


# Merging


def unmerged(store: ResultStore) -> ResultStore:
    """Five parts: three of one layer, one of another layer, one of another setting."""
    store.append(table("a", "b", best_step=math.nan, label="dog"), [pictures(1)[0], torch.empty(0)])
    store.append(table("c", distance=math.nan).assign(label=pd.Series(["cat"], dtype="string")), pictures(1))
    store.append(table("d", "e", trajectory_step=[], reason="constant", label="dog"), pictures(2))
    store.append(table("f", layer="early", layer_index=0), pictures(1))
    store.append(table("g", setting="other"), pictures(1))
    return store


def assert_same(found: ResultStore, trajectories: Table, recovered: dict[str, Tensor]) -> None:
    pd.testing.assert_frame_equal(found.load(trajectories=True)[trajectories.columns], trajectories, check_dtype=False)
    assert found.finished() == {*trajectories["key"]}
    kept = found.load_recovered(trajectories["key"])
    assert kept.keys() == recovered.keys()
    assert all(torch.equal(kept[key], recovered[key]) for key in kept)


def test_merging_makes_one_part_of_a_layer_and_changes_nothing_else(
    store: ResultStore, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readout.store.parts.ROWS", 2)
    expected, recovered = unmerged(store).load(trajectories=True), store.load_recovered("abcdefg")
    store.merge("abc", "late")
    assert_same(store, expected, recovered)
    names = {digest(list(keys))[:16] for keys in ("abcde", "f", "g")}
    assert {path.stem for path in store.results.iterdir()} == names
    assert len(list(store.recovered.glob("*.safetensors"))) == 5
    fresh = ResultStore(store.folder)
    assert_same(fresh, expected, recovered)
    assert "recovered_in" not in fresh.load()
    opened.clear()
    assert len(fresh.load()) == 7
    assert sorted(opened) == sorted(f"{name}.parquet" for name in names)
    fresh.append(table("h"), pictures(1))
    fresh.merge("abc", "late")
    assert len(list(fresh.results.iterdir())) == 3
    assert_same(ResultStore(store.folder), fresh.load(trajectories=True), fresh.load_recovered("abcdefgh"))
    assert fresh.finished() == {*"abcdefgh"}


@pytest.mark.parametrize("stopped", ["while writing", "before deleting", "while deleting"])
def test_a_merge_that_breaks_off_loses_and_doubles_nothing(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    expected, recovered = unmerged(store).load(trajectories=True), store.load_recovered("abcdefg")
    unlink = Path.unlink
    deleted: list[Path] = []

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".parquet":
            if stopped == "before deleting" or deleted:
                raise KeyboardInterrupt
            deleted.append(path)
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        if stopped == "while writing":
            patch.setattr("readout.store.parts.write_tables", half_written(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.merge("abc", "late")
    parts = {"while writing": 5, "before deleting": 6, "while deleting": 5}
    assert len(list(store.results.iterdir())) == parts[stopped]
    assert_same(store, expected, recovered)
    fresh = ResultStore(store.folder)
    assert_same(fresh, expected, recovered)
    fresh.merge("abc", "late")
    assert_same(fresh, expected, recovered)
    assert len(list(store.results.iterdir())) == 3


def test_a_merged_row_without_its_recovered_input_is_computed_again(store: ResultStore) -> None:
    expected = unmerged(store).load()
    store.merge("abc", "late")
    (store.recovered / f"{digest(['a', 'b'])[:16]}.safetensors").unlink()
    for again in (["a", "b"], ["b", "a"]):  # a file of the same name, and another one
        found = ResultStore(store.folder)
        assert found.finished() == {*"cdefg"}
        assert sorted(found.load()["key"]) == sorted(expected["key"])
        found.append(table(*again, distance=0.9), pictures(2, 0.25))
        for seen in (found, ResultStore(store.folder)):
            assert seen.finished() == {*"abcdefg"}
            assert seen.load().set_index("key").loc[["a", "b"], "distance"].tolist() == [0.9, 0.9]
            assert seen.load_recovered(["a"])["a"].mean().item() == 0.25
        found.merge("abc", "late")
        assert ResultStore(store.folder).load().set_index("key").loc[["a", "b"], "distance"].tolist() == [0.9, 0.9]
        assert len(ResultStore(store.folder).load()) == 7
        (store.recovered / f"{digest(again)[:16]}.safetensors").unlink()


def test_parts_of_an_older_version_are_merged_with_newer_ones(store: ResultStore) -> None:
    store.append(table("a"), pictures(1))
    (old,) = store.results.iterdir()
    pd.read_parquet(old).drop(columns=["readout", "signal", "reading", "spread"]).to_parquet(old)
    store.append(table("b", reading=1, spread=0.5), pictures(1))
    expected = ResultStore(store.folder).load()
    store.merge("abc", "late")
    pd.testing.assert_frame_equal(store.load()[expected.columns], expected)
    assert expected["reading"].tolist() == [0, 1]


def test_parts_whose_true_inputs_are_unknown_are_merged(store: ResultStore) -> None:
    for key in "ab":
        store.append(table(key, trajectory_distance=[None, None]), pictures(1))
    store.merge("abc", "late")
    assert len(list(store.results.iterdir())) == 1
    found = ResultStore(store.folder).load(trajectories=True)
    assert [list(curve) for curve in found["trajectory_distance"]] == [[None, None]] * 2


def test_a_merged_part_is_as_old_as_its_newest_rows(store: ResultStore) -> None:
    unmerged(store)
    for path in store.results.iterdir():
        age = 2 if pd.read_parquet(path)["setting"].iloc[0] == "other" else 1
        os.utime(path, (age, age))
    store.merge("abc", "late")
    assert store.latest_setting() == "other"


# load_results and judge


def test_several_folders_are_one_table(tmp_path: Path) -> None:
    first, second = (ResultStore(tmp_path / name) for name in ("first", "second"))
    first.append(table("b", "c", distance=0.15), pictures(2))
    second.append(table("a", "b", distance=0.25), pictures(2))
    second.write_text("config.yaml", "sweep: {threshold: 0.3}")
    found = load_results([first.folder, second.folder])
    assert found["key"].tolist() == ["a", "b", "c"]
    assert found["distance"].tolist() == [0.25, 0.15, 0.15]
    assert found["threshold"].tolist() == [0.3, 0.1, 0.1]
    judged = load_results([str(first.folder), second.folder], threshold=0.2)
    assert judged["verdict"].tolist() == ["unrecovered", "recovered", "recovered"]
    with pytest.raises(ReadoutError, match="no results"):
        load_results([first.folder, tmp_path])


def test_the_package_itself_loads_results(store: ResultStore) -> None:
    store.append(table("a"), pictures(1))
    pd.testing.assert_frame_equal(readout.load_results(store.folder), store.load())
    assert "trajectory_step" in load_results(str(store.folder), trajectories=True)


def test_a_folder_without_results_is_one_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ReadoutError, match=r"holds no results.*give the output folder of a sweep"):
            load_results(folder)
    assert not (tmp_path / "missing").exists()


def verdicts_at(results: Table, threshold: float, tolerance: float | None = None) -> Sequence[str]:
    judged = judge(results, threshold, tolerance)
    assert (judged["threshold"] == threshold).all()
    return [str(value) for value in judged["verdict"]]


def test_results_can_be_judged_again() -> None:
    results = pd.DataFrame(
        [
            row("a", distance=0.05),
            row("b", distance=0.15),
            row("c", distance=0.15, loss=1.15),
            row("d", dead=True),
            row("e", distance=math.nan),
        ]
    )
    lost = ["failed", "failed"]
    assert verdicts_at(results, 0.1) == ["recovered", "unrecovered", "not_converged", *lost]
    assert verdicts_at(results, 0.2) == ["recovered", "recovered", "recovered", *lost]
    assert verdicts_at(results, 0.05) == ["unrecovered", "unrecovered", "not_converged", *lost]
    assert verdicts_at(results, 0.1, tolerance=0.05) == ["recovered", "unrecovered", "unrecovered", *lost]
    assert results["verdict"].eq("recovered").all()


def test_each_row_keeps_its_own_tolerance_unless_another_is_given() -> None:
    results = pd.DataFrame([row(str(t), distance=0.5, loss=1.15, tolerance=t) for t in (0.01, 0.05)])
    assert verdicts_at(results, 0.1) == ["not_converged", "unrecovered"]
    assert verdicts_at(results, 0.1, tolerance=0.0) == ["not_converged", "not_converged"]


def test_a_threshold_judges_what_was_stored(store: ResultStore) -> None:
    store.append(table("a", distance=0.15, verdict="unrecovered"), pictures(1))
    assert load_results(store.folder)["verdict"].tolist() == ["unrecovered"]
    assert load_results(store.folder, threshold=0.2)["verdict"].tolist() == ["recovered"]


# Pictures


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Names of pictures that are encoded."""
    paths: list[Path] = []

    def spy(image: Tensor, path: Path, text: PngInfo) -> None:
        paths.append(path)
        write_png(image, path, text)

    monkeypatch.setattr("readout.store.pictures.write_png", spy)
    return paths


def test_pictures_that_were_left_out_can_be_written_later(store: ResultStore, encoded: list[Path]) -> None:
    recovered = pictures(3)
    store.append(table("a", "b", "c"), recovered, pictured=["sample b"])
    store.append(table("old", setting="older"), pictures(1), pictured=[])
    store.append(table("none"), [torch.empty(0)], pictured=[])
    for path in store.results.iterdir():
        os.utime(path, (2, 2) if digest(["none"])[:16] in path.name else (1, 1))
    written = store.readable_path(row("b"), "png")
    assert list(store.recovered.rglob("*.png")) == [written]
    assert len(encoded) == 1
    ResultStore(store.folder).write_pictures()
    assert len(encoded) == len(list(store.recovered.rglob("*.png"))) == 3
    picture = read_image(store.readable_path(row("c"), "png"))
    torch.testing.assert_close(picture, recovered[2], rtol=0, atol=0.5 / 255 + 1e-6)


def test_texts_that_were_left_out_can_be_written_later(store: ResultStore) -> None:
    store.append(table("a", "b", true_text="cats", recovered_text="cat"), torch.ones(2, 5), pictured=["sample a"])
    first, second = (store.readable_path(row(key), "txt") for key in "ab")
    assert first.read_text(encoding="utf-8") == "true:      cats\nrecovered: cat\n"
    assert not second.exists()
    store.write_pictures()
    assert second.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


def test_an_input_is_written_only_if_the_folder_does_not_hold_it(store: ResultStore, encoded: list[Path]) -> None:
    image, other = pictures(2)
    for x, writes in ((image, 1), (image, 1), (other, 2), (image, 3)):
        ResultStore(store.folder).save_input("cat", x)
        assert len(encoded) == writes
    (path,) = store.input_files(["cat"]).values()
    content = path.read_bytes()
    write_png(other, path)  # as older versions did, without a digest
    store.save_input("cat", image)
    assert path.read_bytes() == content
    path.write_bytes(content[:-20])
    store.save_input("cat", image)
    assert path.read_bytes() == content


def test_a_figure_is_written_as_png_and_svg(store: ResultStore) -> None:
    figure = Figure()
    figure.add_subplot().plot([0, 1], [0, 1])
    element = store.write_figure("curve", figure)
    assert element.startswith("<svg")
    assert element in (store.folder / "figures" / "curve.svg").read_text(encoding="utf-8")
    with Image.open(store.folder / "figures" / "curve.png") as picture:
        assert picture.format == "PNG"
    assert not partials(store.folder)


def test_a_text_that_breaks_off_leaves_the_old_one(store: ResultStore) -> None:
    path = store.write_text("sizes.csv", "old")
    with pytest.raises(UnicodeEncodeError):
        store.write_text("sizes.csv", "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert not partials(store.folder)


def test_the_name_of_a_part_follows_from_its_keys(store: ResultStore) -> None:
    store.append(table("a", "b"), pictures(2))
    assert [path.stem for path in store.results.iterdir()] == [digest(["a", "b"])[:16]]
