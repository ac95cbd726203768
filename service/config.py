"""What a service is started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.runtime import RuntimeConfig


@dataclass(frozen=True)
class ServiceConfig:
    """Which models are served, and the limits that keep the service alive.

    `models`: names, paths, or `name=path`. The first one answers where a request names none.
    """

    models: tuple[str, ...] = ("builtin",)
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(warm_up=True))
    max_request_bytes: int = 64 << 20
    max_images: int = 64  # in one request
    max_values: int = 4_000_000  # numbers in one answer of /v1/features
    max_pixels: int = 50_000_000  # of one image
    max_pixels_per_request: int = 200_000_000
    max_pixels_at_once: int = 100_000_000  # being decoded, over all requests
    max_queued: int = 256  # images that wait for one model
    timeout_s: float = 30.0  # from the whole request to its answer; what has not begun by then is dropped
    measure_s: float = 2.0  # that are spent to find out how a model is run best; 0 to measure nothing
