"""grpc.health.v1, and what becomes of calls when the service stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from service.grpc.messages import message_class
from tests.service.grpc.client import INFERENCE, PATIENCE_S, Client, infer, numbers
from tests.service.holding import WAIT_S, Held
from tests.service.serving import Serving

OwnService = Callable[..., Serving]
HEALTH = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def check(client: Client, service: str = "") -> int:
    request = message_class("grpc.health.v1.HealthCheckRequest")(service=service)
    method = client.method("Check", HEALTH, "grpc.health.v1.HealthCheckResponse")
    status: int = method(request.SerializeToString(), timeout=PATIENCE_S).status
    return status


def watch(client: Client, service: str = "") -> Iterator[Any]:
    request = message_class("grpc.health.v1.HealthCheckRequest")(service=service).SerializeToString()
    parse = message_class("grpc.health.v1.HealthCheckResponse").FromString
    answers: Iterator[Any] = client.channel.unary_stream(f"/{HEALTH}/Watch", None, parse)(
        request, timeout=PATIENCE_S
    )
    return answers


def test_check(client: Client) -> None:
    assert check(client) == check(client, INFERENCE) == SERVING
    with pytest.raises(grpc.RpcError, match=r"there is no service 'other\.Service' here") as caught:
        check(client, "other.Service")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_watch_of_what_is_not_here(client: Client) -> None:
    assert next(watch(client, "other.Service")).status == SERVICE_UNKNOWN


def test_watch_of_what_is_no_message(client: Client) -> None:
    raw = client.channel.unary_stream(f"/{HEALTH}/Watch", None, None)
    with pytest.raises(
        grpc.RpcError, match=r"what came is no grpc\.health\.v1\.HealthCheckRequest"
    ) as caught:
        next(raw(b"\xff", timeout=PATIENCE_S))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_who_watches_hears_of_the_stop(own_service: OwnService) -> None:
    service = own_service(bounds={"drain_s": WAIT_S})
    with Client(service.grpc_address) as client:
        watched = watch(client)
        assert next(watched).status == SERVING
        service.server.stop()
        assert next(watched).status == NOT_SERVING
        assert check(client) == NOT_SERVING
        # Until the load balancer has heard of it, calls are answered.
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0
        service.server.stop(drain=False)
        with pytest.raises(grpc.RpcError, match="the server stops") as caught:
            next(watched)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_what_has_begun_comes_to_its_end(own_service: OwnService, monkeypatch: pytest.MonkeyPatch) -> None:
    service = own_service()
    held = Held(service.registry.get("tiny"), monkeypatch)
    silence = threading.Event()

    def quiet() -> Iterator[Any]:
        yield infer(id="last")
        silence.wait(WAIT_S)

    with Client(service.grpc_address) as client, Client(service.grpc_address) as other:
        running = client.method("ModelInfer").future(infer().SerializeToString(), timeout=PATIENCE_S)
        stream = client.stream(quiet())
        assert held.entered.wait(WAIT_S)
        while service.registry.get("tiny").batcher.queued < 1:
            threading.Event().wait(0.001)
        service.server.stop()
        held.leave.set()
        assert numbers(running.result()).argmax() == 0
        assert next(stream).infer_response.id == "last"
        with pytest.raises(grpc.RpcError, match="the server stops"):
            next(stream)
        silence.set()
        code, _ = other.refused("ServerLive")
        assert code == grpc.StatusCode.UNAVAILABLE
