"""The port of gRPC: certificates, ports that are taken, limits of a connection, and a service that is read again."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from models.errors import InputError
from service.config import ServiceConfig
from service.configuration import Configuration, read_configuration
from service.lifecycle import Service, require_grpc
from tests.service.grpc.client import Client, infer, numbers
from tests.service.running import new_certificate
from tests.service.serving import Serving

OwnService = Callable[..., Serving]


def test_tls(own_service: OwnService, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    service = own_service(cert=str(cert), key=str(key))
    with Client(service.grpc_address, grpc.ssl_channel_credentials(cert.read_bytes())) as client:
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0
    with Client(service.grpc_address) as stranger:
        assert stranger.refused("ServerLive")[0] == grpc.StatusCode.UNAVAILABLE


def test_a_renewed_certificate_is_shown(
    own_service: OwnService, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    for name, file in zip(("cert.pem", "key.pem"), certificate, strict=True):
        (tmp_path / name).write_bytes(file.read_bytes())
    config = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    service = own_service(**config)

    def shown() -> str:
        host, port = service.grpc_address.split(":")
        return ssl.get_server_certificate((host, int(port))).strip()

    assert shown() == certificate[0].read_text().strip()
    new_certificate(tmp_path)
    (companion,) = service.server.companions
    companion.renew(ServiceConfig(**config))  # type: ignore[attr-defined]
    assert shown() == (tmp_path / "cert.pem").read_text().strip() != certificate[0].read_text().strip()


def test_a_port_that_is_taken_ends_the_service(tiny_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = {
            "models": (str(tiny_path),),
            "port": 0,
            "grpc_port": port,
            "device": "cpu",
            "measure_s": 0.0,
        }

        def read() -> Configuration:
            return read_configuration(options, {})

        def hear(text: str, **facts: object) -> None: ...

        service = Service(read(), read, hear, hear)
        with pytest.raises(InputError, match=rf"cannot listen for gRPC on 127\.0\.0\.1 port {port}"):
            service.server.run()
        service.registry.close()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "service.grpc.server", None)
    with pytest.raises(InputError, match=r"gRPC needs grpcio .*\.\[grpc\]"):
        require_grpc()


def test_long_metadata_are_refused(own_service: OwnService) -> None:
    service = own_service(bounds={"header_bytes": 2000})
    with Client(service.grpc_address) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.call("ServerLive", metadata=(("x-long", "x" * 4000),))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.call("ServerLive").live


def test_the_port_may_come_from_the_environment() -> None:
    assert read_configuration({}, {"GRAFT_SERVE_GRPC_PORT": "8001"}).config.grpc_port == 8001
    assert read_configuration({}, {}).config.grpc_port is None


def test_connections_are_bounded(own_service: OwnService) -> None:
    service = own_service(bounds={"connections": 1})
    with Client(service.grpc_address) as first:
        assert first.call("ServerLive").live
        with Client(service.grpc_address) as second:
            assert second.refused("ServerLive")[0] == grpc.StatusCode.UNAVAILABLE
        assert first.call("ServerLive").live


def test_a_limit_that_was_lowered_counts_at_once(own_service: OwnService) -> None:
    service = own_service()
    with Client(service.grpc_address) as client:
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0
        service.server.renew(dataclasses.replace(service.server.limits, body_bytes=500), None)
        code, text = client.refused("ModelInfer", infer())
        assert (code, "at most 500 are taken" in text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        with pytest.raises(grpc.RpcError, match="at most 500 are taken"):
            next(client.stream([infer()]))
        assert client.call("ServerLive").live
