"""Reading one file: what changes meanwhile is not taken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from feature_extraction import items
from feature_extraction.items import file_item
from feature_extraction.sources import images
from models.errors import ImageError


def test_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.png"
    path.write_bytes(b"half")

    def read_slowly(stream: BinaryIO, name: str) -> bytes:
        data = stream.read()
        with path.open("ab") as writer:
            writer.write(b"the rest")
        return data

    monkeypatch.setattr(items, "read_stream", read_slowly)
    with pytest.raises(ImageError, match=r"growing\.png: changed while it was read"):
        file_item(str(path)).read()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on Windows")
def test_pipe_is_no_file_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for item in (file_item(str(tmp_path / "pipe.png")), *images(str(tmp_path))):
        with pytest.raises(ImageError, match=r"pipe\.png: a pipe or a device; expected a file"):
            item.read()


def test_pipe_that_is_named_outright_is_read() -> None:
    (item,) = images(os.devnull)
    assert item.read() == b""
