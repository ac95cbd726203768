"""The version of this program."""

from __future__ import annotations

from importlib import metadata


def graft_version() -> str:
    """The installed version, or "not installed" in a source tree."""
    try:
        return metadata.version("graft")
    except metadata.PackageNotFoundError:
        return "not installed"
