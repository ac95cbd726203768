"""Another version every second under load, and memory after many loads and unloads: does anybody notice?

    python -m benchmarks.hot_swap [--model builtin] [--seconds 60] [--every 1] [--clients 8] [--cycles 50]

A service with a repository and an administrator's token. First: clients ask without a pause while each `--every`
seconds a new version is loaded, gets the label `stable`, and the old one is unloaded; all answers must be 200. Then,
without clients: a version is loaded, asked once and unloaded, `--cycles` times; RSS is read after some of them.
`--seconds 0` leaves the first part out.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.serving.load import photos, post, run_client
from benchmarks.serving.servers import free_port, graft, running
from benchmarks.timing import table
from models.locating import locate
from service.tokens import new_token

_SETTLED_S = 1.0  # after an unload, until memory is given back
_LOOKS = (5, 10, 20, 30, 40, 50, 75)


class Administrator:
    """Loads, labels and unloads versions of the model `net`."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._token = token

    def ask(self, method: str, path: str, body: dict[str, Any] | bytes | None = None) -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "image/jpeg"}
        self._connection.request(method, path, data, headers)
        with self._connection.getresponse() as response:
            answer = json.loads(response.read())
        if response.status != 200:
            raise SystemExit(f"{method} {path}: {response.status} {answer}")
        return answer

    def load(self, version: int) -> None:
        self.ask("POST", "/v1/admin/models", {"path": "net.onnx", "name": "net", "version": version})

    def label(self, version: int) -> None:
        self.ask("PUT", "/v1/admin/models/net/labels/stable", {"version": version})

    def unload(self, version: int) -> None:
        self.ask("DELETE", f"/v1/admin/models/net?version={version}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--every", type=float, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--cycles", type=int, default=50)
    args = parser.parse_args()
    bodies = photos(40)
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        shutil.copy(locate(args.model), folder / "net.onnx")
        token, line = new_token(["admin"])
        (folder / "tokens").write_text(f"{line}\n")
        (folder / "tokens").chmod(0o600)
        command = graft(
            [f"net={folder / 'net.onnx'}"], port, "--repository", name, "--tokens", f"{folder / 'tokens'}"
        )
        with running(command, f"http://127.0.0.1:{port}/readyz") as process:
            administrator = Administrator(port, token)
            if args.seconds:
                head = ["swaps", "load s", "requests/s", "p50 ms", "p99 ms", "429", "failed"]
                print(table(head, [swaps(administrator, port, bodies, args)]), end="\n\n")
            print(table(["loads and unloads", "RSS MB", "of that after 5"],
                        memory(administrator, process.pid, bodies[0], args.cycles)))  # fmt: skip


def swaps(
    administrator: Administrator, port: int, bodies: list[bytes], args: argparse.Namespace
) -> list[str]:
    """The row of a spell of load while versions change."""
    ended, loads = threading.Event(), list[float]()

    def change() -> None:
        version, due = 1, time.perf_counter() + args.every
        while not ended.wait(max(0.0, due - time.perf_counter())):
            due += args.every
            began = time.perf_counter()
            administrator.load(version + 1)
            loads.append(time.perf_counter() - began)
            administrator.label(version + 1)
            administrator.unload(version)
            version += 1

    administrator.label(1)
    changer = threading.Thread(target=change)
    changer.start()
    try:
        outcome = run_client(port, post("/v1/classify?model=net", bodies), args.clients, args.seconds)
    finally:
        ended.set()
        changer.join()
    return [
        f"{len(loads)}", f"{statistics.median(loads):.2f}", f"{outcome.rate:.1f}", f"{1e3 * outcome.p50:.1f}",
        f"{1e3 * outcome.p99:.1f}", f"{outcome.refused}", f"{outcome.failed}",
    ]  # fmt: skip


def memory(administrator: Administrator, pid: int, photo: bytes, cycles: int) -> list[list[str]]:
    """A row for some numbers of loads and unloads."""
    rows, base = [], 0.0
    for cycle in range(1, cycles + 1):
        version = 1_000_000 + cycle
        administrator.load(version)
        administrator.ask("POST", f"/v1/classify?model=net&version={version}", photo)
        administrator.unload(version)
        if cycle in (*_LOOKS, cycles):
            time.sleep(_SETTLED_S)
            size = rss(pid)
            base = base or size
            rows.append([f"{cycle}", f"{size / 1e6:.1f}", f"{size / base - 1:+.1%}"])
    return rows


def rss(pid: int) -> int:
    """Bytes of a process that stand in memory."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096


if __name__ == "__main__":
    main()
