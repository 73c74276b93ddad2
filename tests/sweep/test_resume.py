"""A sweep that is interrupted anywhere and run again ends in the same bits as one that never was."""

import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from readout import load_results
from readout.codes import FISTA, Coder, GaussianDictionary, OrthogonalMatchingPursuit, SparseCodes, Superposition
from readout.data import InputData, TextFiles, UniformNoise
from readout.extractors import BERT, GPT2, LanguageModel
from readout.priors import ShortlistLogits, TokenLogits
from readout.readouts import (
    CodeReadout,
    FeatureInversion,
    TextInversion,
    TokenSearch,
)
from tests.sweep.interrupted import (
    InterruptAt,
    assert_same_bits,
    checkpoint,
    cosine_pixels_that_leave,
    dip,
    dip_of_latents,
    dip_that_leaves,
    hearing_signals,
    interrupt,
    noise,
    pixels_by_curvature,
    pixels_by_momentum,
    pixels_that_die,
    pixels_that_leave,
    run,
)
from tests.tiny_text import TEXT, save_tiny

Models = Callable[[str], LanguageModel]
Texts = Callable[[], InputData]


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    with hearing_signals():
        yield


IMAGES = [
    dip,
    dip_that_leaves,
    dip_of_latents,
    pixels_that_leave,
    cosine_pixels_that_leave,
    pixels_by_momentum,
    pixels_that_die,
]


@pytest.fixture(scope="module", params=IMAGES, ids=lambda inversion: inversion.__name__)
def uninterrupted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("whole")
    run(folder, request.param(), noise())
    return request.param, folder


@pytest.mark.parametrize("at", [7, 55])
def test_images_go_on_to_the_bit(uninterrupted: tuple[Any, Path], tmp_path: Path, at: int) -> None:
    inversion, whole = uninterrupted
    assert "which is saved" in interrupt(tmp_path, inversion(), noise(), at)
    again = InterruptAt()
    run(tmp_path, inversion(), noise(), again)
    assert again.begun[0] > 0
    assert_same_bits(tmp_path, whole)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("inversion", [dip_that_leaves, pixels_that_leave, cosine_pixels_that_leave])
def test_problems_that_have_left_stay_away(tmp_path: Path, inversion: Callable[[], FeatureInversion]) -> None:
    interrupt(tmp_path, inversion(), noise(), 34)
    running = checkpoint(tmp_path)["inversion"]["running"]
    assert 0 < len(running["rows"]) < 4
    assert (running["ended"] >= 0).any()


def test_an_optimiser_that_couples_problems_goes_on_to_the_bit(tmp_path: Path) -> None:
    small: dict[str, Any] = {"levels": [0.5], "steps": 6}
    run(tmp_path / "whole", pixels_by_curvature(), noise(), **small)
    assert "which is saved" in interrupt(tmp_path / "out", pixels_by_curvature(), noise(), 9, **small)
    assert len(checkpoint(tmp_path / "out")["inversion"]["problems"]["seeds"]) == 1
    run(tmp_path / "out", pixels_by_curvature(), noise(), **small)
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def test_dead_runs_are_gone_on_with_in_their_second_life(tmp_path: Path) -> None:
    whole = InterruptAt()
    _, table = run(tmp_path / "whole", pixels_that_die(), noise(), whole, batch_size=8)
    assert set(table["restarts"]) == {0, 2}
    lives = []
    for at in (7, whole.seen - 7):
        out = tmp_path / str(at)
        interrupt(out, pixels_that_die(), noise(), at, batch_size=8)
        attempt = checkpoint(out)["batch"]["attempt"]
        lives.append((attempt["restart"], len(attempt["todo"])))
        run(out, pixels_that_die(), noise(), batch_size=8)
        assert_same_bits(out, tmp_path / "whole")
    assert lives == [(0, 8), (1, 4)]


# Texts


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LanguageModel]:
    folder = tmp_path_factory.mktemp("models")
    kinds = {"bert": BERT, "gpt2": GPT2}
    return lambda kind: kinds[kind](save_tiny(folder / kind, kind))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], InputData]:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text(f"{TEXT}\nthe old king saw a small bird by the river\n")
    return lambda: TextFiles(str(path), per_line=True, max_tokens=8, min_tokens=4, limit=2)


