"""What a service is started with."""

from __future__ import annotations

from models.config import DEFAULT_MODEL, RuntimeConfig
from models.settings import fresh_setting, setting, settings


@settings
class ServiceConfig:
    """Which models are served, and the limits that keep the service alive."""

    models: tuple[str, ...] = setting(
        (DEFAULT_MODEL,), "Names, paths, or `name=path`; the first answers where a request names none."
    )
    runtime: RuntimeConfig = fresh_setting(lambda: RuntimeConfig(warm_up=True), "How models run.")
    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
    port: int = setting(8000, "Port to listen on; 0 takes a free one.", least=0, most=65535)
    max_request_mb: int = setting(64, "Largest request, in MB.", least=1)
    max_images: int = setting(64, "Images in one request.", least=1)
    max_values: int = setting(4_000_000, "Numbers in one answer of /v1/features.", least=1)
    max_pixels: int = setting(50_000_000, "Pixels of one image.", least=1)
    max_pixels_per_request: int = setting(200_000_000, "Pixels of all images of one request.", least=1)
    max_pixels_at_once: int = setting(100_000_000, "Pixels being decoded, over all requests.", least=1)
    max_queued: int = setting(256, "Images that wait for one model.", least=1)
    timeout_s: float = setting(
        30.0, "Seconds from the whole request to its answer; what has not begun by then is dropped.", least=0
    )
    measure_s: float = setting(
        2.0, "Seconds spent to find out how a model is run best; 0 measures nothing.", least=0
    )

    @property
    def max_request_bytes(self) -> int:
        """Largest request, in bytes."""
        return self.max_request_mb << 20
