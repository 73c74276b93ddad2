import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from readout.common.errors import ReadoutError
from readout.extractors.weights import MINILM, SMOLLM2, PackagedWeights, cache_folder, fetch, load_state_dict
from tests.helpers import damaged

PACKAGE, MEMBER, CONTENT = "pretend_weights", "models/weights.pth", b"the weights themselves"
BOOBY_TRAP = b"raise SystemExit('the package was imported')"


def as_tar(members: Mapping[str, bytes]) -> bytes:
    """A source archive: everything under one folder named after the release."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"{PACKAGE}-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def as_wheel(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


MEMBERS = {"setup.py": BOOBY_TRAP, f"{PACKAGE}/__init__.py": BOOBY_TRAP, MEMBER: CONTENT}
ARCHIVES = {f"{PACKAGE}-1.0.tar.gz": as_tar(MEMBERS), f"{PACKAGE}-1.0-py3-none-any.whl": as_wheel(MEMBERS)}
each_archive = pytest.mark.parametrize("name", ARCHIVES)


def release(name: str, content: bytes | None = None, member: str = MEMBER) -> PackagedWeights:
    digest = hashlib.sha256(ARCHIVES[name] if content is None else content).hexdigest()
    return PackagedWeights(f"{PACKAGE}==1.0", digest, member, source=name.endswith(".tar.gz"))


class Pip:
    """Stands in for `subprocess.run`: puts files into the folder that pip was told to use."""

    def __init__(self, files: Mapping[str, bytes], stderr: str = "", code: int = 0) -> None:
        self.files, self.stderr, self.code = files, stderr, code
        self.commands: list[list[str]] = []
        self.requirements: list[str] = []

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.requirements.append(Path(command[command.index("--requirement") + 1]).read_text())
        folder = Path(command[command.index("--dest") + 1])
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return subprocess.CompletedProcess(command, self.code, stdout="", stderr=self.stderr)


Install = Callable[..., Pip]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("READOUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pretend(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a pretended pip in place of the real one, with a cache of its own."""

    def install(*args: Any, **kwargs: Any) -> Pip:
        pip = Pip(*args, **kwargs)
        monkeypatch.setattr(subprocess, "run", pip)
        return pip

    return install


FOLDER = {
    "models/whole/config.json": b"{}",
    "models/whole/weights.bin": CONTENT,
    "models/whole/pooling/config.json": b"[]",
    "models/whole-again/weights.bin": b"another",
    "models/weights.bin": b"another",
}
FOLDERS = {
    f"{PACKAGE}-1.0.tar.gz": as_tar(MEMBERS | FOLDER),
    f"{PACKAGE}-1.0-py3-none-any.whl": as_wheel(MEMBERS | FOLDER),
}
each_folder = pytest.mark.parametrize("name", FOLDERS)


