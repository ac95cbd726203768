"""What a shadow costs those who wait for its model.

    GRAFT_DATA=... python -m benchmarks.shadow

The built-in network answers photos, one client after the other and eight at once, without a shadow and with the
network itself as its shadow, at several shares of time. All take turns, so that a busy moment hits all of them.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import numpy as np

from benchmarks.timing import table
from models.config import RuntimeConfig
from service.caller import Caller
from service.config import ServiceConfig
from service.monitoring.shadows import ShadowRule
from service.registry import Registry

SHARES = (0.0, 0.1, 0.5, 1.0)
ROUNDS, SECONDS = 4, 4.0


def main() -> None:
    config = ServiceConfig(
        models=("graft-mini=builtin", "other=builtin"),
        measure_s=1.0,
        runtime=RuntimeConfig("cpu", warm_up=True),
    )
    registry = Registry(config)
    registry.load()
    print(registry.get("graft-mini").plan)
    rows = []
    for clients in (1, 8):
        rates: dict[float, list[float]] = {share: [] for share in SHARES}
        shadowed, busy = dict.fromkeys(SHARES, 0), dict.fromkeys(SHARES, 0.0)
        for _ in range(ROUNDS):
            for share in SHARES:
                registry.shadows.remove("graft-mini")
                standing = (
                    registry.shadows.put(ShadowRule("graft-mini", "other", None, share)) if share else None
                )
                rates[share].append(rate(registry, clients))
                if standing is not None and standing.running is not None:
                    state = standing.running.shadow.state
                    shadowed[share] += state.images
                    busy[share] += state.seconds
        for share in SHARES:
            change = statistics.median(a / b for a, b in zip(rates[share], rates[0.0], strict=True)) - 1
            figures = (
                f"{statistics.median(rates[share]):,.0f}",
                f"{100 * change:+.1f} %",
                str(shadowed[share]),
            )
            rows.append([str(clients), f"{share:g}", *figures, f"{busy[share] / (ROUNDS * SECONDS):.3f}"])
    registry.close()
    print(table(["clients", "share", "images/s", "change", "shadowed", "at work, of all time"], rows))


def rate(registry: Registry, clients: int) -> float:
    """Images a second that clients have, each with one at a time."""
    counts = [0] * clients
    end = time.monotonic() + SECONDS
    size = registry.get("graft-mini").model.card.preprocessing.size
    pixels = [np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)]

    def ask(number: int) -> Callable[[], None]:
        def work() -> None:
            while time.monotonic() < end:
                with registry.use("graft-mini") as served:
                    (row,) = served.results(pixels, Caller(time.monotonic() + 30))
                assert not isinstance(row, Exception), row
                counts[number] += 1

        return work

    threads = [threading.Thread(target=ask(number)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


if __name__ == "__main__":
    main()
