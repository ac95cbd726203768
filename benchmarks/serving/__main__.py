"""Throughput and latency of `graft serve` beside a bare decode-and-run loop and other servers; what overload does.

    python -m benchmarks.serving [--models builtin,inception_v3.random] [--concurrency 1,8,32] [--rounds 3]
        [--seconds 6] [--device cpu] [--litserve PYTHON] [--mlserver PYTHON] [--triton PYTHON] [--overload SECONDS]

PYTHON is an interpreter whose environment has litserve, mlserver, or nvidia-pytriton, with onnxruntime and Pillow. All
candidates take their turn in every round, on the same cores, with the same photos; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import math
import os
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.bare import Bare
from benchmarks.serving.load import Outcome, middle, photos, post, run_client
from benchmarks.serving.servers import ADAPTERS, free_port, graft, running
from benchmarks.timing import table
from models.locating import locate

BATCHING = {"max_batch_size": 8, "max_batch_time": 0.005}


@dataclass(frozen=True)
class Rival:
    """A server that runs, and the requests that it takes."""

    port: int
    requests: bytes
    group: int  # of its processes


def main() -> None:
    args = parsed()
    bodies = photos(200)
    models = args.models.split(",")
    concurrency = [int(text) for text in args.concurrency.split(",")]
    rows = [row for model in models for row in closed_loop(model, bodies, concurrency, args)]
    header = ["network", "server", "clients", "requests/s", "of bare", "p50 ms", "p99 ms", "failed", "cpu ms",
              "client ms", "others"]  # fmt: skip
    print(table(header, rows))
    if args.overload:
        print()
        print(table(["spell", "requests/s", "p50 ms", "p99 ms", "refused", "refused p99 ms", "failed", "RSS MB"],
                    overload(models[0], bodies, args.overload)))  # fmt: skip


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="builtin,inception_v3.random")
    parser.add_argument("--concurrency", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--device", default="cpu", help="of the bare loop and of Graft")
    parser.add_argument("--overload", type=float, default=0.0, help="seconds of ten times the capacity")
    for name in ("litserve", "mlserver", "triton"):
        parser.add_argument(f"--{name}")
    return parser.parse_args()


def closed_loop(
    model: str, bodies: Sequence[bytes], concurrency: Sequence[int], args: argparse.Namespace
) -> list[list[str]]:
    rows = []
    bare = Bare(model, args.device)
    with contextlib.ExitStack() as stack:
        rivals = {name: stack.enter_context(one) for name, one in servers(model, bodies, args)}
        for clients in concurrency:
            outcomes: dict[str, list[Outcome]] = {name: [] for name in ("bare loop", *rivals)}
            for turn in range(args.rounds):
                names = list(outcomes) if turn % 2 == 0 else list(reversed(outcomes))
                for name in names:
                    if name == "bare loop":
                        outcomes[name].append(bare.run(bodies, clients, args.seconds))
                    else:
                        one = rivals[name]
                        outcomes[name].append(spell_on(one, clients, args.seconds))
            base = middle(outcomes["bare loop"])
            for name, spells in outcomes.items():
                figures = middle(spells)
                rows.append([
                    model if name == "bare loop" else "", name, str(clients), f"{figures.rate:.0f}",
                    f"{figures.rate / base.rate:.2f}", f"{1e3 * figures.p50:.1f}", f"{1e3 * figures.p99:.1f}",
                    figures.what_failed, f"{1e3 * figures.cpu:.2f}", f"{1e3 * figures.client_cpu:.2f}",
                    f"{figures.others:.1f}",
                ])  # fmt: skip
    return rows


def servers(
    model: str, bodies: Sequence[bytes], args: argparse.Namespace
) -> Iterator[tuple[str, contextlib.AbstractContextManager[Rival]]]:
    """Ours and those that were asked for, not started yet."""
    ours = post("/v1/classify", bodies)
    yield "Graft", started(lambda port: graft([model], port, device=args.device), "readyz", ours)
    file = str(locate(model))
    env = {"SERVED_MODEL": file, "PYTHONPATH": str(ADAPTERS)}
    if args.litserve:
        texts = [json.dumps({"image": base64.b64encode(body).decode()}).encode() for body in bodies]
        requests = post("/predict", texts, "application/json")
        command = [args.litserve, str(ADAPTERS / "litserve_app.py"), file]
        yield "LitServe", started(lambda port: [*command, str(port)], "health", requests, env)
    if args.mlserver:
        folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
        texts = [base64.b64encode(body).decode() for body in bodies]
        requests = post("/v2/models/net/infer", [
            json.dumps({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}]}).encode()
            for text in texts
        ], "application/json")  # fmt: skip
        yield "MLServer", started(
            lambda port: [str(Path(args.mlserver).with_name("mlserver")), "start", str(mlserver_folder(folder, port))],
            "v2/health/ready", requests, env,
        )  # fmt: skip
    if args.triton:
        command = [args.triton, str(ADAPTERS / "triton_app.py"), file]
        yield (
            "Triton (Python backend)",
            started(lambda port: [*command, str(port)], "v2/health/ready", triton_requests(bodies), env),
        )


@contextlib.contextmanager
def started(
    command: object, health: str, requests: bytes, env: dict[str, str] | None = None
) -> Iterator[Rival]:
    port = free_port()
    with running(command(port), f"http://127.0.0.1:{port}/{health}", env) as process:  # type: ignore[operator]
        yield Rival(port, requests, process.pid)


def spell_on(one: Rival, clients: int, seconds: float) -> Outcome:
    return run_client(one.port, one.requests, clients, seconds, server=one.group)


def mlserver_folder(folder: Path, port: int) -> Path:
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {"debug": False, "host": "127.0.0.1", "parallel_workers": 0, **ports}
    model = {
        "name": "net",
        "implementation": "mlserver_runtime.Classifier",
        "max_batch_size": 8,
        "max_batch_time": 0.005,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return folder


def triton_requests(bodies: Sequence[bytes]) -> bytes:
    """Requests with Triton's binary extension."""
    requests = []
    for body in bodies:
        raw = struct.pack("<I", len(body)) + body
        entry = {
            "name": "image",
            "shape": [1, 1],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(raw)},
        }
        head = json.dumps({"inputs": [entry]}).encode()
        lines = (
            "POST /v2/models/net/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(head) + len(raw)}\r\n\r\n"
        )
        request = lines.encode() + head + raw
        requests.append(b"%d\n" % len(request) + request)
    return b"".join(requests)


def overload(model: str, bodies: Sequence[bytes], seconds: float) -> list[list[str]]:
    """A closed loop for the capacity, an open one at ten times of it, a closed one a second later."""
    rows = []
    port = free_port()
    requests = post("/v1/classify", bodies)
    with running(graft([model], port), f"http://127.0.0.1:{port}/readyz") as process:
        before = run_client(port, requests, 8, 5.0)
        rows.append(spell("before, 8 clients", before, process.pid))
        flood = run_client(port, requests, 256, seconds, rate=10 * before.rate)
        rows.append(spell(f"10 x capacity, {seconds:.0f} s, open loop", flood, process.pid))
        time.sleep(1.0)
        rows.append(spell("1 s later, 8 clients", run_client(port, requests, 8, 5.0), process.pid))
    return rows


def spell(name: str, one: Outcome, pid: int) -> list[str]:
    return [
        name, f"{one.rate:.0f}", f"{1e3 * one.p50:.1f}", f"{1e3 * one.p99:.1f}", str(one.refused),
        "-" if math.isnan(one.refused_p99) else f"{1e3 * one.refused_p99:.1f}", one.what_failed, f"{rss(pid):.0f}",
    ]  # fmt: skip


def rss(pid: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
