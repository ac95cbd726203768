"""A light client: raw sockets, requests that were made beforehand, in a process of its own.

    python -m benchmarks.serving.client HOST PORT CONCURRENCY SECONDS [RATE] < requests

Reads from standard input the requests as `length newline bytes`. Closed loop: each of CONCURRENCY connections sends
its next request when it has its answer. With RATE: open loop, so many requests a second whatever comes back, as far as
so many connections allow. Prints JSON: how long each answer took from the sending of its request, by status.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator


def requests_from(stream: object) -> Iterator[bytes]:
    while line := stream.readline():  # type: ignore[attr-defined]
        yield stream.read(int(line))  # type: ignore[attr-defined]


def answer(connection: socket.socket) -> tuple[int, bool]:
    """Status of one answer, and whether the connection goes on."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        part = connection.recv(65536)
        if not part:
            raise ConnectionResetError("closed before an answer")
        data += part
    head = data[:end].lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    left = length - (len(data) - end - 4)
    while left > 0:
        part = connection.recv(65536)
        if not part:
            raise ConnectionResetError("closed in an answer")
        left -= len(part)
    return int(data[9:12]), b"connection: close" not in head


def main() -> None:
    host, port, concurrency, seconds = sys.argv[1], *map(float, sys.argv[2:5])
    rate = float(sys.argv[5]) if len(sys.argv) > 5 else None
    requests = list(requests_from(sys.stdin.buffer))
    times: dict[str, list[float]] = defaultdict(list)
    begin = time.perf_counter()
    end = begin + seconds

    def work(number: int) -> None:
        connection: socket.socket | None = None
        turn = number
        while True:
            now = time.perf_counter()
            due = begin + turn / rate if rate else now
            if max(now, due) >= end:
                break
            if due > now:
                time.sleep(due - now)
            started = time.perf_counter()
            try:
                if connection is None:
                    connection = socket.create_connection((host, int(port)), timeout=60)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(requests[turn % len(requests)])
                status, goes_on = answer(connection)
                times[str(status)].append(time.perf_counter() - started)
            except OSError as exc:
                times[type(exc).__name__].append(time.perf_counter() - started)
                goes_on = False
            if not goes_on and connection is not None:
                connection.close()
                connection = None
            turn += int(concurrency)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(int(concurrency))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"seconds": time.perf_counter() - begin, "times": times}, sys.stdout)


if __name__ == "__main__":
    main()
