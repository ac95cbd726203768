"""What hostile or careless clients cost the service: each case with its status, its time, and what it did to the rest.

    python -m benchmarks.serving.wounds [--model builtin]

Every case runs against a server of its own on this machine. `livez` is the slowest of the health requests that were
made meanwhile, ten a second; memory is the peak during the case and what is left six seconds later.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.load import photos
from benchmarks.serving.servers import free_port, graft, running
from benchmarks.timing import table


@dataclass
class Watch:
    """A server, and what is seen of it while a case runs."""

    port: int
    process: subprocess.Popen[bytes]
    scratch: Path
    slowest: float = 0.0
    peak: float = 0.0
    spilled: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self._stop.wait(0.1):
            begin = time.perf_counter()
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(self.port, "GET", "/livez", timeout=20)
            self.slowest = max(self.slowest, time.perf_counter() - begin)
            self.peak = max(self.peak, self.rss())
            self.spilled = max(
                self.spilled, sum(p.stat().st_size for p in self.scratch.rglob("*") if p.is_file()) / 1e6
            )

    def rss(self) -> float:
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except OSError:  # it has ended
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(
    port: int, method: str, path: str, body: bytes = b"", kind: str = "image/png", timeout: float = 120
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body or None, {"Content-Type": kind} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def png(side: int) -> bytes:
    """A small file of side x side black pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (3 * side + 1)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def many_values(watch: Watch) -> str:
    begin = time.perf_counter()
    status, _ = ask(
        watch.port, "POST", "/v1/classify", b'{"images":[' + b"0," * 20_000_000 + b"0]}", "application/json"
    )
    return f"{status} after {time.perf_counter() - begin:.1f} s"


def slow_connections(watch: Watch) -> str:
    clients = [socket.create_connection(("127.0.0.1", watch.port)) for _ in range(520)]
    end = time.monotonic() + 20
    alive = 520
    while time.monotonic() < end and alive:
        alive = 0
        for client in clients:
            try:
                client.sendall(b"X")
                alive += 1
            except OSError:
                pass
        time.sleep(3)
    for client in clients:
        client.close()
    return f"{alive} of 520 still open after 20 s"


def one_bomb(watch: Watch) -> str:
    bomb = png(13_000)
    begin = time.perf_counter()
    status, _ = ask(watch.port, "POST", "/v1/classify", bomb)
    return f"{status} after {time.perf_counter() - begin:.2f} s"


def form(files: list[bytes]) -> tuple[bytes, str]:
    stream = io.BytesIO()
    for number, data in enumerate(files):
        stream.write(
            f'--x\r\nContent-Disposition: form-data; name="image"; filename="{number}.png"\r\n'.encode()
        )
        stream.write(b"Content-Type: image/png\r\n\r\n" + data + b"\r\n")
    stream.write(b"--x--\r\n")
    return stream.getvalue(), "multipart/form-data; boundary=x"


def many_bombs(watch: Watch) -> str:
    bombs = form([png(7_000)] * 64)
    begin = time.perf_counter()
    status, _ = ask(watch.port, "POST", "/v1/classify", *bombs)
    return f"{status} after {time.perf_counter() - begin:.2f} s (64 of 49 megapixels)"


def who_left(watch: Watch) -> str:
    body, kind = form(photos(64))
    connection = http.client.HTTPConnection("127.0.0.1", watch.port, timeout=30)
    connections = [http.client.HTTPConnection("127.0.0.1", watch.port, timeout=30) for _ in range(8)]
    for connection in connections:
        connection.request("POST", "/v1/classify", body, {"Content-Type": kind})
    time.sleep(0.2)
    for connection in connections:
        connection.close()
    before = watch.cpu()
    time.sleep(8)
    return f"{watch.cpu() - before:.1f} s of CPU after 8 requests of 64 photos were left behind"


def unfinished(watch: Watch) -> str:
    clients = []
    part = b"x" * (1 << 20)
    for _ in range(24):
        client = socket.create_connection(("127.0.0.1", watch.port), timeout=5)
        try:
            client.sendall(
                b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 62000000\r\n\r\n"
            )
            for _ in range(59):
                client.sendall(part)
        except OSError:
            pass
        clients.append(client)
    status, _ = ask(watch.port, "POST", "/v1/classify", photos(1)[0], "image/jpeg")
    for client in clients:
        client.close()
    return f"another's photo meanwhile: {status}"


def large_uploads(watch: Watch) -> str:
    body = b"\xff\xd8" + b"x" * 60_000_000
    counts: dict[str, int] = {}

    def send() -> None:
        try:
            status = str(ask(watch.port, "POST", "/v1/classify", body, "image/jpeg")[0])
        except OSError as exc:
            status = type(exc).__name__
        counts[status] = counts.get(status, 0) + 1

    threads = [threading.Thread(target=send) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))


