import os
import signal
import threading
from collections.abc import Iterator

import pytest

from readout.common.signals import (
    KEPT,
    SIGNALS,
    Stop,
    Stopped,
    Terminated,
    handlers,
    leave_on_signals,
    set_handlers,
    stoppable,
)
from tests.sweep.interrupted import hearing_signals


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    with hearing_signals():
        yield


def test_the_first_signal_is_noted_and_the_second_obeyed() -> None:
    asked = []

    def press_twice() -> None:
        with stoppable() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            asked.append(stop.asked)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not stopped")

    with pytest.raises(KeyboardInterrupt, match="Stopped at once"):
        press_twice()
    assert asked == [signal.SIGINT]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_other_signals_end_in_an_exit_with_their_own_code(number: signal.Signals) -> None:
    def end() -> None:
        with stoppable() as stop:
            os.kill(os.getpid(), number)
            stop.check("Stopped here")

    with pytest.raises(Terminated) as stopped:
        end()
    assert stopped.value.code == 128 + number
    assert stopped.value.sentence.startswith("Stopped here; what is finished is kept")


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stoppable():
        assert all(signal.getsignal(number) not in before for number in SIGNALS)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_a_process_was_started_to_ignore_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stoppable() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked is None


def test_nothing_is_heard_outside_the_main_thread() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: Stop().listen())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_check_between_two_batches_stops_when_asked_to() -> None:
    stop = Stop()
    stop.check()
    stop.asked = signal.SIGINT
    with pytest.raises(Stopped, match="between two batches"):
        stop.check()


def test_a_signal_after_the_last_batch_counts_too() -> None:
    with pytest.raises(Terminated), stoppable():
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_exit_that_lightning_makes_of_a_signal_has_its_code() -> None:
    def leave() -> None:
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
            raise SystemExit

    with pytest.raises(Terminated) as stopped:
        leave()
    assert stopped.value.code == 143
    with pytest.raises(SystemExit) as other, stoppable():
        raise SystemExit(7)  # nobody has asked
    assert other.value.code == 7


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_a_sweep_a_signal_ends_the_process_with_a_sentence(
    number: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    before = handlers()
    try:
        leave_on_signals()
        os.kill(os.getpid(), number)
    finally:
        set_handlers(before)
    assert codes == [128 + number]
    assert capfd.readouterr().err.strip() == f"Stopped; {KEPT}"
