"""What hostile or unlucky clients do to a server. Each function takes a fresh one, is bounded in time, and says it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import statistics
import threading
import time

from benchmarks.http_servers.client import HOST, ask, get, live_ms, post, receive, status
from benchmarks.http_servers.process import Running

PATIENCE_S = 40.0  # that slow clients go on for
SLOW_CLIENTS = 600
CHUNKED = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
MB = 1_000_000


def milliseconds(value: float | None) -> str:
    return "no answer in 5 s" if value is None else f"{value:.0f} ms"


def slow(running: Running, first: bytes, byte: bytes) -> str:
    """A client that sends a byte each second: how long it is borne with."""
    begin = time.monotonic()
    with running.connect(1.0) as connection:
        connection.sendall(first)
        while time.monotonic() - begin < PATIENCE_S:
            try:
                data = connection.recv(4096)
                answer = f" ({status(data)})" if data else ""
                return f"refused after {time.monotonic() - begin:.0f} s{answer}"
            except TimeoutError:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(byte)
            except ConnectionError:
                return f"closed after {time.monotonic() - begin:.0f} s"
    return f"held (watched {PATIENCE_S:.0f} s)"


def slow_header(running: Running) -> str:
    return slow(running, b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ", b"a")


def slow_body(running: Running) -> str:
    return slow(running, post("/echo", b"")[:-2].replace(b"Length: 0", b"Length: 60000") + b"\r\n", b"a")


def many_slow(running: Running) -> str:
    """Health, while hundreds send a byte a second, half of them in a header and half in a body."""
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: "
    body = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    answers: list[float | None] = []
    with contextlib.ExitStack() as stack:
        connections = []
        for i in range(SLOW_CLIENTS):
            with contextlib.suppress(OSError):
                connections.append(stack.enter_context(running.connect(2.0)))
                connections[-1].sendall(body if i % 2 else head)
        for _ in range(4):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(b"a", socket.MSG_DONTWAIT)
            answers.append(live_ms(running))
            time.sleep(1.0)
    return milliseconds(None if None in answers else max(filter(None, answers)))


def busy_health(running: Running) -> str:
    """Health, while twice as many requests as there are threads last 3 s each."""
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(running.connect()).sendall(post("/slow", b"x"))
        time.sleep(0.3)
        return milliseconds(live_ms(running))


def no_host(running: Running) -> str:
    return ask(running, b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n")


def two_lengths(running: Running) -> str:
    smuggled = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    return ask(running, b"POST /echo HTTP/1.1\r\n" + HOST + smuggled)


def endless(running: Running, first: bytes, piece: bytes, most: int) -> str:
    """What a server takes of something that does not end, the processor time it costs, and health meanwhile."""
    before, sent, answer = running.cpu_s(), 0, "held"
    lives: list[float | None] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            lives.append(live_ms(running))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with running.connect(10.0) as connection:
            connection.sendall(first)
            while sent < most and not select.select([connection], [], [], 0)[0]:
                connection.sendall(piece)
                sent += len(piece)
            connection.settimeout(2.0)
            answer = status(receive(connection))
    except TimeoutError:
        pass
    except ConnectionError:
        answer = "closed"
    finally:
        lives.append(live_ms(running))
        over.set()
        watcher.join()
    cost = running.cpu_s() - before
    worst = None if None in lives else max(filter(None, lives))
    return f"{answer} after {sent / MB:.1f} MB, {cost:.1f} s of CPU, /livez {milliseconds(worst)}"


def chunked_body(running: Running) -> str:
    """How much the application reads of a body of 13 bytes that comes in two chunks."""
    with running.connect(5.0) as connection:
        connection.sendall(CHUNKED + b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n")
        body = receive(connection).partition(b"\r\n\r\n")[2]
    return f"{json.loads(body[body.index(b'{') : body.rindex(b'}') + 1])['bytes']} bytes read"


def chunk_line(running: Running) -> str:
    return endless(running, CHUNKED + b"1;", b"a" * 4096, 8 * MB)


def trailers(running: Running) -> str:
    return endless(running, CHUNKED + b"1\r\nx\r\n0\r\n", b"x: " + b"a" * 100 + b"\r\n", 8 * MB)


def tiny_chunks(running: Running) -> str:
    return endless(running, CHUNKED, b"1\r\nx\r\n" * 1000, 5 * MB)


def many_headers(running: Running) -> str:
    lines = b"".join(b"x%d: 1\r\n" % i for i in range(100_000))
    before = running.cpu_s()
    answer = ask(running, b"GET /livez HTTP/1.1\r\n" + HOST + lines + b"\r\n", 20.0)
    return f"{answer}, {running.cpu_s() - before:.1f} s of CPU"


def unfinished_uploads(running: Running) -> str:
    """Memory and temporary files for 24 uploads of 59 MB that do not end; and another client's upload."""
    size = 59 * MB
    begun = post("/echo", b"").replace(b"Length: 0", b"Length: %d" % size)
    before = running.memory()
    most = kept = 0
    piece = b"\xff" * MB
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(running.connect(2.0)) for _ in range(24)]
        for connection in connections:
            connection.sendall(begun)
        end = time.monotonic() + 20
        for _ in range(58):
            for connection in list(connections):
                try:
                    connection.sendall(piece)
                except OSError:
                    connections.remove(connection)
            most, kept = max(most, running.memory()), max(kept, running.temporary())
            if time.monotonic() > end:
                break
        other = ask(running, post("/echo", b"x" * 60_000), 5.0)
    return (
        f"+{(most - before) / MB:,.0f} MB in memory, {kept / MB:,.0f} MB in TMPDIR; another's upload: {other}"
    )