@pytest.mark.parametrize(
    "prior",
    [TokenLogits, partial(TokenLogits, relaxation="gumbel"), partial(ShortlistLogits, size=6, exchanged=2, interval=8)],
)
def test_texts_go_on_to_the_bit(
    tmp_path: Path, model: Models, texts: Texts, prior: Callable[[], TokenLogits | ShortlistLogits]
) -> None:
    def inversion() -> FeatureInversion:
        return TextInversion(model("bert"), prior(), metrics=[], record_every=5)

    settings: dict[str, Any] = {"layers": ["layer.0"], "levels": [0.0, 0.5]}
    run(tmp_path / "whole", inversion(), texts(), **settings)
    assert "which is saved" in interrupt(tmp_path / "out", inversion(), texts(), 17, **settings)
    run(tmp_path / "out", inversion(), texts(), **settings)
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def test_a_search_for_tokens_goes_on_at_its_position(tmp_path: Path, model: Models, texts: Texts) -> None:
    def inversion() -> FeatureInversion:
        return TokenSearch(model("gpt2"), beam=2, metrics=[])

    settings: dict[str, Any] = {"layers": ["layer.1"], "levels": [0.0, 0.5]}
    run(tmp_path / "whole", inversion(), texts(), **settings)
    interrupt(tmp_path / "out", inversion(), texts(), 5, **settings)
    again = InterruptAt()
    run(tmp_path / "out", inversion(), texts(), again, **settings)
    assert again.begun[0] == 5
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


@pytest.mark.parametrize(("coder", "at"), [(FISTA, 17), (lambda: OrthogonalMatchingPursuit(active=6), 3)])
def test_a_coder_goes_on_to_the_bit(tmp_path: Path, coder: Callable[[], Coder], at: int) -> None:
    def readout() -> FeatureInversion:
        return CodeReadout(Superposition(GaussianDictionary(16, 8)), coder(), record_every=5)

    settings: dict[str, Any] = {"layers": ["superposition"], "levels": [0.0, 0.5]}
    run(tmp_path / "whole", readout(), SparseCodes(3), **settings)
    interrupt(tmp_path / "out", readout(), SparseCodes(3), at, **settings)
    again = InterruptAt()
    run(tmp_path / "out", readout(), SparseCodes(3), again, **settings)
    assert again.begun[0] == at
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


# Searches, and interruptions of all kinds


def test_a_bisection_goes_on_in_the_groups_that_it_had_formed(tmp_path: Path) -> None:
    def data() -> InputData:
        return UniformNoise(count=4, shape=(3, 16, 16))

    settings: dict[str, Any] = {
        "levels": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        "search": "bisection",
        "threshold": 0.5,
        "batch_size": 3,
    }
    whole = InterruptAt()
    run(tmp_path / "whole", pixels_that_leave(), data(), whole, **settings)
    fits = len(whole.begun)
    for at in (whole.seen // 2,):
        out = tmp_path / str(at)
        interrupt(out, pixels_that_leave(), data(), at, **settings)
        before = len(list((out / "results").glob("*.parquet")))
        again = InterruptAt()
        run(out, pixels_that_leave(), data(), again, **settings)
        assert before + len(again.begun) == fits
        assert_same_bits(out, tmp_path / "whole")
        parts = [sorted(path.name for path in (one / "results").iterdir()) for one in (out, tmp_path / "whole")]
        assert parts[0] == parts[1]


def test_a_sweep_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    run(tmp_path / "whole", dip_that_leaves(), noise())
    begun = []
    for _ in range(20):
        stop = InterruptAt(11)
        try:
            run(tmp_path / "out", dip_that_leaves(), noise(), stop)
            break
        except KeyboardInterrupt:
            begun.append(stop.begun[0])
    assert len(begun) > 4
    assert begun[:3] == [0, 11, 22]
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def test_sigterm_ends_in_an_exit_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, dip(), noise(), InterruptAt(9, number=signal.SIGTERM))
    assert stopped.value.code == 143
    assert "after step 9 of 40, which is saved" in stopped.value.sentence  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interruption_at_the_last_step_waits_for_the_results(tmp_path: Path) -> None:
    assert interrupt(tmp_path, dip(), noise(), 40).startswith("Stopped between two batches;")
    assert len(load_results(tmp_path)) == 4
    assert not (tmp_path / "checkpoints").exists()


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    class Twice(InterruptAt):
        def on_train_batch_end(self, *arguments: Any) -> None:
            super().on_train_batch_end(*arguments)
            super().on_train_batch_end(*arguments)

    with pytest.raises(KeyboardInterrupt, match="Stopped at once"):
        run(tmp_path, dip(), noise(), Twice(9, 10))
    assert not list((tmp_path / "checkpoints").glob("*.ckpt"))
