"""gRPC on a port of its own, in the loop of the front."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
from flask import Flask

from models.errors import InputError
from service.config import ServiceConfig
from service.front.gate import Gate
from service.grpc import open_inference, reflection, tensorflow_serving
from service.grpc.calls import Calls
from service.grpc.health import WATCH, Health
from service.grpc.method import Methods, services_of
from service.grpc.streams import Streams
from service.metrics import Metrics
from service.observing import METRICS, OBSERVER, Observer
from service.registry import Registry
from service.safety import GUARD, Guard
from service.statistics import STATISTICS, Statistics


class GrpcServer:
    """The services on their port: `start` and `stop` are called by the front, in its loop."""

    def __init__(self, app: Flask, registry: Registry, config: ServiceConfig) -> None:
        """Tokens, metrics and traces are those of the application.

        Raises:
            InputError: certificate or key cannot be read.
        """
        self._registry, self._host, self._wanted_port = registry, config.host, config.grpc_port
        self._guard: Guard = app.extensions[GUARD]
        self._observer: Observer = app.extensions[OBSERVER]
        self._metrics: Metrics = app.extensions[METRICS]
        self._statistics: Statistics = app.extensions[STATISTICS]
        self._certificate = _certificate(config)
        self._server: Any = None
        self._calls: Calls | None = None
        self.bound: Future[int] = Future()  # the port, once it is known

    async def start(self, gate: Gate) -> None:
        """Answer calls from now on.

        Raises:
            InputError: the port is taken.
        """
        limits, config = gate.limits, self._registry.config
        self._calls = Calls(gate, self._guard, self._observer, self._metrics)
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # a port that is taken is to be an error
                ("grpc.max_receive_message_length", config.max_request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", limits.header_bytes),
                ("grpc.absolute_max_metadata_size", limits.header_bytes),
                ("grpc.max_concurrent_streams", limits.connections),
                ("grpc.max_allowed_incoming_connections", limits.connections),
                ("grpc.max_connection_idle_ms", round(1000 * limits.idle_s)),
                # Whether a client that says nothing is still there.
                ("grpc.keepalive_time_ms", round(1000 * limits.idle_s)),
                ("grpc.keepalive_timeout_ms", round(1000 * limits.send_s)),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
            maximum_concurrent_rpcs=limits.connections + limits.workers,
        )
        self._server.add_generic_rpc_handlers((_Handlers(self._calls, self._methods(), self._registry),))
        host = f"[{self._host}]" if ":" in self._host else self._host
        address = f"{host}:{self._wanted_port}"
        try:
            port = (
                self._server.add_secure_port(address, self._credentials())
                if self._certificate
                else self._server.add_insecure_port(address)
            )
        except RuntimeError as exc:
            error = InputError(
                f"cannot listen for gRPC on {self._host} port {self._wanted_port} ({exc}). Is another service there? "
                "Choose with --host and --grpc-port."
            )
            self.bound.set_exception(error)
            raise error from exc
        await self._server.start()
        self.bound.set_result(port)

    async def stop(self, seconds: float) -> None:
        """Take no more calls; those that have begun have so many seconds."""
        if self._server is not None and self._calls is not None:
            self._calls.reading.stop()
            await self._server.stop(seconds)

    def renew(self, config: ServiceConfig) -> None:
        """Show clients that connect from now on another certificate. From any thread.

        Raises:
            InputError: it cannot be read.
        """
        if self._certificate is not None:
            self._certificate = _certificate(config) or self._certificate

    def _methods(self) -> Methods:
        of_inference = open_inference.methods(self._registry, self._statistics)
        return {**of_inference, **tensorflow_serving.methods(self._registry)}

    def _credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(self._certificate, lambda: self._certificate)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds what answers a call."""

    def __init__(self, calls: Calls, methods: Methods, registry: Registry) -> None:
        self._calls = calls
        streams = Streams(calls)
        health = Health(registry, services_of(methods))
        methods = {**methods, **health.methods()}
        methods |= reflection.methods({*services_of(methods), *reflection.SERVICES})
        self._known: dict[str, Any] = {WATCH: _stream(streams.watch, WATCH, health)}
        for path, method in methods.items():
            if method.refuse is not None:
                self._known[path] = _stream(streams.requests, path, method)
            else:
                self._known[path] = _unary(calls.one, path, method)

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """The handler of a method; of one that there is not, what says so."""
        path = handler_call_details.method
        return self._known.get(path) or _unary(self._calls.unknown, path)


# Messages stay bytes until a worker parses them. A call of one message reads it itself, as one of a stream: of who may
# not call, or comes too many, none is read.


def _unary(handle: Callable[..., Any], *arguments: Any) -> grpc.RpcMethodHandler:
    return grpc.stream_unary_rpc_method_handler(functools.partial(handle, *arguments))


def _stream(handle: Callable[..., Any], *arguments: Any) -> grpc.RpcMethodHandler:
    return grpc.stream_stream_rpc_method_handler(functools.partial(handle, *arguments))


def _certificate(config: ServiceConfig) -> Any:
    """Certificate and key in gRPC's form; None where connections are not encrypted."""
    if config.cert is None or config.key is None:
        return None
    try:
        pair = Path(config.key).read_bytes(), Path(config.cert).read_bytes()
    except OSError as exc:
        raise InputError(f"{exc.filename}: cannot be read ({exc.strerror}). Check the path.") from exc
    return grpc.ssl_server_certificate_configuration([pair])
