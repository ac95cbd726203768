"""Streams: each message is a request of its own, answers keep their order, and nothing outlives its client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from service.grpc.streams import AHEAD, Streams
from service.safety import Guard
from service.tokens import Tokens, new_token
from tests.service.grpc.client import INFERENCE, PATIENCE_S, RED, Client, infer, metric, numbers
from tests.service.holding import WAIT_S, Held, wait_until
from tests.service.serving import Serving

OwnService = Callable[..., Serving]


def test_answers_keep_their_order(client: Client) -> None:
    colours = [np.roll(RED, place % 3, axis=3) for place in range(30)]
    answers = list(client.stream(infer(values, id=str(place)) for place, values in enumerate(colours)))
    assert [one.infer_response.id for one in answers] == [str(place) for place in range(30)]
    assert [numbers(one.infer_response).argmax() for one in answers] == [place % 3 for place in range(30)]
    assert not any(one.error_message for one in answers)


def test_what_is_refused_ends_nothing(client: Client) -> None:
    wrong = infer(model="none", id="b"), infer(shape=[2, 16, 16, 3], id="c")
    answers = list(client.stream([infer(id="a"), *wrong, infer(id="d")]))
    assert [one.infer_response.id for one in answers] == ["a", "b", "c", "d"]
    assert [bool(one.error_message) for one in answers] == [False, True, True, False]
    assert "'none' is not served" in answers[1].error_message
    assert "which takes 1,536 bytes" in answers[2].error_message


def test_what_is_no_message_ends_nothing(client: Client) -> None:
    raw = client.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer", None, None)
    answers = list(raw(iter([b"\xff", infer().SerializeToString()]), timeout=PATIENCE_S))
    assert b"what came is no inference.ModelInferRequest" in answers[0]
    assert len(answers) == 2


def test_final_answers_are_marked_where_that_is_asked_for(client: Client) -> None:
    message = infer()
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    marked, plain = client.stream([message, infer()])
    assert marked.infer_response.parameters["triton_final_response"].bool_param
    assert not plain.infer_response.parameters
    assert client.refused("ModelInfer", message)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_messages_of_a_full_server_are_refused_one_by_one(
    own_service: OwnService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = own_service(max_queued=2)
    held = Held(service.registry.get("tiny"), monkeypatch)
    go_on = threading.Event()

    def messages() -> Iterator[Any]:
        for _ in range(6):
            yield infer()
        assert go_on.wait(WAIT_S)
        yield infer()

    with Client(service.grpc_address) as client:
        answers = client.stream(messages())
        assert held.entered.wait(WAIT_S)
        wait_until(lambda: metric(service, 'graft_rejections_total{reason="queue"}') >= 3)
        held.leave.set()
        first = [next(answers) for _ in range(6)]
        go_on.set()
        last = next(answers)
    assert sum("2 images wait for the model" in one.error_message for one in first) == 3
    assert sum(len(one.infer_response.outputs) for one in first) == 3
    assert not last.error_message


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"workers": 1}, "1 requests are worked on, as many as this server takes"),
        ({"held_bytes": 1500}, "bodies of other requests fill"),
    ],
)
def test_messages_without_a_worker_or_room_are_refused_in_words(
    own_service: OwnService, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, int], reason: str
) -> None:
    service = own_service(bounds=bounds)
    held = Held(service.registry.get("tiny"), monkeypatch)

    def messages() -> Iterator[Any]:
        yield infer(id="a")
        assert held.entered.wait(WAIT_S)
        yield infer(id="b")
        wait_until(lambda: metric(service, 'graft_requests_total{method="gRPC"'))
        held.leave.set()

    with Client(service.grpc_address) as client:
        first, second = client.stream(messages())
    assert (first.infer_response.id, first.error_message) == ("a", "")
    assert reason in second.error_message


def test_no_message_is_read_that_cannot_be_worked_on_yet() -> None:
    """Read, it would lie in memory uncounted for as long as its client takes no answers."""
    count = 0

    async def read(context: Any) -> bytes:
        nonlocal count
        count += 1
        return b""

    async def work(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def conversation() -> None:
        calls = SimpleNamespace(
            admit=lambda *_: None, check=lambda *_: None, work=work, reading=SimpleNamespace(next=read)
        )
        context = SimpleNamespace(
            invocation_metadata=tuple,
            time_remaining=lambda: None,
            peer=lambda: "ipv4:127.0.0.1:1",
            write=work,
        )
        stream = asyncio.create_task(Streams(calls).requests("/x", None, None, context))  # type: ignore[arg-type]
        for _ in range(100):
            await asyncio.sleep(0)
        stream.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stream

    asyncio.run(conversation())
    assert count == AHEAD


def test_a_token_that_is_withdrawn_ends_its_stream(own_service: OwnService) -> None:
    token, line = new_token(["infer"])
    guard = Guard(Tokens([line]))
    service = own_service(guard)
    withdrawn = threading.Event()

    def messages() -> Iterator[Any]:
        yield infer()
        assert withdrawn.wait(WAIT_S)
        yield infer()

    with Client(service.grpc_address) as client:
        answers = client.stream(messages(), metadata=(("authorization", f"Bearer {token}"),))
        assert not next(answers).error_message
        guard.tokens = Tokens([new_token(["infer"])[1]])
        withdrawn.set()
        with pytest.raises(grpc.RpcError, match="token") as caught:
            next(answers)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_stream_that_is_broken_frees_the_queue(
    own_service: OwnService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = own_service()
    batcher = service.registry.get("tiny").batcher
    held = Held(service.registry.get("tiny"), monkeypatch)
    with Client(service.grpc_address) as client:
        answers = client.stream(infer(np.tile(RED, (4, 1, 1, 1))) for _ in range(8))
        assert held.entered.wait(WAIT_S)
        wait_until(lambda: batcher.queued)
        del answers
    wait_until(lambda: not batcher.queued)
    held.leave.set()
    with Client(service.grpc_address) as client:
        assert numbers(client.call("ModelInfer", infer())).argmax() == 0


def test_a_client_that_goes_away_in_the_middle_of_a_message(service: Serving, client: Client) -> None:
    """HTTP/2 by hand: a header of a call, and half of a message."""
    host, port = service.grpc_address.split(":")
    for cut in (1, 5, 40):
        with socket.create_connection((host, int(port)), PATIENCE_S) as broken:
            broken.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            broken.sendall(_call(infer().SerializeToString())[:-cut])
    assert numbers(client.call("ModelInfer", infer())).argmax() == 0


def _call(message: bytes) -> bytes:
    """Frames of a call of ModelInfer: HEADERS without compression (RFC 7541, literals), then DATA."""

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    path = f"/{INFERENCE}/ModelInfer".encode()
    fields = {b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": b"x",
              b"te": b"trailers", b"content-type": b"application/grpc"}  # fmt: skip
    headers = b"".join(literal(name, value) for name, value in fields.items())
    data = b"\x00" + len(message).to_bytes(4, "big") + message

    def frame(kind: int, flags: int, content: bytes) -> bytes:
        return len(content).to_bytes(3, "big") + bytes([kind, flags]) + (1).to_bytes(4, "big") + content

    return frame(1, 4, headers) + frame(0, 1, data)


def test_idle_streams_make_room_for_others(own_service: OwnService) -> None:
    service = own_service(bounds={"connections": 2})
    silence = threading.Event()

    def quiet() -> Iterator[Any]:
        yield infer()
        silence.wait(WAIT_S)

    # A connection has no more streams than that: the last one has its own.
    with Client(service.grpc_address) as client, Client(service.grpc_address) as other:
        streams = []
        for _ in range(2):
            streams.append(client.stream(quiet()))
            assert not next(streams[-1]).error_message
        last = other.stream(quiet())
        with pytest.raises(grpc.RpcError, match="2 calls wait for their clients"):
            next(streams[0])
        assert not next(last).error_message
        silence.set()
