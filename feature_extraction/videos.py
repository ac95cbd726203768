"""Frames of a video, as images: all of them, or every n-th (`film.mp4[::25]`), through PyAV."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from feature_extraction.items import ImageItem, failing_item, held_item, printable
from models.errors import ImageError, LibraryError, SourceError
from models.extras import how_to_install

_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
# Seconds that a video may lack at the end that it declares, which is not always exact.
_MISSING_S = 1.0
_EVERY = re.compile(r"(.*)\[::(\d{1,9})\]", re.DOTALL)


def video_named(spec: str) -> tuple[str, int] | None:
    """The file and the n of `film.mp4[::n]`, or 1 for a video's name alone; None for what is no video."""
    match = None if os.path.lexists(spec) else _EVERY.fullmatch(spec)
    path, every = (match[1], int(match[2])) if match else (spec, 1)
    return (path, every) if path.lower().endswith(_SUFFIXES) and os.path.isfile(path) else None


def video_frames(path: str, every: int = 1) -> Iterator[ImageItem]:
    """Every n-th frame of a video, upright, called `film.mp4[0]`, `film.mp4[25]` and so on; decoded in passing.

    A video that breaks off gives the frames before the break and one failure, also where it only ends before it says
    that it does: by more than a second, and than any pause between its frames.

    Raises:
        SourceError: it holds no pictures, or cannot be read at all.
        LibraryError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as exc:
        raise LibraryError(
            f"{printable(path)}: a video; its frames need PyAV. Run: {how_to_install('video')}."
        ) from exc

    if every < 1:
        raise SourceError(
            f"{printable(path)}[::{every}]: every 0th frame is none; expected 1 or more, such as [::25]."
        )
    try:
        container = av.open(path)
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise SourceError(
            f"{printable(path)}: no video that can be read ({exc}). Copy or download it again."
        ) from exc
    with container:
        if not container.streams.video:
            raise SourceError(f"{printable(path)}: holds no pictures, only sound. Give another file.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        number, end, pause, declared = -1, 0.0, _MISSING_S, _declared_end(container, stream)
        try:
            for number, frame in enumerate(container.decode(stream)):
                if frame.time is not None and frame.time_base is not None:
                    pause = max(pause, frame.time - end)
                    end = frame.time + float((frame.duration or 0) * frame.time_base)
                if number % every:
                    continue
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                yield held_item(printable(f"{path}[{number}]"), np.ascontiguousarray(pixels))
        except (av.FFmpegError, OSError, ValueError) as exc:
            yield _broken(path, number + 1, str(exc))
        else:
            if declared is not None and declared - end > pause:
                yield _broken(path, number + 1, f"at {end:,.1f} s of {declared:,.1f} s")


def _declared_end(container: Any, stream: Any) -> float | None:
    """The second before which a video says that it does not end; None where it does not say.

    To be asked before a frame is decoded: then a start is only known of frames that have times. Without them, as in a
    bare stream, a duration is FFmpeg's guess by the bit rate. The start is not added: Matroska counts it already.
    """
    if stream.start_time is None:
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:  # else sound may end later
        return float(container.duration) / 1e6
    return None


def _broken(path: str, frames: int, reason: str) -> ImageItem:
    """What is in place of the frames behind a break."""
    error = ImageError(
        f"{printable(path)}: breaks off after {frames:,} frames ({reason}). Copy or download it again."
    )
    return failing_item(printable(f"{path}[{frames}]"), error)
