"""Downloads from a real server on this machine: whole, resumed, wrong, cut off, and onto a full disk."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import ChecksumError, OfflineError, StoreError
from models.files import sha256
from models.store import cache_folder, fetch
from tests.fixtures import reserved_port

BODY = bytes(range(256)) * 40
DIGEST = hashlib.sha256(BODY).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves BODY under /file; the server's attributes say how well."""

    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.path == "/file/garbage":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            return
        if self.path != "/file":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start : self.server.stop_after])

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server on the loopback interface."""

    ranges = True  # whether it can go on in the middle
    stop_after: int | None = None  # close the connection at this byte

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.bin"


def files(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:8]])
def test_file_comes_whole_and_is_not_fetched_twice(server: Server, target: Path, digest: str) -> None:
    heard: list[tuple[str, int, int | None]] = []
    assert fetch(server.url, digest, target, progress=lambda *seen: heard.append(seen)) == target
    assert target.read_bytes() == BODY
    assert files(target) == ["weights.bin"]
    assert heard == [("weights.bin", len(BODY), len(BODY))]
    fetch(server.url, digest, target)
    assert server.asked == [None]


def test_download_goes_on_where_it_stopped(server: Server, target: Path) -> None:
    server.stop_after = 3000
    with pytest.raises(
        OfflineError, match=r"the connection closed after 3,000 of 10,240 bytes.*it goes on where it"
    ):
        fetch(server.url, DIGEST, target)
    assert files(target) == ["weights.bin.part"]
    server.stop_after = None
    heard: list[int] = []
    fetch(server.url, DIGEST, target, progress=lambda name, done, total: heard.append(done))
    assert target.read_bytes() == BODY
    assert server.asked == [None, "bytes=3000-"]
    assert heard == [len(BODY)]


def test_server_that_cannot_go_on_sends_all_again(server: Server, target: Path) -> None:
    server.ranges = False
    target.parent.mkdir()
    target.with_name("weights.bin.part").write_bytes(BODY[:3000])
    fetch(server.url, DIGEST, target)
    assert target.read_bytes() == BODY


def test_part_that_is_already_whole_is_taken(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("weights.bin.part").write_bytes(BODY)
    fetch(server.url, DIGEST, target)
    assert target.read_bytes() == BODY


def test_two_downloads_of_one_file_do_not_harm_each_other(server: Server, target: Path) -> None:
    """A second one begins and ends while the first is under way: both see the whole file."""
    began: list[bool] = []

    def second_one(name: str, done: int, total: int | None) -> None:
        if not began:
            began.append(True)
            fetch(server.url, DIGEST, target)

    server.stop_after = 3000
    with pytest.raises(OfflineError, match="closed after 3,000"):
        fetch(server.url, DIGEST, target)
    server.stop_after = None
    assert fetch(server.url, DIGEST, target, progress=second_one).read_bytes() == BODY
    assert files(target) == ["weights.bin"]


def test_wrong_digest_is_thrown_away(server: Server, target: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(ChecksumError, match=f"has SHA-256 {DIGEST}; expected {wrong}. It was thrown away"):
        fetch(server.url, wrong, target)
    assert files(target) == []


def test_damaged_copy_is_fetched_again(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"damaged")
    fetch(server.url, DIGEST, target)
    assert target.read_bytes() == BODY


def test_what_nobody_pinned_is_fetched_only_when_told(server: Server, target: Path) -> None:
    with pytest.raises(StoreError, match=r"no digest is known.*--allow-unpinned"):
        fetch(server.url, "", target)
    assert server.asked == []
    fetch(server.url, "", target, allow_unpinned=True)
    assert sha256(target) == DIGEST


def test_server_that_says_no_is_quoted(server: Server, target: Path) -> None:
    with pytest.raises(StoreError, match="the server answered 404 Not Found"):
        fetch(server.url + "/gone", DIGEST, target)


def test_answer_that_is_no_http_is_explained(server: Server, target: Path) -> None:
    with pytest.raises(OfflineError, match="does not speak HTTP rightly"):
        fetch(server.url + "/garbage", DIGEST, target)


def test_host_that_cannot_be_reached_points_to_what_works_offline(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    message = r"cannot be reached .*Offline, use the built-in model or a file"
    with reserved_port() as port, pytest.raises(OfflineError, match=message):
        fetch(f"http://127.0.0.1:{port}/file", DIGEST, target)


class _FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_keeps_what_has_come(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.parent.mkdir()
    part = target.with_name("weights.bin.part")
    part.write_bytes(BODY[:3000])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: _FullDisk())
        with pytest.raises(
            StoreError, match=r"weights.bin: the disk is full \([\d.,]+ MB free\).*goes on where it stopped"
        ):
            fetch(server.url, DIGEST, target)
    assert part.read_bytes() == BODY[:3000]
    fetch(server.url, DIGEST, target)
    assert target.read_bytes() == BODY


def test_folder_that_cannot_be_written_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match=r"cannot be written \(Permission denied.*set GRAFT_CACHE"):
        fetch(server.url, DIGEST, tmp_path / "x")


def test_place_that_is_no_folder_is_not_taken_for_a_network_without_connection(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be written .*set GRAFT_CACHE to a folder of yours"):
        fetch(server.url, DIGEST, tmp_path / "file" / "x")


def test_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GRAFT_CACHE")
    assert cache_folder().name == "graft"