def files(folder: Path) -> list[Path]:
    """All but digests of what is there."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if path.suffix != ".sha256" or not path.with_suffix("").exists()]


# Fetching


@each_archive
def test_the_member_is_unpacked_into_the_cache(name: str, pretend: Install, cache: Path) -> None:
    pretend({name: ARCHIVES[name]})
    path = fetch(release(name))
    assert path.read_bytes() == CONTENT
    assert path.name == "weights.pth"
    assert files(cache) == [path]


@each_archive
def test_the_second_time_comes_from_the_cache(name: str, pretend: Install) -> None:
    pip = pretend({name: ARCHIVES[name]})
    assert fetch(release(name)) == fetch(release(name))
    assert len(pip.commands) == 1


@pytest.mark.parametrize("member", [MEMBER, "models/whole"])
def test_damaged_weights_are_fetched_again(member: str, pretend: Install, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{PACKAGE}-1.0.tar.gz"
    packaged = release(name, FOLDERS[name], member)
    pip = pretend({name: FOLDERS[name]})
    path = fetch(packaged)
    inside = path / "weights.bin" if path.is_dir() else path
    inside.write_bytes(CONTENT[:-1] + b"z")
    assert fetch(packaged) == path
    assert f"{path} is damaged; fetching it again" in capsys.readouterr().err
    assert inside.read_bytes() == CONTENT
    assert len(pip.commands) == 2
    path.with_name(f"{path.name}.sha256").unlink()  # as older versions left it
    inside.write_bytes(b"another")
    assert fetch(packaged) == path
    assert len(pip.commands) == 2


def test_another_release_is_not_answered_from_the_cache(pretend: Install) -> None:
    old, new = (as_wheel({MEMBER: content}) for content in (b"old", b"new"))
    name = f"{PACKAGE}-1.0-py3-none-any.whl"
    pretend({name: old})
    first = fetch(release(name, old))
    pretend({name: new})
    assert fetch(release(name, new)).read_bytes() == b"new"
    assert first.read_bytes() == b"old"


@each_archive
def test_pip_checks_the_digest_and_takes_that_release_alone(name: str, pretend: Install) -> None:
    packaged = release(name)
    pip = pretend({name: ARCHIVES[name]})
    fetch(packaged)
    assert pip.requirements == [f"{PACKAGE}==1.0 --hash=sha256:{packaged.sha256}\n"]
    command = pip.commands[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in command
    assert command[command.index("--no-binary" if packaged.source else "--only-binary") + 1] == PACKAGE


@each_archive
def test_nothing_of_the_package_is_imported_or_run(name: str, pretend: Install) -> None:
    pretend({name: ARCHIVES[name]})
    before = list(sys.path)
    fetch(release(name))
    assert PACKAGE not in sys.modules
    assert sys.path == before


@each_archive
def test_an_archive_with_another_digest_is_not_opened(
    name: str, pretend: Install, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    pretend({name: ARCHIVES[name] + b"\0"})
    monkeypatch.setattr(tarfile, "open", opened)
    monkeypatch.setattr(zipfile, "ZipFile", opened)
    packaged = release(name)
    with pytest.raises(ReadoutError, match=f"has SHA-256 [0-9a-f]{{64}}, not {packaged.sha256}, and was not opened"):
        fetch(packaged)
    assert not files(cache)


@each_archive
def test_a_release_without_the_member_is_one_sentence(name: str, pretend: Install, cache: Path) -> None:
    pretend({name: ARCHIVES[name]})
    with pytest.raises(ReadoutError, match=r"holds no models/other\.pth"):
        fetch(release(name, member="models/other.pth"))
    assert not files(cache)


def test_a_member_is_not_mistaken_for_one_that_ends_alike(pretend: Install) -> None:
    name = f"{PACKAGE}-1.0.tar.gz"
    content = as_tar({"old_models/weights.pth": b"wrong", "models/weights.pth.md5": b"wrong", MEMBER: CONTENT})
    pretend({name: content})
    assert fetch(release(name, content)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: slow\nERROR: Could not find a version\nERROR: No matching", "ERROR: Could not find a version"),
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
        ("", "exit code 1"),
    ],
)
def test_a_pip_that_fails_is_one_sentence(stderr: str, reason: str, pretend: Install, cache: Path) -> None:
    pretend({}, stderr=stderr, code=1)
    with pytest.raises(ReadoutError, match=r"pip could not fetch pretend_weights==1\.0") as raised:
        fetch(release(f"{PACKAGE}-1.0.tar.gz"))
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not files(cache)


@pytest.mark.parametrize("archives", [{}, ARCHIVES])
def test_pip_has_to_bring_exactly_one_archive(archives: Mapping[str, bytes], pretend: Install) -> None:
    pretend(archives)
    with pytest.raises(ReadoutError, match="pip could not fetch"):
        fetch(release(f"{PACKAGE}-1.0.tar.gz"))


@pytest.fixture
def broken_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Writing what is unpacked breaks off half-way in the file of that number, and works from then on."""

    def install(last: int) -> None:
        copy = shutil.copyfileobj
        written: list[IO[bytes]] = []

        def half(source: IO[bytes], target: IO[bytes]) -> None:
            written.append(target)
            if len(written) == last:
                target.write(source.read(len(CONTENT) // 2))
                raise KeyboardInterrupt
            copy(source, target)

        monkeypatch.setattr(shutil, "copyfileobj", half)

    return install


@each_archive
def test_a_write_that_breaks_off_is_not_taken_for_the_weights(
    name: str, pretend: Install, cache: Path, broken_write: Callable[[int], None]
) -> None:
    pretend({name: ARCHIVES[name]})
    broken_write(1)
    with pytest.raises(KeyboardInterrupt):
        fetch(release(name))
    assert not files(cache)
    assert fetch(release(name)).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_one_sentence(pretend: Install, cache: Path) -> None:
    name = f"{PACKAGE}-1.0.tar.gz"
    pretend({name: ARCHIVES[name]})
    cache.write_text("in the way")
    with pytest.raises(ReadoutError) as raised:
        fetch(release(name))
    assert str(cache) in str(raised.value)


# Folders


def folder_release(name: str) -> PackagedWeights:
    return release(name, FOLDERS[name], member="models/whole")


@each_folder
def test_a_folder_is_unpacked_with_all_that_is_in_it(name: str, pretend: Install, cache: Path) -> None:
    pip = pretend({name: FOLDERS[name]})
    folder = fetch(folder_release(name))
    assert folder.name == "whole"
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in files(cache)} == {
        "config.json": b"{}",
        "weights.bin": CONTENT,
        "pooling/config.json": b"[]",
    }
    assert fetch(folder_release(name)) == folder
    assert len(pip.commands) == 1


@each_folder
def test_a_folder_that_breaks_off_is_not_taken_for_whole(
    name: str, pretend: Install, cache: Path, broken_write: Callable[[int], None]
) -> None:
    pretend({name: FOLDERS[name]})
    broken_write(2)
    with pytest.raises(KeyboardInterrupt):
        fetch(folder_release(name))
    assert not files(cache)
    assert len(files(fetch(folder_release(name)))) == 3


@each_folder
def test_a_folder_that_another_process_has_put_there_is_taken(
    name: str, pretend: Install, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = folder_release(name)
    replace = Path.replace

    def late(path: Path, target: Path) -> Path:
        if target.suffix == ".sha256":
            return replace(path, target)
        target.mkdir()
        (target / "config.json").write_bytes(b"theirs")
        return replace(path, target)

    pretend({name: FOLDERS[name]})
    monkeypatch.setattr(Path, "replace", late)
    assert [path.read_bytes() for path in files(fetch(packaged))] == [b"theirs"]
    assert len(files(cache)) == 1


@pytest.mark.parametrize("escape", ["../../../../escaped", "sub/../../../escaped", "..\\..\\escaped"])
@each_folder
def test_a_member_that_leads_out_of_its_folder_is_refused(
    escape: str, name: str, pretend: Install, tmp_path: Path, cache: Path
) -> None:
    members = {"models/whole/config.json": b"{}", f"models/whole/{escape}": b"out"}
    content = as_tar(members) if name.endswith(".gz") else as_wheel(members)
    pretend({name: content})
    with pytest.raises(ReadoutError, match="escaped', which leads out of its folder"):
        fetch(release(name, content, member="models/whole"))
    assert not files(tmp_path)


def test_links_are_not_followed(pretend: Install, cache: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for kind, name in ((tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "hard"), (tarfile.REGTYPE, "weights.bin")):
            entry = tarfile.TarInfo(f"{PACKAGE}-1.0/models/whole/{name}")
            entry.type, entry.linkname = kind, "../../../escaped"
            archive.addfile(entry, io.BytesIO(b""))
    name, content = f"{PACKAGE}-1.0.tar.gz", buffer.getvalue()
    pretend({name: content})
    folder = fetch(release(name, content, member="models/whole"))
    assert [path.name for path in folder.iterdir()] == ["weights.bin"]


def test_the_cache_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("READOUT_CACHE")
    assert cache_folder() != tmp_path
    assert cache_folder().name == "readout"


# State dicts


class RunsCode:
    """A pickle that creates a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_state_dict_is_loaded(tmp_path: Path) -> None:
    state = torch.nn.Linear(2, 3).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    loaded = load_state_dict(tmp_path / "weights.pth")
    assert list(loaded) == ["weight", "bias"]
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(legacy: bool, tmp_path: Path) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "code was run"
    torch.save({"weight": RunsCode(marker)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ReadoutError, match="can't be read as weights") as raised:
        load_state_dict(path)
    assert not marker.exists()
    assert "\n" not in str(raised.value)


def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), tmp_path / "network.pth")
    with pytest.raises(ReadoutError, match="give a state dict"):
        load_state_dict(tmp_path / "network.pth")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3, "weight": torch.zeros(1)}, {"a": {}}, 3])
def test_tensors_that_are_no_state_dict_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ReadoutError, match="is not a state dict"):
        load_state_dict(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04"])
def test_a_broken_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(ReadoutError, match="can't be read as weights"):
        load_state_dict(tmp_path / "weights.pth")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "weights.pth", tmp_path):
        with pytest.raises(ReadoutError, match="There is no weights file"):
            load_state_dict(path)


def fits(keys: Collection[str]) -> bool:
    return {"a.weight", "a.bias"} <= {*keys}


def state(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"a.weight": torch.full((2,), value), "a.bias": torch.zeros(2)}


def led(prefix: str, value: float = 1.0) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in state(value).items()}


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
LIGHTNING = {"epoch": 3, "state_dict": led("net.") | {"loss.weight": torch.zeros(2)}, "optimizer_states": [OPTIMIZER]}


@pytest.mark.parametrize(
    "content",
    [
        state(),
        led("module."),
        led("_orig_mod.module."),
        led("model.") | {"head.weight": torch.zeros(2)},
        {"state_dict": state(), "epoch": 3},
        {"model": led("module."), "optimizer": OPTIMIZER},
        {"checkpoint": {"model_ema": state()}},
        LIGHTNING,
    ],
)
def test_a_checkpoint_is_unwrapped_where_one_part_of_it_fits(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    loaded = load_state_dict(tmp_path / "weights.pth", fits)
    assert all(torch.equal(loaded[key], value) for key, value in state().items())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"state_dict": state(), "state_dict_ema": state(2)},
            "several sets of weights ('state_dict/', 'state_dict_ema/')",
        ),
        (led("student.") | led("teacher.", 2), "several sets of weights ('student.', 'teacher.')"),
        ({"model": led("x")}, None),
        ({"one": led("x"), "two": led("y")}, "holds no weights of this network ('one/', 'two/')"),
        ({"epoch": 3, "lr": 0.1}, "is not a state dict (its keys are 'epoch', 'lr')"),
    ],
)
def test_what_fits_more_than_once_or_nowhere(content: Any, words: str | None, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    if words is None:  # left to the network, which says what is missing
        assert set(load_state_dict(tmp_path / "weights.pth", fits)) == {"xa.weight", "xa.bias"}
        return
    with pytest.raises(ReadoutError, match=re.escape(words)):
        load_state_dict(tmp_path / "weights.pth", fits)


def test_safetensors_are_a_state_dict_too(tmp_path: Path) -> None:
    save_file(led("module."), tmp_path / "weights.safetensors")
    assert set(load_state_dict(tmp_path / "weights.safetensors", fits)) == {"a.weight", "a.bias"}


def test_what_beside_tensors_is_not_read_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": state(), "hparams": SimpleNamespace(lr=0.1)}, tmp_path / "weights.pth")
    with pytest.raises(ReadoutError, match=r"it holds types\.SimpleNamespace, which could run code"):
        load_state_dict(tmp_path / "weights.pth", fits)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_weights_are_one_sentence(suffix: str, tmp_path: Path) -> None:
    generator, path = np.random.default_rng(0), tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state(), path)
    whole, sentences = path.read_bytes(), []
    for _ in range(30):
        path.write_bytes(damaged(whole, generator))
        try:
            load_state_dict(path, fits)
        except ReadoutError as error:
            sentences.append(str(error))
    assert sentences
    assert all(path.name in sentence and "\n" not in sentence for sentence in sentences)


# The real things


@pytest.mark.real_weights
def test_the_language_models_come_whole() -> None:
    folder, file = fetch(MINILM), fetch(SMOLLM2)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert (folder / "1_Pooling" / "config.json").is_file()
    assert file.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    with file.open("rb") as content:
        assert content.read(4) == b"GGUF"
