"""What a protocol is: its routes, and the form in which it tells of failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.openapi.routes import Routes
from service.registry import Registry
from service.shapes import GRAFT, Shape


@dataclass(frozen=True)
class Protocol:
    """A way to put requests and to give results. Of each group of its routes `service.safety` says who may call it."""

    groups: tuple[Callable[[Registry], Routes], ...]
    shape: Shape = GRAFT
