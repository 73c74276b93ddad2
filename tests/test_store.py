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
from safetensors.torch import load_file
from torch import Tensor

import readout
from readout.analysis.sizes import sizes_table
from readout.common.errors import ReadoutError
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


@pytest.mark.parametrize("folder", ["results", "recovered"])
def test_what_is_cut_short_is_set_aside_with_all_that_belongs_to_it(store: ResultStore, folder: str) -> None:
    store.append(table("a"), pictures(1))
    store.append(table("b"), pictures(1))
    path = sorted((store.folder / folder).glob("*.*"))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (sentence,) = store.set_aside_broken()
    assert sentence.startswith(f"{path} is damaged; it is now {path.name}.broken")
    assert sorted(one.suffix for one in store.folder.rglob("*.broken")) == [".broken", ".broken"]
    (left,) = store.finished()
    (lost,) = {"a", "b"} - {left}
    assert list(store.load()["key"]) == list(store.load_recovered([left])) == [left]
    assert not store.load_recovered([lost])
    assert store.set_aside_broken() == []


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


def test_what_another_process_finishes_is_seen(store: ResultStore) -> None:
    assert store.finished() == set()
    ResultStore(store.folder).append(table("a"), pictures(1))
    assert store.finished() == {"a"}
    ResultStore(store.folder).append(table("b", "c"), pictures(2))
    assert store.finished() == {"a", "b", "c"}


def test_a_key_is_finished_only_once_its_recovered_input_is_there(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    write = pq.write_table

    def spy(parquet: Any, path: Path) -> None:
        seen.append(set(store.load_recovered(["a"])) == {"a"} and len(list(store.recovered.rglob("*.png"))) == 1)
        write(parquet, path)

    monkeypatch.setattr("readout.store.pq.write_table", spy)
    store.append(table("a"), pictures(1))
    assert seen == [True]


# load_results and judge


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
