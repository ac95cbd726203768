"""schemathesis makes requests of /openapi.json, right and wrong ones: no answer may be a fault, or be undocumented."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.front.limits import Limits
from service.jobs.teaching import Teaching
from service.registry import Registry
from service.safety import Guard
from service.server import make_server
from service.tokens import Tokens, new_token
from tests import optional
from tests.service.jobs.conftest import workspace_config

optional.library("schemathesis", extra="clients")
pytestmark = [pytest.mark.clients, pytest.mark.smoke]

# What an image, a name or a model file is, no schema says: data that it allows may be refused.
UNFIT = "positive_data_acceptance"
TOKEN, LINE = new_token(["infer", "admin"])
# 504 is what a request with a short timeout_ms asks for.
SETTINGS = f"""
headers = {{ Authorization = "Bearer {TOKEN}" }}
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
"""


@pytest.fixture
def url(tiny_path: Path, tmp_path: Path) -> Iterator[str]:
    """A service with two models, which has another in its repository."""
    (tmp_path / "cats" / "2").mkdir(parents=True)
    shutil.copy(tiny_path, tmp_path / "cats" / "2" / "model.onnx")
    config = ServiceConfig(
        (str(tiny_path), "builtin"),
        runtime=RuntimeConfig("cpu", threads=1),
        measure_s=0.0,
        repository=(str(tmp_path),),
    )
    registry = Registry(config)
    registry.load()
    app = create_app(registry=registry, guard=Guard(Tokens([LINE])))
    server = make_server(app, registry, "127.0.0.1", 0, Limits(drain_s=0.0))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.url
    server.stop()
    thread.join()
    registry.close()


@pytest.fixture
def teaching(tiny_path: Path, tmp_path: Path) -> Iterator[str]:
    """A service that teaches; no job begins."""
    folder = tmp_path / "workspace"
    registry = Registry(workspace_config(tiny_path, folder, tokens=None))
    registry.load()
    teaching = Teaching(registry, folder)
    app = create_app(registry=registry, guard=Guard(Tokens([LINE])), teaching=teaching)
    server = make_server(app, registry, "127.0.0.1", 0, Limits(drain_s=0.0))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.url
    server.stop()
    thread.join()
    teaching.close()
    registry.close()


def test_every_answer_is_documented(url: str, tmp_path: Path) -> None:
    judge(url, tmp_path)


def test_every_answer_of_what_teaches_is_documented(teaching: str, tmp_path: Path) -> None:
    judge(teaching, tmp_path, "--include-path-regex", "^/v1/(workspace|datasets|jobs)")


def judge(url: str, tmp_path: Path, *options: str) -> None:
    """Let schemathesis make requests, and refuse what it finds."""
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", f"{url}/openapi.json",
            "--checks", "all", "--exclude-checks", UNFIT, "--phases", "examples,coverage,fuzzing",
            "--max-examples", "20", "--seed", "1", "--continue-on-failure", "--wait-for-schema", "60",
            "--request-timeout", "60", "--no-color", *options,
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
