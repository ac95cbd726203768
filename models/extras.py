"""Optional parts of an installation: how messages tell to get them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from models.errors import LibraryError

# What the image `serve` is made without: the packages that pyproject.toml names, and the modules that they bring.
LEFT_OUT = {
    "onnx": ("onnx",),
    "matplotlib": ("matplotlib",),
    "safetensors": ("safetensors",),
    "scikit-learn": ("sklearn", "scipy", "joblib"),
    "threadpoolctl": ("threadpoolctl",),
}


def how_to_install(extra: str) -> str:
    """The command that adds an extra of pyproject.toml, from the source or a wheel: no package index has Graft."""
    return f"pip install '.[{extra}]' in the folder of Graft's source, or with its wheel's path in place of the dot"


def lacking(exc: ModuleNotFoundError, work: str, advice: str = "") -> LibraryError | None:
    """What is said where `work` met a module that the image `serve` leaves out; None where it is no such module."""
    module = (exc.name or "").partition(".")[0]
    for package, modules in LEFT_OUT.items():
        if module in modules:
            text = (
                f"{work} needs the package {package}, which is not installed here: the image `serve` is made without "
                f"it. The image `cpu` has it, and so has every full installation. {advice}"
            )
            return LibraryError(text.rstrip())
    return None


@contextlib.contextmanager
def full_installation(work: str, advice: str = "") -> Iterator[None]:
    """A block that does `work` with packages that the image `serve` has not; `advice` says what can be done there.

    Raises:
        LibraryError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        error = lacking(exc, work, advice)
        if error is None:
            raise
        raise error from exc
