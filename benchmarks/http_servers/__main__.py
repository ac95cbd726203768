"""Speed of HTTP servers, and what hostile or unlucky clients do to them; prints Markdown.

The servers' Python must have flask and the servers; the client needs nothing. Figures of speed are taken in turn in
every round, so compare them within one run only; processor time for a request says most on a busy machine.

    python -m benchmarks.http_servers --python VENV/bin/python [--only speed|wounds] [--servers waitress ...]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.http_servers.client import closed_loop, post
from benchmarks.http_servers.process import Running
from benchmarks.http_servers.serve_one import SERVERS
from benchmarks.http_servers.wounds import WOUNDS, slow_body, slow_header

TLS = {"waitress": "no"}
BODY = b"\xff" * 60_000


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def speed(names: Sequence[str], python: str, rounds: int, seconds: float) -> None:
    """A table of requests/s, latencies and processor time: POST of 60 kB over connections that are kept."""
    request = post("/echo", BODY)
    took: dict[tuple[str, int], list[list[float]]] = {(name, c): [] for name in names for c in (1, 8)}
    cost: dict[tuple[str, int], list[float]] = {key: [] for key in took}
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(Running(name, python)) for name in names}
        for i in range(rounds + 1):
            for name in names if i % 2 else reversed(names):
                for concurrency in (1, 8):
                    before = running[name].cpu_s()
                    times = closed_loop(running[name], concurrency, seconds, request)
                    if i:  # the first round warms up
                        took[name, concurrency].append(times)
                        cost[name, concurrency].append((running[name].cpu_s() - before) / max(1, len(times)))
    rows = []
    for name in names:
        row = [name]
        for concurrency in (1, 8):
            rate = statistics.median(len(times) / seconds for times in took[name, concurrency])
            latencies = sorted(t * 1000 for times in took[name, concurrency] for t in times) or [float("nan")]
            at = [latencies[min(len(latencies) - 1, int(len(latencies) * share))] for share in (0.5, 0.99)]
            cpu_us = statistics.median(cost[name, concurrency]) * 1e6
            row += [f"{rate:,.0f}", f"{at[0]:.1f}", f"{at[1]:.1f}", f"{cpu_us:.0f}"]
        rows.append(row)
    header = [
        f"{what}, c={c}" for c in (1, 8) for what in ("requests/s", "p50 ms", "p99 ms", "CPU us/request")
    ]
    table(["server", *header], rows)


def wounds(names: Sequence[str], python: str, only: str) -> None:
    """A table with a row for each wound."""
    rows = []
    for title, inflict, threads in WOUNDS:
        if only not in title:
            continue

        def cell(name: str, inflict: Callable[[Running], str] = inflict, threads: int = threads) -> str:
            try:
                with Running(name, python, threads) as running:
                    return inflict(running)
            except (OSError, RuntimeError, ValueError) as exc:
                return f"not measured: {type(exc).__name__}"

        # Those that only wait can wait together; the others have the machine for themselves.
        with ThreadPoolExecutor(len(names) if inflict in (slow_header, slow_body) else 1) as pool:
            row = [title, *pool.map(cell, names)]
        print(" | ".join(row), file=sys.stderr, flush=True)
        rows.append(row)
    rows.append(["TLS, by its documentation", *(TLS.get(name, "yes") for name in names)])
    table(["", *names], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python", default=sys.executable, help="with flask, h11, and the servers to be compared"
    )
    parser.add_argument("--servers", nargs="+", default=list(SERVERS), choices=list(SERVERS))
    parser.add_argument("--only", choices=("speed", "wounds"))
    parser.add_argument("--wound", default="", help="only those with this in their title")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round, server and concurrency")
    given = parser.parse_args()
    if given.only != "wounds":
        speed(given.servers, given.python, given.rounds, given.seconds)
        print()
    if given.only != "speed":
        wounds(given.servers, given.python, given.wound)


if __name__ == "__main__":
    main()
