"""Photos, requests, the client process, and what its answers come to."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def photos(count: int) -> list[bytes]:
    """JPEG files: of GRAFT_DATA's clothing_10 where it is, else photographs of scikit-image, cut into parts."""
    folder = Path(os.environ.get("GRAFT_DATA", "")) / "clothing_10" / "test"
    if os.environ.get("GRAFT_DATA") and folder.is_dir():
        return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:count]]
    import io

    import skimage.data
    from PIL import Image

    parts = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        image = Image.fromarray(getattr(skimage.data, name)())
        for turn in range(-(-count // 4)):
            left, top = 7 * turn % 60, 11 * turn % 60
            stream = io.BytesIO()
            image.crop((left, top, left + 300, top + 225)).save(stream, "JPEG", quality=90)
            parts.append(stream.getvalue())
    return parts[:count]


def post(path: str, bodies: Sequence[bytes], kind: str = "image/jpeg") -> bytes:
    """What the client reads: one HTTP request for each body."""
    requests = []
    for body in bodies:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        request = head.encode() + body
        requests.append(b"%d\n" % len(request) + request)
    return b"".join(requests)


@dataclass(frozen=True)
class Outcome:
    """What one spell of load gave. Times in seconds."""

    rate: float  # answers 200 a second
    p50: float
    p99: float
    refused: int  # answers 429
    refused_p99: float
    failed: int  # anything else

    @classmethod
    def of(cls, measured: dict[str, object]) -> Outcome:
        times: dict[str, list[float]] = measured["times"]  # type: ignore[assignment]
        good, refused = sorted(times.pop("200", [])), sorted(times.pop("429", []))
        failed = sum(map(len, times.values()))
        seconds = float(measured["seconds"])  # type: ignore[arg-type]
        return cls(
            len(good) / seconds, _quantile(good, 0.5), _quantile(good, 0.99), len(refused),
            _quantile(refused, 0.99), failed,
        )  # fmt: skip


def run_client(
    port: int, requests: bytes, concurrency: int, seconds: float, rate: float | None = None
) -> Outcome:
    """A spell of load on a server of this machine."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving.client",
        "127.0.0.1",
        str(port),
        str(concurrency),
        str(seconds),
    ]
    done = subprocess.run(
        command + ([str(rate)] if rate else []), input=requests, stdout=subprocess.PIPE, check=True
    )
    return Outcome.of(json.loads(done.stdout))


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """The median over rounds, figure by figure."""
    return Outcome(
        *(statistics.median(getattr(one, name) for one in outcomes) for name in ("rate", "p50", "p99")),
        refused=sum(one.refused for one in outcomes),
        refused_p99=max(one.refused_p99 for one in outcomes),
        failed=sum(one.failed for one in outcomes),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")
