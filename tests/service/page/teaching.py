"""A service that teaches, in a process of its own that tests may kill, and photos to teach it with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.fixtures import encoded, reserved_port

READY_S = 120


class Service:
    """`graft serve` with a workspace, on one port for all its lives."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self._options = folder, options
        # Until it is stopped: nobody takes its port while it is not there.
        self._reserved = contextlib.ExitStack()
        self.port = self._reserved.enter_context(reserved_port())
        self.url = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        command = [
            sys.executable, "-m", "graft", "serve", "builtin", "--port", str(self.port), "--workspace",
            str(self.folder / "workspace"), "--device", "cpu", "--threads", "1", "--measure-s", "0", "--drain-s", "0",
            *self._options,
        ]  # fmt: skip
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "service.log").read_text(encoding="utf-8")[-3000:])

    def kill(self) -> None:
        """End it as a power cut would; a job's process lives on by itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as its user would."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._reserved.close()

    def ask(self, path: str) -> object:
        """What a route answers."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as response:
            return json.load(response)


def disc(seed: int) -> Image.Image:
    """A disc on noise."""
    return _shape(seed, lambda draw, box, colour: draw.ellipse(box, fill=colour))


def cross(seed: int) -> Image.Image:
    """A cross on noise."""

    def draw_cross(
        draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: tuple[int, int, int]
    ) -> None:
        draw.line((box[0], box[1], box[2], box[3]), fill=colour, width=8)
        draw.line((box[0], box[3], box[2], box[1]), fill=colour, width=8)

    return _shape(seed, draw_cross)


def _shape(seed: int, draw: Callable[..., None]) -> Image.Image:
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(90, 150, (96, 96, 3), dtype=np.uint8))
    left, top, side = random.integers(8, 30, 3)
    colour = tuple(int(one) for one in random.choice([30, 240], 3))
    draw(ImageDraw.Draw(image), (left, top, left + side + 26, top + side + 26), colour)
    return image


def write_photos(folder: Path, count: int) -> None:
    """A folder for each of two classes, with JPEGs."""
    for name, make, first in (("discs", disc, 0), ("crosses", cross, 1000)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{name}-{i:03}.jpg").write_bytes(encoded(make(first + i), "JPEG"))


def write_video(file: Path, frames: int = 40) -> None:
    """What a camera sees, as motion JPEG: Chromium plays it in place of one."""
    images = [disc(2000 + i).resize((320, 240)) for i in range(frames)]
    file.write_bytes(b"".join(encoded(image, "JPEG") for image in images))
