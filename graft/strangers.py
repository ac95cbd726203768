"""Keeps modules of other people from standing before Graft's packages on Python's path.

Two of the names, `models` and `service`, are common: a `models.py` beside a user's program would be imported in place
of Graft's package, and fail far away with "No module named 'models.errors'".
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("feature_extraction", "finetune", "models", "service")
_HOME = Path(__file__).absolute().parent.parent  # the folder that all of Graft lies in


def claim_names() -> None:
    """Import Graft's packages, so that their names are taken, unless a name stands for somebody else's module.

    Raises:
        ImportError: it does; nothing of it has been run.
    """
    for name in PACKAGES:
        place = _place(name)
        if place is not None and place.resolve() != (_HOME / name).resolve():
            raise ImportError(
                f"Graft cannot be imported, because {place} stands before Graft's own package {name!r} on Python's "
                f"path: rename it, or take {place.parent} off the path (the folder of the program that was started, "
                "or the current one, comes first; PYTHONPATH follows).",
                name=name,
                path=str(place),
            )
    for name in PACKAGES:
        import_module(name)


def _place(name: str) -> Path | None:
    """The folder of the package, or the file of the module, that `import name` gives; None where nothing tells."""
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None) if loaded else find_spec(name)
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).absolute()
    file = spec.origin if spec is not None else getattr(loaded, "__file__", None)
    return Path(file).absolute() if file else None
