"""An S3 that lives on this machine, as long as the tests of stores do."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import optional

# The server: it says its port when it listens, and ends with its standard input.
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    for module in ("s3fs", "moto", "flask_cors"):
        optional.library(module, "moto")
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        port = process.stdout.readline().decode().strip()
        assert port, log.read_text()
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are nobody's, and none of the user's."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_", "HF_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


class Bucket:
    """A bucket, by a client that is not ours."""

    def __init__(self, client: Any) -> None:
        self.client, self.name = client, f"bucket-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=self.name)

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, **files: bytes) -> None:
        self.put_all(files)

    def put_all(self, files: dict[str, bytes]) -> None:
        for key, data in files.items():
            self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def upload(self, folder: Path) -> None:
        """All files of a folder, by their paths in it."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put_all({path.relative_to(folder).as_posix(): path.read_bytes()})

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """All files below a prefix, by their keys without it."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {key.removeprefix(prefix): self.get(key) for key in keys}

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture(scope="session")
def s3_client(s3_server: str) -> Any:
    """A client of the server that is not ours."""
    import botocore.session

    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=s3_server,
        region_name=SETTINGS["AWS_DEFAULT_REGION"],
        aws_access_key_id=SETTINGS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SETTINGS["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture
def bucket(s3_server: str, s3_client: Any, surroundings: None, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket, on the server that s3:// means here."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    return Bucket(s3_client)


@pytest.fixture
def new_connections() -> Iterator[None]:
    """Let stores be connected anew in this test, by what stands in the environment then."""
    from feature_extraction.stores import opening

    opening._opened.cache_clear()
    yield
    opening._opened.cache_clear()


@pytest.fixture
def refusing(bucket: Bucket, s3_server: str) -> Iterator[None]:
    """Let the server look at who asks, and know nobody."""

    def unchecked_requests(count: str) -> None:
        with contextlib.closing(http.client.HTTPConnection(s3_server.removeprefix("http://"))) as server:
            server.request("POST", "/moto-api/reset-auth", count, {"Content-Type": "text/plain"})
            assert server.getresponse().status == 200

    unchecked_requests("0")
    yield
    unchecked_requests("inf")