def large_photos(watch: Watch) -> str:
    """64 clients at once, each with a JPEG of 16 megapixels."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((4900, 3266)).save(stream, "JPEG", quality=90)
    counts: Counter[int] = Counter()

    def send() -> None:
        counts[ask(watch.port, "POST", "/v1/classify", stream.getvalue(), "image/jpeg")[0]] += 1

    begin = time.perf_counter()
    threads = [threading.Thread(target=send) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return f"{dict(counts)} within {time.perf_counter() - begin:.1f} s ({len(stream.getvalue()) / 1e6:.1f} MB each)"


def raw(port: int, data: bytes, more: bytes = b"", most: int = 8 << 20) -> str:
    """The status line of an answer to these bytes, then as much of `more` as the server takes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        sent = 0
        try:
            while more and sent < most:
                client.sendall(more)
                sent += len(more)
        except OSError:
            pass
        try:
            return client.recv(65536).split(b"\r\n")[0].decode("latin-1") or "closed"
        except OSError as exc:
            return type(exc).__name__


def smuggling(watch: Watch) -> str:
    both = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    before = watch.cpu()
    head = b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines = [
        "no Host: " + raw(watch.port, b"GET /livez HTTP/1.1\r\n\r\n"),
        "both lengths: " + raw(watch.port, both),
        "endless chunk line: " + raw(watch.port, head + b"1;", b"x" * 65536),
        "endless trailers: " + raw(watch.port, head + b"0\r\n", b"a: b\r\n" * 10_000),
    ]
    return "; ".join(lines) + f"; {watch.cpu() - before:.2f} s of CPU"


def stopping(watch: Watch) -> str:
    counts = {"answered": 0, "broken": 0, "refused": 0}
    photo = photos(1)[0]
    ended = threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", watch.port, timeout=30)
        while not ended.is_set():
            try:
                connection.request("POST", "/v1/classify", photo, {"Content-Type": "image/jpeg"})
                connection.getresponse().read()
                counts["answered"] += 1
            except ConnectionRefusedError:
                counts["refused"] += 1
                return
            except (OSError, http.client.HTTPException):
                counts["broken"] += 1
                return

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    begin = time.perf_counter()
    watch.process.send_signal(signal.SIGTERM)
    watch.process.wait(60)
    took = time.perf_counter() - begin
    ended.set()
    for thread in threads:
        thread.join()
    return f"{counts}, ended {took:.1f} s after SIGTERM with code {watch.process.returncode}"


def shapes(watch: Watch) -> str:
    slash = ask(watch.port, "GET", "/v1//models")
    no_boundary = ask(watch.port, "POST", "/v1/classify", b"x", "multipart/form-data")
    return (
        f"/v1//models: {slash[0]} {slash[1][:60]!r}; no boundary: {no_boundary[0]} {no_boundary[1][:140]!r}"
    )


CASES: dict[str, Callable[[Watch], str]] = {
    "1. 20 million JSON values": many_values,
    "2. 520 slow connections": slow_connections,
    "3. a PNG of 169 megapixels": one_bomb,
    "3. 64 large PNGs in a form": many_bombs,
    "5. clients that leave": who_left,
    "6. 24 unfinished uploads of 59 MB": unfinished,
    "7. 64 uploads of 60 MB": large_uploads,
    "64 clients with photos of 16 megapixels": large_photos,
    "8. no HTTP as it is specified": smuggling,
    "9. SIGTERM with 8 keep-alive clients": stopping,
    "10. shapes of errors": shapes,
}


@contextlib.contextmanager
def served(model: str) -> Iterator[Watch]:
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(graft([model], port), f"http://127.0.0.1:{port}/readyz", {"TMPDIR": scratch}) as process,
    ):
        watch = Watch(port, process, Path(scratch))
        looking = threading.Thread(target=watch.look)
        looking.start()
        try:
            yield watch
        finally:
            watch._stop.set()
            looking.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    rows = []
    for name, case in CASES.items():
        if args.only not in name:
            continue
        with served(args.model) as watch:
            before = watch.rss()
            result = case(watch)
            peak, slowest = max(watch.peak, before), watch.slowest
            time.sleep(6)
            after = watch.rss() if watch.process.poll() is None else 0.0
            rows.append(
                [
                    name,
                    result,
                    f"{1e3 * slowest:.0f}",
                    f"{before:.0f}",
                    f"{peak:.0f}",
                    f"{after:.0f}",
                    f"{watch.spilled:.0f}",
                ]
            )
            print(rows[-1], flush=True)
    print(table(["case", "result", "livez ms", "MB before", "peak", "after", "in TMPDIR"], rows))


if __name__ == "__main__":
    main()
