"""The health check of the images: it asks where the service listens, whatever that was started with."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.app import create_app
from service.cli.serve.probe import main
from service.front.limits import Limits
from service.front.server import Server
from service.registry import Registry
from service.server import make_server
from service.tls import tls_context

Serve = Callable[..., Server]


@pytest.fixture
def serve(registry: Registry) -> Iterator[Serve]:
    """A service in a thread; it is bound when this returns."""
    with contextlib.ExitStack() as ends:

        def start(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Server:
            limits = Limits(drain_s=0.0)
            server = make_server(create_app(registry=registry), registry, host, 0, limits, tls)
            thread = threading.Thread(target=server.run)
            thread.start()
            ends.callback(thread.join)
            ends.callback(server.stop)
            return server

        yield start


def port_of(server: Server) -> str:
    return server.url.rpartition(":")[2]


def started_with(folder: Path, *words: str) -> Path:
    """The command line of a first process, as Linux shows it."""
    file = folder / "cmdline"
    file.write_bytes(b"".join(word.encode() + b"\0" for word in words))
    return file


def test_service_that_is_ready_and_one_that_stops(
    serve: Serve, registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    first = started_with(
        tmp_path, "docker-init", "--", "graft", "serve", "builtin", "--port", port_of(server)
    )
    assert main(first) == 0
    assert '"ready"' in capsys.readouterr().out
    registry.draining = True
    assert main(first) == 1
    assert "503" in (text := capsys.readouterr().out)
    assert '"stopping"' in text


def test_tls_on_the_command_line_and_an_address_for_all(
    serve: Serve, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate
    server = serve(tls_context(cert, key), host="0.0.0.0")
    monkeypatch.setenv("GRAFT_SERVE_HOST", "0.0.0.0")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody is there
    words = ("python", "graft", "serve", "--cert", str(cert), "--key", str(key), "--port", port_of(server))
    assert main(started_with(tmp_path, *words)) == 0


def test_a_file_and_variables_say_where_it_listens(
    serve: Serve, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(tls_context(*certificate))
    (tmp_path / "graft.toml").write_text(f'cert = "{certificate[0]}"\nkey = "{certificate[1]}"\n')
    monkeypatch.setenv("GRAFT_SERVE_CONFIG", str(tmp_path / "graft.toml"))
    monkeypatch.setenv("PORT", port_of(server))
    assert main(started_with(tmp_path, "sh", "-c", "exec something")) == 0
    assert main(tmp_path / "no such file") == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("graft", "serve", "--port", "many"), "port is 'many'; expected a whole number"),
        (("graft", "serve", "--cert", "a.pem"), "cert is given without key"),
        (("graft", "serve", "--nothing"), "No such option"),
    ],
)
def test_what_the_service_would_refuse_is_not_healthy(
    words: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(started_with(tmp_path, *words)) == 1
    assert reason in capsys.readouterr().out
