"""The life of a call: who is let in, how long it may take, what it may bring, and what is written down of it."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from service.grpc.messages import message_class
from service.safety import Guard
from service.tokens import Tokens, new_token
from tests.service.grpc.client import INFERENCE, PATIENCE_S, RED, Client, infer, metric, numbers
from tests.service.holding import WAIT_S, Held, wait_until
from tests.service.serving import Serving

OwnService = Callable[..., Serving]


def asked_later(client: Client, message: Any = None, **options: Any) -> Any:
    """A call of ModelInfer that has begun."""
    message = infer() if message is None else message
    return client.method("ModelInfer").future(message.SerializeToString(), timeout=PATIENCE_S, **options)


def quiet(silence: threading.Event) -> Iterator[bytes]:
    """Messages of a call that sends nothing while there is silence."""
    silence.wait(WAIT_S)
    yield b""


def test_http_and_grpc_wait_in_one_queue(own_service: OwnService, monkeypatch: pytest.MonkeyPatch) -> None:
    service = own_service(max_queued=1)
    held = Held(service.registry.get("tiny"), monkeypatch)
    with Client(service.grpc_address) as client:
        running = asked_later(client)
        assert held.entered.wait(WAIT_S)
        queued = asked_later(client)
        wait_until(lambda: service.registry.get("tiny").batcher.queued >= 1)
        with pytest.raises(grpc.RpcError, match="1 images wait for the model; at most 1 may") as caught:
            client.call("ModelInfer", infer())
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(caught.value.trailing_metadata())
        assert int(trailers["retry-after"]) >= 1
        assert int(trailers["grpc-retry-pushback-ms"]) >= 1
        body = {
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": RED.tolist()}]
        }
        assert service.over_http("/v2/models/tiny/infer", json.dumps(body).encode())[0] == 429
        held.leave.set()
        assert numbers(running.result()).argmax() == numbers(queued.result()).argmax() == 0
    assert metric(service, 'graft_rejections_total{reason="queue"}') == 2


def test_full_server_says_so_before_a_message_is_read(
    own_service: OwnService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = own_service(bounds={"workers": 1})
    silence = threading.Event()
    held = Held(service.registry.get("tiny"), monkeypatch)
    with Client(service.grpc_address) as client:
        running = asked_later(client)
        assert held.entered.wait(WAIT_S)
        # A stream of which nothing is sent has its answer all the same.
        unsent = client.channel.stream_unary(f"/{INFERENCE}/ModelInfer", None, None).future(
            quiet(silence), timeout=PATIENCE_S
        )
        with pytest.raises(grpc.RpcError, match="1 requests are worked on, as many as this server takes"):
            unsent.result()
        assert unsent.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        silence.set()
        # Health and what needs no worker are answered.
        assert client.call("ServerReady").ready
        assert client.call("ModelReady", name="tiny").ready
        assert service.over_http("/v1/classify", b"x")[0] == 429
        held.leave.set()
        assert numbers(running.result()).argmax() == 0
    assert metric(service, 'graft_rejections_total{reason="workers"}') == 2


def test_deadline_of_the_client(own_service: OwnService, monkeypatch: pytest.MonkeyPatch) -> None:
    service = own_service()
    served = service.registry.get("tiny")
    held = Held(served, monkeypatch)
    with Client(service.grpc_address) as client:
        running = asked_later(client)
        assert held.entered.wait(WAIT_S)
        with pytest.raises(grpc.RpcError) as caught:
            client.method("ModelInfer")(infer().SerializeToString(), timeout=0.2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: metric(service, "graft_rejections_total"))  # the service knows it a moment later
        held.leave.set()
        assert numbers(running.result()).argmax() == 0
        # Nothing was run for the one that was late.
        assert metric(service, 'graft_batch_size_sum{model="tiny"') == 1


def test_deadline_of_the_service_and_of_the_message(
    own_service: OwnService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = own_service(timeout_s=0.2)
    served = service.registry.get("tiny")
    held = Held(served, monkeypatch)
    with Client(service.grpc_address) as client:
        running = served.batcher.submit([RED[0]], "results")  # which may begin as late as it likes
        assert held.entered.wait(WAIT_S)
        code, text = client.refused("ModelInfer", infer())
        assert (code, "no answer within" in text) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
        message = infer()
        message.parameters["timeout"].int64_param = 1000
        assert client.refused("ModelInfer", message)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        held.leave.set()
        running.result()


def test_who_cancels_leaves_the_queue(own_service: OwnService, monkeypatch: pytest.MonkeyPatch) -> None:
    service = own_service()
    batcher = service.registry.get("tiny").batcher
    held = Held(service.registry.get("tiny"), monkeypatch)
    with Client(service.grpc_address) as client:
        running = asked_later(client)
        assert held.entered.wait(WAIT_S)
        leaving = asked_later(client, infer(np.tile(RED, (5, 1, 1, 1))))
        wait_until(lambda: batcher.queued >= 5)
        leaving.cancel()
        wait_until(lambda: not batcher.queued)
        held.leave.set()
        assert numbers(running.result()).argmax() == 0
    wait_until(lambda: metric(service, 'graft_rejections_total{reason="client_left"}'))
    assert metric(service, 'graft_batch_size_sum{model="tiny"') == 1


def test_tokens(own_service: OwnService) -> None:
    infer_token, infer_line = new_token(["infer"])
    admin_token, admin_line = new_token(["admin"])
    service = own_service(Guard(Tokens([infer_line, admin_line])))

    def refused(name: str, token: str | None, message: Any = None) -> Any:
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        try:
            client.call(name, message, metadata=metadata)
        except grpc.RpcError as exc:
            return exc.code()
        return None

    with Client(service.grpc_address) as client:
        for name in ("ServerLive", "ServerReady"):
            assert refused(name, None) is None
        for name, message in (("ServerMetadata", None), ("ModelInfer", infer()), ("RepositoryIndex", None)):
            assert refused(name, None, message) == grpc.StatusCode.UNAUTHENTICATED
            assert refused(name, "wrong", message) == grpc.StatusCode.UNAUTHENTICATED
            assert refused(name, admin_token, message) == grpc.StatusCode.PERMISSION_DENIED
            assert refused(name, infer_token, message) is None
        assert refused("RepositoryModelUnload", infer_token) == grpc.StatusCode.PERMISSION_DENIED
        assert refused("RepositoryModelUnload", admin_token) == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError, match="a token of the scope infer is needed"):
            next(client.stream([infer()]))


def test_messages_over_the_limit(client: Client, service: Serving) -> None:
    counted = f'graft_requests_total{{method="gRPC",route="/{INFERENCE}/ModelInfer",status="499"}}'
    before = metric(service, counted)
    large = infer(b"x" * (2 << 20), "BYTES", shape=[1])
    code, _ = client.refused("ModelInfer", large)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    # Packed, it is small; unpacked it is not.
    code, _ = client.refused("ModelInfer", large, compression=grpc.Compression.Gzip)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert numbers(client.call("ModelInfer", infer())).argmax() == 0
    assert metric(service, counted) == before + 2


def test_packed_messages(client: Client) -> None:
    response = client.method("ModelInfer")(
        infer().SerializeToString(), timeout=PATIENCE_S, compression=grpc.Compression.Gzip
    )
    assert numbers(response).argmax() == 0


def test_ids_and_the_log(client: Client, service: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "graft.access")
    response, call = client.method("ModelInfer").with_call(
        infer(id="own").SerializeToString(), timeout=PATIENCE_S, metadata=(("x-request-id", "abc-1"),)
    )
    assert response.id == "own"
    assert dict(call.trailing_metadata())["x-request-id"] == "abc-1"
    line = next(record for record in caplog.records if getattr(record, "request_id", "") == "abc-1")
    assert line.getMessage() == f"gRPC /{INFERENCE}/ModelInfer 200"
    known = vars(line)
    assert (known["client"], known["model"], known["version"], known["images"]) == ("127.0.0.1", "tiny", 1, 1)
    _, call = client.method("ServerLive").with_call(b"", metadata=(("x-request-id", "with space"),))
    assert dict(call.trailing_metadata())["x-request-id"] != "with space"


def test_figures(client: Client, service: Serving) -> None:
    route = f'route="/{INFERENCE}/ModelInfer"'
    counted = f'graft_requests_total{{method="gRPC",{route},status="200"}}'
    before = metric(service, counted), metric(service, f"graft_request_duration_seconds_count{{{route}}}")
    client.call("ModelInfer", infer())
    after = metric(service, counted), metric(service, f"graft_request_duration_seconds_count{{{route}}}")
    assert after == (before[0] + 1, before[1] + 1)
    with pytest.raises(grpc.RpcError, match="there is no method"):
        client.method("x" * 100, answer="inference.ServerLiveResponse")(b"")
    assert metric(service, 'graft_requests_total{method="gRPC",route="other",status="501"}') >= 1


def test_a_call_without_a_message(client: Client) -> None:
    empty = client.channel.stream_unary(f"/{INFERENCE}/ModelInfer", None, None)
    with pytest.raises(grpc.RpcError, match="the call ended without a message"):
        empty(iter(()), timeout=PATIENCE_S)


def test_who_sends_nothing_makes_room_for_others(own_service: OwnService) -> None:
    service = own_service(bounds={"workers": 2})
    silence = threading.Event()
    with Client(service.grpc_address) as client:
        method = client.channel.stream_unary(f"/{INFERENCE}/ModelInfer", None, None)

        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(3):
            method.future(quiet(silence), timeout=PATIENCE_S).add_done_callback(ended.put)
        oldest = ended.get(timeout=WAIT_S)
        assert oldest.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "2 calls wait for their clients" in oldest.details()
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0
        silence.set()


def test_who_is_too_slow(own_service: OwnService) -> None:
    service = own_service(bounds={"header_s": 0.1, "body_s": 0.1})
    silence = threading.Event()
    with Client(service.grpc_address) as client:
        method = client.channel.stream_unary(f"/{INFERENCE}/ModelInfer", None, None)
        with pytest.raises(grpc.RpcError, match=r"the message did not come within 0\.2 s"):
            method(quiet(silence), timeout=PATIENCE_S)
        silence.set()


def test_a_fault_tells_nothing_of_the_inside(
    own_service: OwnService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = own_service()
    batcher = service.registry.get("tiny").batcher

    def broken(*_: Any, **named: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(batcher, "run_here", broken)
    with Client(service.grpc_address) as client:
        assert client.refused("ModelInfer", infer()) == (
            grpc.StatusCode.INTERNAL,
            "a fault in the service; its log has more.",
        )
        monkeypatch.undo()
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0
    assert "secret" in caplog.text


def test_fault_in_what_is_counted_takes_nobodys_place(
    own_service: OwnService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = own_service(bounds={"workers": 1})

    def broken(*_: Any) -> None:
        raise RuntimeError("no more counters")

    monkeypatch.setattr("service.metrics.Metrics.request", broken)
    with Client(service.grpc_address) as client:
        assert client.refused("ModelInfer", infer())[0] == grpc.StatusCode.UNKNOWN
        monkeypatch.undo()
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0


def test_bodies_of_all_have_one_budget(own_service: OwnService, monkeypatch: pytest.MonkeyPatch) -> None:
    service = own_service(bounds={"held_bytes": 1500})
    held = Held(service.registry.get("tiny"), monkeypatch)
    with Client(service.grpc_address) as client:
        running = asked_later(client)
        assert held.entered.wait(WAIT_S)
        code, text = client.refused("ModelInfer", infer())
        assert (code, "bodies of other requests fill" in text) == (grpc.StatusCode.UNAVAILABLE, True)
        held.leave.set()
        running.result()
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0


def test_messages_of_another_client_do_not_clash() -> None:
    """The pool of messages is our own: the default one has none of them."""
    from google.protobuf import descriptor_pool

    assert message_class("inference.ModelInferRequest").DESCRIPTOR.full_name == "inference.ModelInferRequest"
    with pytest.raises(KeyError, match="ModelInferRequest"):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")
