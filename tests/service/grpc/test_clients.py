"""Clients of other servers as people have them, over gRPC, each in a process of its own against one service of ours.

Their messages have the names of ours, and they want an older protobuf. `make test-clients` makes their environment.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from service.grpc.messages import DESCRIPTORS
from tests.fixtures import plain
from tests.service.grpc.conftest import ADMIN
from tests.service.serving import Serving

pytestmark = pytest.mark.clients
ROOT = Path(__file__).parents[3]
# File of checks: the environment that it runs in, and the target that makes that.
CHECKS = {
    "check_triton.py": (".venv-clients", "test-clients"),
    "check_tools.py": (".venv-clients", "test-clients"),
    "check_kserve.py": (".venv-clients", "test-clients"),
    "check_tensorflow.py": (".venv-tensorflow", "test-tensorflow"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_client(name: str, service: Serving, tmp_path: Path) -> None:
    folder, target = CHECKS[name]
    python = ROOT / folder / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{folder} is not there; make {target} makes it")
    red, blue = tmp_path / "red.png", tmp_path / "blue.jpg"
    red.write_bytes(plain("red"))
    blue.write_bytes(plain("blue", kind="JPEG"))
    surroundings = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")},
        "GRAFT_ADDRESS": service.grpc_address,
        "GRAFT_HTTP": service.address,
        "GRAFT_TOKEN": ADMIN,
        "GRAFT_RED": str(red),
        "GRAFT_BLUE": str(blue),
        "GRAFT_DESCRIPTORS": str(DESCRIPTORS),
    }
    # Without the settings and fixtures of this project, of which that environment has nothing.
    command = [python, "-m", "pytest", "-q", "-rs", "-c", os.devnull, "--rootdir", tmp_path, "--noconftest",
               "--import-mode", "importlib", "-p", "no:cacheprovider",
               Path(__file__).parent / "clients" / name]  # fmt: skip
    done = subprocess.run(
        command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    print(done.stdout.splitlines()[-1])
