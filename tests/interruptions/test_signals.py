import os
import signal
import threading
from collections.abc import Iterator

import pytest

from readout.interruptions.signals import SIGNALS, Stop, Stopped, Terminated, stoppable
from tests.interruptions.helpers import hearing_ctrl_c


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    with hearing_ctrl_c():
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
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
    heard: list[object] = []
    thread = threading.Thread(target=lambda: heard.append(Stop().listen()))
    thread.start()
    thread.join()
    assert heard == [{}]


def test_waiting_ends_when_asked_to_stop() -> None:
    stop = Stop()
    stop.wait(0.0)
    stop.asked = signal.SIGINT
    with pytest.raises(Stopped, match="while waiting"):
        stop.wait(3600)
    with pytest.raises(Stopped, match="between two batches"):
        stop.check()
