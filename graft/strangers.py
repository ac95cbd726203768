"""Keeps modules of other people from standing before Graft's packages on Python's path.

Two of the names, `models` and `service`, are common: a `models.py` beside a user's program would be imported in place
of Graft's package, and fail far away with "No module named 'models.errors'".
"""

from __future__ import annotations

import os.path  # every command begins here, and pathlib would take 3 ms of its 40
import sys
from importlib import import_module
from importlib.util import find_spec

PACKAGES = ("feature_extraction", "finetune", "models", "service")
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder that all of Graft lies in


def claim_names() -> None:
    """Import Graft's packages, so that their names are taken, unless a name stands for somebody else's module.

    Raises:
        ImportError: it does; nothing of it has been run.
    """
    for name in PACKAGES:
        place = _place(name)
        if place and os.path.realpath(place) != os.path.realpath(os.path.join(_HOME, name)):
            raise ImportError(
                f"Graft cannot be imported, because {place} stands before Graft's own package {name!r} on Python's "
                f"path: rename it, or take {os.path.dirname(place)} off the path (the folder of the program that was "
                "started, or the current one, comes first; PYTHONPATH follows).",
                name=name,
                path=place,
            )
    for name in PACKAGES:
        import_module(name)


def _place(name: str) -> str:
    """The folder of the package, or the file of the module, that `import name` gives; "" where nothing tells."""
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None) if loaded else find_spec(name)
    if spec is not None and spec.submodule_search_locations:
        return os.path.abspath(next(iter(spec.submodule_search_locations)))
    file = spec.origin if spec is not None else getattr(loaded, "__file__", None)
    return os.path.abspath(file) if file else ""
