"""Optional parts of an installation: how messages tell to get them."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """The command that adds an extra of pyproject.toml, from the source or a wheel: no package index has Graft."""
    return f"pip install '.[{extra}]' in the folder of Graft's source, or with its wheel's path in place of the dot"
