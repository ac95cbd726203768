"""A stop loses no answer, and ends in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from models.errors import InputError
from service.front import server as front
from service.front import sockets
from service.front.gate import Routing
from service.front.limits import Limits
from service.front.server import Server
from service.front.threads import DaemonThreads
from tests.service.front.site import PATIENCE_S, Site, get, post

Serving = Callable[..., Site]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are waited for as long as a busy machine may need."""
    monkeypatch.setattr(front, "_LAST_S", PATIENCE_S)


def test_work_is_finished_and_silent_clients_are_closed(site: Site) -> None:
    with site.client() as silent, site.client() as kept, site.client() as working:
        assert kept.ask(get("/livez")).status == 200
        working.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        site.server.stop(drain=False)
        assert silent.rest() == kept.rest() == b""
        site.app.gate.set()
        reply = working.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert working.rest() == b""
    site.thread.join(PATIENCE_S)
    assert not site.thread.is_alive()


@pytest.mark.usefixtures("patient")
def test_request_on_its_way_is_answered(site: Site) -> None:
    with site.client() as kept:
        assert kept.ask(get("/livez")).status == 200
        site.server.stop(drain=False)
        refused = 0
        while refused < 500:  # nobody listens, for some turns of the loop
            # An answer each: a thousand that wait at once would have `kept` make room for them.
            try:
                with site.client() as late:
                    late.ask(get("/livez"))
            except ConnectionRefusedError:
                refused += 1
            except ConnectionError:  # it had connected as the listening socket was closed
                pass
        reply = kept.ask(post("/echo", b"x" * 1000))
        assert (reply.status, reply.headers["connection"]) == (200, "close")


@pytest.mark.usefixtures("patient")
def test_clients_under_load_read_every_answer(site: Site) -> None:
    running = threading.Barrier(5)
    last: list[str] = []

    def load() -> None:
        with site.client() as client:
            for i in range(100_000):
                reply = client.ask(post("/echo", b"x" * 1000))
                assert reply.json()["bytes"] == 1000
                if reply.headers.get("connection") == "close":
                    last.append("told")
                    return
                if i == 20:
                    running.wait(PATIENCE_S)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    running.wait(PATIENCE_S)
    site.server.stop(drain=False)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert last == ["told"] * 4


def test_new_clients_are_answered_while_it_drains_and_a_second_stop_ends_that(serving: Serving) -> None:
    site = serving(drain_s=10 * PATIENCE_S)
    site.server.stop(drain=True)
    assert site.ask(get("/livez")).headers["connection"] == "close"
    assert site.ask(get("/livez", "Expect: x")).headers["connection"] == "close"
    assert site.thread.is_alive()
    site.server.stop(drain=False)
    site.thread.join(PATIENCE_S)
    assert not site.thread.is_alive()
    with pytest.raises(ConnectionRefusedError, match="refused"):
        site.raw()


@pytest.mark.parametrize("line", [(), ("Connection: keep-alive, x",)], ids=["plain", "h11"])
def test_connection_is_closed_once_that_was_said(serving: Serving, line: tuple[str, ...]) -> None:
    site = serving(drain_s=10 * PATIENCE_S)
    with site.client() as kept:
        assert kept.ask(get("/livez")).status == 200
        site.server.stop(drain=True)
        assert kept.ask(get("/livez", *line)).headers["connection"] == "close"
        assert kept.rest() == b""
    site.server.stop(drain=False)


def test_worker_that_never_ends_does_not_hold_the_stop(serving: Serving) -> None:
    site = serving(stop_s=0.1)
    with site.client() as client:
        client.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        site.server.stop(drain=False)
        site.thread.join(PATIENCE_S)
        assert not site.thread.is_alive()
        assert client.rest() == b""
    assert site.app.daemon  # so that it does not hold the process either


def test_stop_before_the_run(serving: Serving) -> None:
    server = Server(
        lambda environ, start: [], Routing((), lambda m, p: True, lambda: 1.0, lambda p, r: b""), "127.0.0.1", 0,
        Limits(drain_s=10 * PATIENCE_S),
    )  # fmt: skip
    server.stop(drain=False)
    server.run()
    with pytest.raises(InputError, match=r"cannot listen on no\.such\.host\.invalid port 0"):
        Server(
            server.gate.app,
            Routing((), lambda m, p: True, lambda: 1.0, lambda p, r: b""),
            "no.such.host.invalid",
            0,
        )


def test_threads_are_made_when_needed_and_used_again() -> None:
    async def names(threads: DaemonThreads) -> list[str]:
        return [await threads.run(lambda: threading.current_thread().name) for _ in range(20)]

    async def together(threads: DaemonThreads) -> None:
        both = threading.Barrier(2)
        await asyncio.gather(*(threads.run(lambda: both.wait(PATIENCE_S)) for _ in range(2)))

    threads = DaemonThreads(2, "test-front")
    assert set(asyncio.run(names(threads))) <= {"test-front-1", "test-front-2"}
    asyncio.run(together(threads))
    with pytest.raises(ZeroDivisionError, match="division"):
        asyncio.run(threads.run(lambda: 1 / 0))
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(threads.run(lambda: next(iter(()))))
    threads.shutdown()


def test_what_nobody_waits_for_is_not_begun_and_what_fails_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = DaemonThreads(1, "test-front")
    entered, gate, done = threading.Event(), threading.Event(), threading.Event()
    begun: list[str] = []

    async def leave() -> None:
        threads.submit(lambda: (entered.set(), gate.wait(PATIENCE_S)))
        assert entered.wait(PATIENCE_S)
        waiting = asyncio.create_task(threads.run(lambda: begun.append("for nobody")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    asyncio.run(leave())
    gate.set()
    threads.submit(lambda: 1 / 0)
    threads.submit(done.set)
    assert done.wait(PATIENCE_S)
    assert begun == []
    assert "a thread's work failed" in caplog.text
    threads.shutdown()


def test_few_descriptors_are_said_and_kept_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip(
        "resource", reason="this system bounds no process by the files that it opens"
    )
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 300))
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert sockets.connections_within(100) == 100
    assert asked == []
    assert sockets.connections_within(1000) == 300 - 128
    assert asked == [(300, 300)]
    assert "this process may open 300 files, so 172 connections are kept" in caplog.text
