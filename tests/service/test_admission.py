"""One at a time, and nobody waits for ever."""

from __future__ import annotations

import threading

import pytest

from models.errors import BusyError
from service.admission import Admission


def test_second_waits_for_the_first() -> None:
    admission, order, inside = Admission(threading.TIMEOUT_MAX), [], threading.Event()

    def second() -> None:
        inside.set()
        with admission.enter():
            order.append("second")

    thread = threading.Thread(target=second)
    with admission.enter():
        thread.start()
        inside.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_who_waits_too_long_is_told_when_to_come_back() -> None:
    now = iter([0.0, 7.0, 7.0, 9.0])
    admission = Admission(0.0, clock=lambda: next(now))
    with admission.enter():
        pass  # a run of 7 seconds
    with (
        admission.enter(),
        pytest.raises(BusyError, match="the model was busy for 0 s") as caught,
        admission.enter(),
    ):
        pass
    assert caught.value.retry_after == 7.0


def test_place_is_free_again_after_an_error() -> None:
    admission = Admission(0.0)
    with pytest.raises(ZeroDivisionError, match="oops"), admission.enter():
        raise ZeroDivisionError("oops")
    with admission.enter():
        pass
