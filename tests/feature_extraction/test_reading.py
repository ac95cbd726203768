"""Reading one file: what changes meanwhile is not taken."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest

from feature_extraction import reading
from feature_extraction.reading import file_item
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

    monkeypatch.setattr(reading, "read_stream", read_slowly)
    with pytest.raises(ImageError, match=r"growing\.png: changed while it was read"):
        file_item(str(path)).read()


def test_pipe_has_no_size_to_compare() -> None:
    assert file_item("/dev/null").read() == b""