def learns_of_leaving(running: Running) -> str:
    with running.connect() as connection:
        connection.sendall(post("/slow", b"x"))
        time.sleep(0.5)
    time.sleep(1.0)
    with running.connect() as connection:
        connection.sendall(get("/left"))
        counts = json.loads(receive(connection).partition(b"\r\n\r\n")[2].strip() or b"{}")
    return "yes" if counts.get("left") else "no"


def refusal(running: Running) -> str:
    """32 requests at once on 4 threads: whether some are refused, and how soon."""
    refused, served = [], 0
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(running.connect(30.0)) for _ in range(32)]
        begin = time.perf_counter()
        for connection in connections:
            connection.sendall(post("/slow", b"x" * 60_000))
        lock = threading.Lock()

        def wait(connection: socket.socket) -> None:
            nonlocal served
            answer = status(receive(connection))
            with lock:
                if answer == "200":
                    served += 1
                else:
                    refused.append((time.perf_counter() - begin, answer))

        threads = [threading.Thread(target=wait, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begin
    if not refused:
        return f"none; the last was served after {took:.0f} s"
    times = [seconds * 1000 for seconds, _ in refused]
    statuses = ", ".join(sorted({answer for _, answer in refused}))
    return (
        f"{len(refused)} with {statuses}, median {statistics.median(times):.0f} ms, last {max(times):.0f} ms"
    )


def termination(running: Running) -> str:
    """SIGTERM under keep-alive load: requests that were sent and not answered whole."""
    over = threading.Event()
    broken: list[str] = []
    answered: list[int] = []
    request = post("/echo", b"x" * 60_000)

    def load() -> None:
        connection = running.connect()
        while not over.is_set():
            try:
                connection.sendall(request)
                data = receive(connection)
                if status(data) != "200":
                    broken.append(status(data))
                answered.append(1)
                if b"connection: close" not in data.lower() and status(data).isdigit():
                    continue
            except OSError as exc:
                broken.append(type(exc).__name__)
            connection.close()
            try:
                connection = running.connect()
            except OSError:  # no longer there: no request was lost
                return
        connection.close()

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    begin = time.monotonic()
    os.kill(running.process.pid, signal.SIGTERM)
    end = begin + 30
    while running.process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    took = time.monotonic() - begin
    over.set()
    for thread in threads:
        thread.join()
    ended = f"ended after {took:.1f} s" if running.process.poll() is not None else "not ended in 30 s"
    return f"{len(broken)} broken of {len(answered)}, {ended}"


def expectation(running: Running) -> str:
    """What a client hears that asks before it sends: 60 kB, and 10 GB."""
    heard = []
    for size in (60_000, 10_000_000_000):
        header = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nExpect: 100-continue\r\n\r\n"
        with running.connect(3.0) as connection:
            connection.sendall(header.encode())
            try:
                heard.append(status(connection.recv(65536)))
            except TimeoutError:
                heard.append("nothing in 3 s")
    return f"60 kB: {heard[0]}; 10 GB: {heard[1]}"


def head(running: Running) -> str:
    with running.connect(3.0) as connection:
        connection.sendall(get("/livez", "HEAD"))
        connection.sendall(get("/livez"))
        time.sleep(0.5)
        data = connection.recv(65536)
    first, _, rest = data.partition(b"\r\n\r\n")
    clean = rest.startswith(b"HTTP/1.1 200") or not rest
    return f"{status(first)}, {'no body' if clean else 'with a body'}"


# name, function, threads of the server
WOUNDS = [
    ("a header, a byte a second", slow_header, 16),
    ("a body, a byte a second", slow_body, 16),
    (f"/livez beside {SLOW_CLIENTS} such clients", many_slow, 16),
    ("/livez while all threads are busy", busy_health, 16),
    ("HTTP/1.1 without Host", no_host, 16),
    ("Content-Length with Transfer-Encoding", two_lengths, 16),
    ("a chunked body of 13 bytes", chunked_body, 16),
    ("a chunk-size line of 8 MB", chunk_line, 16),
    ("trailers of 8 MB", trailers, 16),
    ("one-byte chunks, 5 MB", tiny_chunks, 16),
    ("100,000 headers", many_headers, 16),
    ("24 unfinished uploads of 59 MB", unfinished_uploads, 16),
    ("the application learns that a client left", learns_of_leaving, 16),
    ("32 requests on 4 threads: refused", refusal, 4),
    ("SIGTERM under keep-alive load", termination, 16),
    ("Expect: 100-continue", expectation, 16),
    ("HEAD", head, 16),
]
