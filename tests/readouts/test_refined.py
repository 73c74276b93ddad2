from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch.optim import SGD

from readout.common.errors import ReadoutError
from readout.data import UniformNoise
from readout.priors import DeepImagePrior, Pixels
from readout.readouts import RefinedInversion, TrainedDecoder
from readout.store import ResultStore
from tests.sweep.interrupted import InterruptAt, assert_same_bits, hearing_signals, interrupt, noise, run
from tests.tiny import TinyNet

START = partial(
    TrainedDecoder, training_data=UniformNoise(24, (3, 16, 16), seed=1), training_steps=3, width=4, blocks=1
)


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    with hearing_signals():
        yield


def refined(lr: float = 0.05, init_std: float = 0.01) -> RefinedInversion:
    settings: dict[str, Any] = {"optimizer": partial(SGD, lr=lr), "lr_schedule": None, "metrics": [], "record_every": 5}
    return RefinedInversion(TinyNet(), START, Pixels(init_std=init_std), **settings)


def test_without_a_step_it_reads_what_its_start_reads_from_the_same_weights(tmp_path: Path) -> None:
    _, start = run(tmp_path, START(TinyNet()), noise())
    assert len(list((tmp_path / "trained").iterdir())) == 1
    _, both = run(tmp_path, refined(lr=0, init_std=0), noise(), steps=1)
    assert len(list((tmp_path / "trained").iterdir())) == 1
    found = both[both["readout"] == "RefinedInversion"].set_index(["sample", "level"])
    assert set(found["start"]) == {"TrainedDecoder"}
    expected = start.set_index(["sample", "level"])
    assert found["distance"].to_dict() == pytest.approx(expected["distance"].to_dict(), rel=1e-5)


def test_readings_begin_around_the_same_answer(tmp_path: Path) -> None:
    _, table = run(tmp_path, refined(lr=0, init_std=0.01), noise(), steps=1, readings=2)
    read = ResultStore(tmp_path).load_recovered(table["key"])
    for _, pair in table.groupby(["sample", "level"]):
        first, second = (read[key] for key in pair["key"])
        # the difference of two noises, of which the decoder's clamp takes nothing
        assert (first - second).std().item() == pytest.approx(2**0.5 * 0.01, rel=0.1)


def test_an_interrupted_one_goes_on_to_the_bit(tmp_path: Path) -> None:
    run(tmp_path / "whole", refined(), noise())
    assert "which is saved" in interrupt(tmp_path / "out", refined(), noise(), 7)
    again = InterruptAt()
    run(tmp_path / "out", refined(), noise(), again)
    assert again.begun[0] == 7
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def test_a_prior_that_can_begin_nowhere_is_refused() -> None:
    with pytest.raises(ReadoutError, match="A DeepImagePrior can't begin at an input"):
        RefinedInversion(TinyNet(), START, DeepImagePrior())
