"""The version of this program."""

from __future__ import annotations

from importlib import metadata

try:
    # The name of the distribution: `graft` on the package index is somebody else's.
    __version__ = metadata.version("graft-vision")
except metadata.PackageNotFoundError:
    __version__ = "not installed"  # a source tree
