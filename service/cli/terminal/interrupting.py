"""Ctrl-C that waits until an import is over.

Within one it may leave locked what every import of every thread waits for: such a command would never end.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_MACHINERY = "<frozen importlib"  # how the files are called of which the frames of an import are
_AGAIN = 0.05  # seconds


@contextlib.contextmanager
def interrupts_outside_imports() -> Iterator[None]:
    """While it is entered, Ctrl-C raises KeyboardInterrupt as ever, but not before an import that it came upon is over.

    It changes nothing where Ctrl-C does something else already, or in another thread than the main one.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _imports(frame):
        raise KeyboardInterrupt
    again = threading.Timer(_AGAIN, _send, [number])
    again.daemon = True
    again.start()


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_MACHINERY):
            return True
        frame = frame.f_back
    return False


def _send(number: int) -> None:
    """To the main thread itself, which otherwise would go on waiting for whatever it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
