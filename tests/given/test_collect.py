from pathlib import Path
from typing import Any

import numpy as np
import pytest

from readout.errors import ReadoutError
from readout.given.collect import collect
from tests.tiny import TinyNet

ONE = np.ones((8, 4, 4), dtype=np.float32)


def found(paths: list[Path], layers: list[str] | None = None) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(one.layer, one.name, one.values.shape) for one in collect(paths, TinyNet(), layers or [])]


def savez(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def test_keys_are_layers(tmp_path: Path) -> None:
    path = savez(tmp_path / "decoded.npz", late=ONE, early=ONE)
    assert found([path]) == [("late", "decoded", ONE.shape), ("early", "decoded", ONE.shape)]
    assert found([path], ["early"]) == [("early", "decoded", ONE.shape)]


def test_keys_are_names_where_one_layer_is_asked_for_and_they_are_none(tmp_path: Path) -> None:
    path = savez(tmp_path / "decoded.npz", cat=ONE, dog=ONE)
    assert found([path], ["early"]) == [("early", "cat", ONE.shape), ("early", "dog", ONE.shape)]
    alone = savez(tmp_path / "bird.npz", feat=ONE)
    assert found([alone], ["early"]) == [("early", "bird", ONE.shape)]


def test_a_folder_a_layer_and_a_file_a_feature(tmp_path: Path) -> None:
    for layer in ("early", "late"):
        for name in ("cat", "dog"):
            savez(tmp_path / "decoded" / layer / "subject" / f"{name}.npz", feat=ONE)
    expected = [(layer, name, ONE.shape) for layer in ("early", "late") for name in ("cat", "dog")]
    assert found([tmp_path / "decoded"]) == expected
    assert found([tmp_path / "decoded"], ["late"]) == expected[2:]


def test_a_folder_of_files_with_layers(tmp_path: Path) -> None:
    savez(tmp_path / "cat.npz", early=ONE)
    savez(tmp_path / "dog.npz", early=ONE)
    assert found([tmp_path]) == [("early", "cat", ONE.shape), ("early", "dog", ONE.shape)]


def test_names_in_the_file(tmp_path: Path) -> None:
    path = savez(tmp_path / "decoded.npz", early=np.stack([ONE, ONE]), names=np.array(["cat", "dog "]))
    (one,) = collect([path], TinyNet())
    assert one.names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("arrays", "layers", "words"),
    [
        ({"earyl": ONE}, [], "no layer 'earyl'. Did you mean early"),
        ({"feat": ONE}, [], "name the layer with --layer"),
        ({"early": ONE}, ["early", "late"], "no features of 'late', only 'early'"),
        ({"early": ONE}, ["erly"], "no layer 'erly'"),
    ],
)
def test_what_is_refused(tmp_path: Path, arrays: dict[str, Any], layers: list[str], words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        found([savez(tmp_path / "decoded.npz", **arrays)], layers)


def test_without_a_key_the_layer_must_be_named(tmp_path: Path) -> None:
    np.save(tmp_path / "decoded.npy", ONE)
    assert found([tmp_path / "decoded.npy"], ["late"]) == [("late", "decoded", ONE.shape)]
    with pytest.raises(ReadoutError, match="name it with --layer"):
        found([tmp_path / "decoded.npy"])
    with pytest.raises(ReadoutError, match="--features"):
        found([])


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match="no features in"):
        found([tmp_path])
