"""A light client over bare sockets."""

from __future__ import annotations

import selectors
import socket
import time

from benchmarks.http_servers.process import Running

HOST = b"Host: localhost\r\n"


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request with a body of a known length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode()
        + body
    )


def get(path: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def whole(data: bytes) -> bool:
    """Whether an answer is complete: by its length, or its last chunk."""
    head, mark, body = data.partition(b"\r\n\r\n")
    if not mark:
        return False
    lower = head.lower()
    if b"content-length:" in lower:
        return len(body) >= int(lower.partition(b"content-length:")[2].split(b"\r\n")[0])
    return b"transfer-encoding: chunked" in lower and body.endswith(b"0\r\n\r\n")


def receive(connection: socket.socket) -> bytes:
    """An answer, or what came of it before the server closed.

    Raises:
        TimeoutError: nothing came in time.
    """
    data = b""
    while not whole(data):
        try:
            part = connection.recv(65536)
        except ConnectionError:
            break
        if not part:
            break
        data += part
    return data


def status(data: bytes) -> str:
    """The status of an answer, or that there was none."""
    return data[9:12].decode("latin-1") if data.startswith(b"HTTP/") else "closed without an answer"


def ask(running: Running, data: bytes, timeout: float = 10.0) -> str:
    """The status that a request gets."""
    try:
        with running.connect(timeout) as connection:
            connection.sendall(data)
            return status(receive(connection))
    except TimeoutError:
        return f"no answer in {timeout:g} s"
    except ConnectionError:
        return "closed without an answer"


def live_ms(running: Running, timeout: float = 5.0) -> float | None:
    """Milliseconds until /livez has answered; None where it did not in time."""
    begin = time.perf_counter()
    answered = ask(running, get("/livez"), timeout)
    return (time.perf_counter() - begin) * 1000 if answered == "200" else None


def closed_loop(running: Running, concurrency: int, seconds: float, request: bytes) -> list[float]:
    """Seconds of each request that so many connections had answered with 200, one after the other."""
    took: list[float] = []
    begun: dict[socket.socket, float] = {}
    data: dict[socket.socket, bytes] = {}
    with selectors.DefaultSelector() as selector:
        for _ in range(concurrency):
            connection = running.connect()
            selector.register(connection, selectors.EVENT_READ)
            begun[connection], data[connection] = time.perf_counter(), b""
            connection.sendall(request)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for key, _ in selector.select(1.0):
                connection = key.fileobj  # type: ignore[assignment]
                part = connection.recv(65536)
                data[connection] += part
                if part and not whole(data[connection]):
                    continue
                now = time.perf_counter()
                if status(data[connection]) == "200":
                    took.append(now - begun[connection])
                if not part or b"connection: close" in data[connection].lower():
                    selector.unregister(connection)
                    connection.close()
                    connection = running.connect()
                    selector.register(connection, selectors.EVENT_READ)
                begun[connection], data[connection] = time.perf_counter(), b""
                connection.sendall(request)
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return took
