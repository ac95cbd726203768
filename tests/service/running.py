"""How commands are run in tests, and certificates made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


def openssl(*arguments: str | Path) -> None:
    """Run openssl, which not every machine has."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl, which makes certificates, is not installed")
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=60)


def new_certificate(folder: Path, names: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate for some names, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
        "-out", cert, "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={names}",
    )  # fmt: skip
    return cert, key
