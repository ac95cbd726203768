"""A service that answers gRPC, and a client without any generated code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.runtime import RuntimeConfig
from service.config import ServiceConfig
from service.safety import Guard
from service.tokens import Tokens, new_token
from tests import optional
from tests.service.serving import Serving, serving
from tests.tuned import tuned_classifier, tuned_regression

optional.library("grpc", extra="grpc")

from tests.service.grpc.client import Client  # noqa: E402

ADMIN, LINE = new_token(["admin"])


@pytest.fixture(scope="session")
def config(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> ServiceConfig:
    """A classifier, one that rejects, and a regression."""
    folder = tmp_path_factory.mktemp("models")
    specs = (tiny_path, f"tuned={tuned_classifier(folder)}", f"redness={tuned_regression(folder)}")
    return ServiceConfig(
        models=tuple(map(str, specs)),
        runtime=RuntimeConfig(device="cpu", threads=1),
        measure_s=0.0,
        max_request_mb=1,
        max_images=40,
        grpc_port=0,
    )


@pytest.fixture(scope="session")
def service(config: ServiceConfig) -> Iterator[Serving]:
    with serving(config, Guard(Tokens([LINE]))) as running:
        yield running


@pytest.fixture
def client(service: Serving) -> Iterator[Client]:
    with Client(service.grpc_address) as made:
        yield made


@pytest.fixture
def own_service(tiny_path: Path) -> Iterator[Callable[..., Serving]]:
    """A service of one test: `own_service(guard=..., max_images=2, workers=1)`; bounds of the front, or settings."""
    with contextlib.ExitStack() as stack:

        def start(
            guard: Guard | None = None, bounds: dict[str, Any] | None = None, **settings: Any
        ) -> Serving:
            config = ServiceConfig(
                models=(str(tiny_path),),
                runtime=RuntimeConfig(device="cpu", threads=1),
                measure_s=0.0,
                grpc_port=0,
                **settings,
            )
            return stack.enter_context(serving(config, guard, **(bounds or {})))

        yield start
