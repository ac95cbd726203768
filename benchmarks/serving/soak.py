"""Good and hostile clients together, for minutes: does the service stay as it was?

    python -m benchmarks.serving.soak [--minutes 10] [--model builtin]

Prints a row every half minute: answers to good clients, statuses of the hostile, and the server's memory, threads and
open files. Traffic goes to this machine alone.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.serving.load import photos
from benchmarks.serving.servers import free_port, graft, running
from benchmarks.serving.wounds import ask, form, png
from benchmarks.timing import table


class Crowd:
    """Clients of all kinds, each again and again until the end."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.statuses: Counter[str] = Counter()
        self.good: Counter[str] = Counter()
        self._photos = photos(40)
        self._end = time.monotonic() + seconds
        self._bomb = png(8_000)
        self._counting = threading.Lock()

    def good_client(self, number: int) -> None:
        for turn in itertools.count(number):
            if time.monotonic() > self._end:
                return
            path = ("/v1/classify", "/v1/classify?top_k=1", "/v1/features")[turn % 3]
            self._count(
                self.good, self._asked("POST", path, self._photos[turn % len(self._photos)], "image/jpeg")
            )

    def hostile_client(self, number: int) -> None:
        rng = random.Random(number)
        cases = (self._garbage, self._cut_photo, self._pixels, self._values, self._leaves, self._slow)
        cases += (self._lies, self._unknown)
        while time.monotonic() < self._end:
            case = rng.choice(cases)
            self._count(self.statuses, f"{case.__name__[1:]} {case(rng)}")
            time.sleep(0.05)

    def _garbage(self, rng: random.Random) -> str:
        return self._raw(rng.randbytes(rng.randint(1, 4000)) + b"\r\n\r\n")

    def _cut_photo(self, rng: random.Random) -> str:
        photo = rng.choice(self._photos)
        return self._asked("POST", "/v1/classify", photo[: rng.randint(1, len(photo))], "image/jpeg")

    def _pixels(self, rng: random.Random) -> str:
        return self._asked("POST", "/v1/classify", *form([self._bomb] * rng.randint(1, 8)))

    def _values(self, rng: random.Random) -> str:
        body = rng.choice(
            (b'{"images":[' + b"0," * 2_000_000 + b"0]}", b"[" * 500_000, b'{"images":[1e999999]}')
        )
        return self._asked("POST", "/v1/classify", body, "application/json")

    def _leaves(self, rng: random.Random) -> str:
        body, kind = form([rng.choice(self._photos) for _ in range(8)])
        head = f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as client,
        ):
            client.sendall(head.encode() + body[: rng.choice((len(body), len(body) // 2))])
            time.sleep(rng.random() / 10)
        return "left"

    def _slow(self, rng: random.Random) -> str:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as client,
        ):
            client.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n")
            for _ in range(20):
                client.sendall(b"x")
                time.sleep(0.1)
        return "slow"

    def _lies(self, rng: random.Random) -> str:
        length = rng.choice((b"10", b"-1", b"1e3", b"99999999999", b"5, 6"))
        return self._raw(
            b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n" + b"x" * 100
        )

    def _unknown(self, rng: random.Random) -> str:
        path = rng.choice(
            ("/v1/classify?model=nobody", "/v1/classify?version=99", "/nothing", "/v1/features?cut=x")
        )
        return self._asked("POST", path, self._photos[0], "image/jpeg")

    def _asked(self, method: str, path: str, body: bytes, kind: str) -> str:
        try:
            status, answer = ask(self.port, method, path, body, kind)
        except OSError as exc:
            return type(exc).__name__
        if b"Traceback" in answer or not isinstance(json.loads(answer), dict):
            return f"{status} with a traceback"
        return str(status)

    def _raw(self, data: bytes) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as client:
                client.sendall(data)
                return client.recv(65536)[9:12].decode("ascii", "replace") or "closed"
        except OSError as exc:
            return type(exc).__name__

    def _count(self, counter: Counter[str], outcome: str) -> None:
        with self._counting:
            counter[outcome] += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default="builtin")
    args = parser.parse_args()
    port = free_port()
    with running(graft([args.model], port), f"http://127.0.0.1:{port}/readyz") as process:
        crowd = Crowd(port, 60 * args.minutes)
        clients = [threading.Thread(target=crowd.good_client, args=(n,)) for n in range(4)]
        clients += [threading.Thread(target=crowd.hostile_client, args=(n,)) for n in range(6)]
        rows = [["0.0", *state(process.pid), "", ""]]
        begin = time.monotonic()
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            clients[0].join(30)
            row = [f"{(time.monotonic() - begin) / 60:.1f}", *state(process.pid), shown(crowd.good), ""]
            rows.append(row)
            print(row, flush=True)
            if not clients[0].is_alive():
                for client in clients:
                    client.join()
        time.sleep(8)
        rows.append(["after", *state(process.pid), shown(crowd.good), ""])
        print(table(["minute", "MB", "threads", "files", "good answers", ""], rows))
        print("hostile:", shown(crowd.statuses))
        status, _ = ask(port, "POST", "/v1/classify", crowd._photos[0], "image/jpeg")
        print(f"a photo afterwards: {status}")


def state(pid: int) -> list[str]:
    """Resident memory in MB, threads and open files of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return [f"{int(fields['VmRSS'].split()[0]) / 1e3:.0f}", fields["Threads"].strip(), str(files)]


def shown(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counter.items()))


if __name__ == "__main__":
    main()
