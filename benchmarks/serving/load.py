"""Photos, requests, the client process, and what its answers come to."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.machine import Usage


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
    client_cpu: float  # of the client, for each answer
    cpu: float  # of client and server, for each answer
    others: float  # cores that were at work for others
    failures: Counter[str] = field(
        default_factory=Counter
    )  # what went wrong with the other requests, how often

    @property
    def failed(self) -> int:
        """Requests without an answer 200 or 429."""
        return self.failures.total()

    @property
    def what_failed(self) -> str:
        """How many requests failed, and of what."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.failures.items()))
        return f"{self.failed} ({kinds})" if self.failed else "0"

    @classmethod
    def of(
        cls,
        answers: Sequence[tuple[int, float]],
        seconds: float,
        usage: Usage,
        client_cpu: float = 0.0,
        lost: Mapping[str, int] | None = None,
    ) -> Outcome:
        """`lost`: how many requests had no answer at all, by why."""
        times = defaultdict[int, list[float]](list)
        for status, took in answers:
            times[status].append(took)
        good, refused = sorted(times[200]), sorted(times[429])
        count = max(1, len(answers))
        failures = Counter(lost or {})
        for status in times.keys() - {200, 429}:
            failures[f"answered {status}" if status else "connection broken"] += len(times[status])
        return cls(
            len(good) / seconds, _quantile(good, 0.5), _quantile(good, 0.99), len(refused),
            _quantile(refused, 0.99), client_cpu / count, (usage.server + client_cpu) / count, usage.others,
            +failures,
        )  # fmt: skip


@functools.cache
def client() -> str:
    """The client, compiled."""
    folder = tempfile.mkdtemp(prefix="graft-client-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = Path(folder) / "client"
    source = Path(__file__).with_name("client.c")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", program, source, "-lm"], check=True)
    return str(program)


def run_client(
    port: int, requests: bytes, concurrency: int, seconds: float, rate: float | None = None, server: int = 0
) -> Outcome:
    """A spell of load on a server of this machine. `server`: the group of its processes."""
    return load_by([client(), str(port), str(concurrency), str(seconds), str(rate or 0)], requests, server)


def load_by(command: Sequence[str], requests: bytes, server: int = 0) -> Outcome:
    """A spell of load by a client that prints what `client.c` prints."""
    usage = Usage(server)
    usage.start()
    done = subprocess.run(command, input=requests, stdout=subprocess.PIPE, check=True)
    usage.stop()
    measured = json.loads(done.stdout)
    lost = {"never sent": measured["unsent"], "never answered": measured["unanswered"]}
    return Outcome.of(measured["answers"], measured["seconds"], usage, measured["cpu"], lost)


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """The median over rounds, figure by figure."""
    return Outcome(
        **{
            name: statistics.median(getattr(one, name) for one in outcomes)
            for name in ("rate", "p50", "p99", "client_cpu", "cpu", "others")
        },
        refused=sum(one.refused for one in outcomes),
        refused_p99=max(one.refused_p99 for one in outcomes),
        failures=sum((one.failures for one in outcomes), Counter()),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")
