"""Whether secrets lie open on the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def too_open(file: Path) -> str:
    """What others than its owner may do with a secret file and should not, in words; "" for nothing."""
    if os.name == "nt":
        return ""
    try:
        mode = file.stat().st_mode
    except OSError:  # who reads it says so
        return ""
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{file}: others than its owner may write it. Run: chmod 600 {file}"
    if mode & stat.S_IROTH:
        return f"{file}: everybody on this machine may read it. Run: chmod 600 {file}"
    return ""
