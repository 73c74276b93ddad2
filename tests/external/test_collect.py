from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from readout.common.errors import ReadoutError
from readout.external.collect import collect
from tests.external.test_files import save
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


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".safetensors"])
@pytest.mark.parametrize(("key", "name"), [("cat", "cat"), ("feat", "bird"), ("arr_0", "bird")])
def test_a_key_that_is_alone_is_a_name_too_unless_it_names_nothing(
    tmp_path: Path, suffix: str, key: str, name: str
) -> None:
    path = save(tmp_path / f"bird{suffix}", {key: ONE})
    assert found([path], ["early"]) == [("early", name, ONE.shape)]
    (tmp_path / "early").mkdir()
    path = save(tmp_path / "early" / f"bird{suffix}", {key: ONE})
    assert found([path], ["early"]) == [("early", "bird", ONE.shape)]  # in a layer's folder files are features


def test_a_folder_a_layer_and_a_file_a_feature(tmp_path: Path) -> None:
    for layer in ("early", "late"):
        for name in ("cat", "dog"):
            savez(tmp_path / "decoded" / layer / "subject" / f"{name}.npz", feat=ONE)
    expected = [(layer, name, ONE.shape) for layer in ("early", "late") for name in ("cat", "dog")]
    assert found([tmp_path / "decoded"]) == expected
    assert found([tmp_path / "decoded"], ["late"]) == expected[2:]


DECODED = ("S1/VC/cat", "S1/VC/dog", "S2/VC/cat")


def decoded(folder: Path, layout: str = "{layer}/{name}", files: tuple[str, ...] = DECODED, **arrays: Any) -> Path:
    """Files of two layers, as decoders of several subjects and regions leave them."""
    for layer in ("early", "late"):
        for name in files:
            (folder / layout.format(layer=layer, name=name)).parent.mkdir(parents=True, exist_ok=True)
            savemat(folder / f"{layout.format(layer=layer, name=name)}.mat", arrays or {"feat": ONE})
    return folder


def by_layer(found: list[tuple[str, str, tuple[int, ...]]]) -> dict[str, list[str]]:
    return {layer: sorted(name for of, name, _ in found if of == layer) for layer in ("early", "late")}


@pytest.mark.parametrize(
    ("layout", "given"),
    [
        ("{layer}/{name}", ["."]),
        ("{layer}/{name}", ["early", "late"]),
        ("{layer}/{name}", ["early/S1", "early/S2", "late"]),
        ("{layer}/{name}", [f"{layer}/{name}.mat" for layer in ("late", "early") for name in DECODED]),
        ("subjects/{layer}/{name}", ["subjects"]),
        ("from_{layer}/{layer}/{name}", ["."]),
    ],
)
def test_files_of_one_name_are_called_by_their_folders_too(tmp_path: Path, layout: str, given: list[str]) -> None:
    decoded(tmp_path, layout)
    paths = [tmp_path / path for path in given]
    assert by_layer(found(paths)) == {"early": [*DECODED], "late": [*DECODED]}
    assert by_layer(found(paths, ["late"])) == {"early": [], "late": [*DECODED]}


def test_folders_are_no_part_of_a_name_that_is_plain_without(tmp_path: Path) -> None:
    decoded(tmp_path)
    of_one = [tmp_path / "early" / "S1", tmp_path / "late" / "S1"]
    assert by_layer(found(of_one)) == {"early": ["cat", "dog"], "late": ["cat", "dog"]}


def test_the_folder_of_a_layer_may_lie_in_that_of_a_subject(tmp_path: Path) -> None:
    for subject in ("S1", "S2"):
        decoded(tmp_path / subject, files=("cat", "dog"))
    names = ["S1/cat", "S1/dog", "S2/cat", "S2/dog"]
    assert by_layer(found([tmp_path])) == {"early": names, "late": names}


@pytest.mark.parametrize("arrays", [{"cat": ONE, "dog": ONE}, {"feat": np.stack([ONE, ONE]), "names": ["cat", "dog"]}])
def test_names_inside_files_are_led_by_the_file(tmp_path: Path, arrays: dict[str, Any]) -> None:
    given = collect([decoded(tmp_path, files=("S1", "S2"), **arrays)], TinyNet(), ["late"])
    names = [name for one in given for name in one.names or [one.name]]
    assert sorted(names) == ["S1/cat", "S1/dog", "S2/cat", "S2/dog"]


def test_keys_that_are_layers_count_before_the_folder_that_was_given(tmp_path: Path) -> None:
    path = savez(tmp_path / "early" / "cat.npz", late=ONE)
    for given in (path, path.parent):
        assert found([given]) == [("late", "cat", ONE.shape)]


def test_a_layer_that_no_folder_is_of(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match="--features holds no features of 'middle'"):
        found([decoded(tmp_path)], ["early", "middle"])


def test_a_feature_that_is_given_twice(tmp_path: Path) -> None:
    path = savez(tmp_path / "cat.npz", early=ONE)
    assert [name for _, name, _ in found([path, path])] == ["cat", "cat"]  # which is then refused


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


def test_hidden_files_are_ignored_and_others_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    savez(tmp_path / "cat.npz", early=ONE)
    for name in ("._cat.npz", ".DS_Store", "notes.txt"):
        (tmp_path / name).write_text("no features")
    assert found([tmp_path]) == [("early", "cat", ONE.shape)]
    assert "1 file that is not features (.npz, .npy, .safetensors, .mat) (.txt)" in capsys.readouterr().out
