"""Public names of a package that are imported when they are first asked for (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, origins: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of `package`, whose public names stand where `origins` says.

    An origin is "module:name", or a module that is exported as a whole. Type checkers see the same names through
    imports under `TYPE_CHECKING`; a test compares the two and `__all__`.
    """

    def load(name: str) -> Any:
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import pkgutil  # not for those who ask for nothing

        return pkgutil.resolve_name(origins[name])

    return load, lambda: sorted(origins)
