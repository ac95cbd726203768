"""What models, reports and folders are called after."""

from __future__ import annotations

import os
from pathlib import Path

from models.wording import composed


def source_name(source: str) -> str:
    """The last name of a source: whole of a folder, dots included, and without its ending of a list or an archive."""
    path = Path(os.path.abspath(source))
    return composed(path.name if path.is_dir() else path.stem) or "model"
