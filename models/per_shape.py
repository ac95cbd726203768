"""On CUDA, a session for each shape of feeds: there a session that changes shapes plans all its convolutions anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import onnxruntime
from numpy.typing import NDArray

# Each holds the weights once more, in the memory of the device. Photos of any size would have one each.
_MOST = 8
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class PerShape:
    """Sessions of one network, made when a shape first comes; all shapes that come when there are many share the last.

    cuDNN's plans, which onnxruntime makes for the shape at hand, are forgotten at the next: on an H200 batches of 1 and
    8 in turn took 200 ms each, and 3 ms where the shape stayed. Can be used from several threads at once.
    """

    def __init__(
        self, first: onnxruntime.InferenceSession, another: Callable[[], onnxruntime.InferenceSession]
    ) -> None:
        """`first` is there already, for the shape that comes first; `another` opens the network once more."""
        self._spare: onnxruntime.InferenceSession | None = first
        self._another = another
        self._sessions: dict[Shapes, onnxruntime.InferenceSession] = {}
        self._shared: onnxruntime.InferenceSession | None = None
        self._making = threading.Lock()

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> onnxruntime.InferenceSession:
        """The session for these feeds."""
        shapes = tuple((name, value.shape) for name, value in feeds.items())
        session = self._sessions.get(shapes) or self._shared
        if session is None:
            with self._making:  # those whose session is there go on in the meantime
                session = self._sessions.get(shapes) or self._shared or self._made(shapes)
        return session

    def _made(self, shapes: Shapes) -> onnxruntime.InferenceSession:
        session, self._spare = self._spare or self._another(), None
        if len(self._sessions) < _MOST - 1:
            self._sessions[shapes] = session
        else:
            self._shared = session
        return session
