from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.front.connection import Connection
from service.front.limits import Limits
from tests.service.front.site import Site


@pytest.fixture
def serving() -> Iterator[Callable[..., Site]]:
    """A site with bounds of its own: `serving(header_s=0.1)`."""
    sites: list[Site] = []

    def serve(tls: Any = None, host: str = "127.0.0.1", **bounds: Any) -> Site:
        sites.append(Site(Limits(**{"workers": 4, "drain_s": 0.0, **bounds}), tls, host))
        return sites[-1]

    yield serve
    for site in sites:
        site.end()


@pytest.fixture
def site(serving: Callable[..., Site]) -> Site:
    return serving()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether what came was answered so, each time that something came."""
    outcomes: list[bool] = []
    real = Connection.answers_at_once

    def noted(connection: Connection, data: bytes) -> bool:
        outcomes.append(real(connection, data))
        return outcomes[-1]

    monkeypatch.setattr(Connection, "answers_at_once", noted)
    return outcomes
