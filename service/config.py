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
    wait_s: float = 10.0  # that a request waits for its model before it is turned away
