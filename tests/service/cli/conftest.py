"""What commands are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import COLOURS, plain


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with red.png, green.png and blue.png."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in COLOURS:
        (folder / f"{name}.png").write_bytes(plain(name))
    return folder
