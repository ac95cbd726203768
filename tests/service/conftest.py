"""The command line in this process, and a service with the tiny classifier, spoken to without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from models.runtime import RuntimeConfig
from service.app import create_app
from service.cli import main
from service.config import ServiceConfig
from service.registry import Registry
from tests.service.running import Run, new_certificate


@pytest.fixture(scope="session")
def config(tiny_path: Path) -> ServiceConfig:
    return ServiceConfig(
        models=(str(tiny_path), f"other={tiny_path}"),
        runtime=RuntimeConfig(device="cpu", threads=1, warm_up=True),
        max_request_mb=1,
        max_images=40,
        measure_s=0.0,
    )


@pytest.fixture
def registry(config: ServiceConfig) -> Iterator[Registry]:
    registry = Registry(config)
    registry.load()
    yield registry
    registry.close()


@pytest.fixture
def client(registry: Registry) -> FlaskClient:
    return create_app(registry=registry).test_client()


@pytest.fixture
def graft(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command: `graft("classify", path)`."""
    monkeypatch.delenv("GRAFT_DEBUG", raising=False)

    def run(*arguments: str | int | Path, **options: Any) -> Result:
        return CliRunner().invoke(
            main, [str(argument) for argument in arguments], prog_name="graft", **options
        )

    return run


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    return new_certificate(tmp_path_factory.mktemp("tls"))
