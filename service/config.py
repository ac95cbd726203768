"""What a service is started with."""

from __future__ import annotations

import re
from typing import Literal

from models.config import DEFAULT_MODEL, RuntimeConfig
from models.errors import InputError
from models.settings import Setting, fresh_setting, setting, settings, settings_of
from service.front.limits import Limits
from service.logs import LogFormat

# Of how models run, what can be set for a service.
RUNTIME = ("device", "threads", "spinning")
# Of the front, what follows from another setting (max_request_mb).
_DERIVED = ("body_bytes",)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\sA-Z]+")  # RFC 6454, as browsers write it
SMALLEST_WINDOW, LARGEST_WINDOW = 16, 4096  # images that are compared at a time


@settings
class ServiceConfig:
    """Which models are served to whom, and the limits that keep the service alive."""

    models: tuple[str, ...] = setting(
        (DEFAULT_MODEL,),
        "Names, files, folders, or `name=file`; the first answers where a request names none.",
        heading="Models",
    )
    labels: tuple[str, ...] = setting(
        (),
        "What a label stands for: with stable=cats:2, version 2 of cats answers where a request names no version.",
        unset="none; the newest version answers",
        heading="Models",
        metavar="LABEL=NAME:VERSION",
    )
    watch_s: float = setting(
        5.0, "Seconds from one look into the folders to the next; 0 looks no more.", least=0, heading="Models"
    )
    measure_s: float = setting(
        2.0,
        "Seconds spent to find out how a model is run best; 0 measures nothing.",
        least=0,
        heading="Models",
    )
    no_proof: bool = setting(
        False,
        "Serve files too that compute differently here from where they were written; each is said in the log.",
        heading="Models",
    )
    drift_window: int = setting(
        256,
        "Images that are compared at a time with those that a model was taught with, 16 to 4,096; 0 compares none.",
        least=0,
        most=LARGEST_WINDOW,
        heading="Models",
    )
    shadows: tuple[str, ...] = setting(
        (),
        "Which model answers unseen what another one answers: with cats=cats:2, version 2 of cats beside the one that "
        "clients have.",
        unset="none",
        heading="Models",
        metavar="NAME=MODEL:VERSION",
    )
    shadow_share: float = setting(
        0.1, "Share of all time that a shadow may be at work.", above=0, most=1, heading="Models"
    )
    shadow_threshold: float = setting(
        0.05,
        "How often a shadow may say something else; whether it does so more or less often is what is asked.",
        above=0,
        most=0.99,
        heading="Models",
    )
    repository: tuple[str, ...] = setting(
        (),
        "Folder from which a running service may be told to load models; what lies outside is refused.",
        unset="none",
        heading="Models",
        metavar="FOLDER",
    )
    workspace: str | None = setting(
        None,
        "Folder in which this service keeps datasets and fine-tuning jobs, and teaches.",
        unset="none; it does not teach",
        heading="Teaching",
        metavar="FOLDER",
    )
    datasets_root: tuple[str, ...] = setting(
        (),
        "Folder of this machine from which datasets may be taken; what lies outside is refused.",
        unset="none",
        heading="Teaching",
        metavar="FOLDER",
    )
    disk_limit_gb: float = setting(20.0, "What the workspace may hold, in GB.", above=0, heading="Teaching")
    job_memory_gb: float = setting(8.0, "Memory of one job, in GB.", above=0, heading="Teaching")
    job_hours: float = setting(12.0, "Hours that one job may take.", above=0, heading="Teaching")
    job_nice: int = setting(
        15,
        "By how much a job comes after serving where both want the processor: 19 has what is left.",
        least=0,
        most=19,
        heading="Teaching",
    )
    job_threads: int | None = setting(
        None, "Threads of a job.", unset="one a core; it has what serving leaves", least=1, heading="Teaching"
    )
    outputs: Literal["answer", "all"] = setting(
        "answer",
        "What clients of Triton and TensorFlow Serving see: answer, one output (probabilities, or the value of a "
        "regression); all, also logits, reject scores and what else the network gives.",
        heading="Models",
    )
    runtime: RuntimeConfig = fresh_setting(lambda: RuntimeConfig(warm_up=True), "How models run.")
    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 for all.", heading="Address")
    port: int = setting(
        8000, "Port to listen on; 0 takes a free one.", least=0, most=65535, heading="Address"
    )
    grpc_port: int | None = setting(
        None,
        "Port to listen on for gRPC, at the same address; 0 takes a free one.",
        least=0,
        most=65535,
        unset="none; no gRPC",
        heading="Address",
    )
    cert: str | None = setting(
        None,
        "Certificate for TLS, PEM, followed by those that lead to its root.",
        unset="none; connections are not encrypted",
        heading="Address",
        metavar="FILE",
    )
    key: str | None = setting(
        None, "Private key of the certificate, PEM.", unset="none", heading="Address", metavar="FILE"
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        "Origins whose pages may ask this service from a browser: https://host, or * for all.",
        unset="none",
        heading="Address",
        metavar="ORIGIN,ORIGIN",
    )
    tokens: str | None = setting(
        None,
        "File of API tokens, which `graft token` makes.",
        unset="none; everybody may classify, nobody may administer",
        heading="Address",
        metavar="FILE",
    )
    log: LogFormat = setting(
        "text",
        "How the log is written: a line for each request and for what happens, on standard output.",
        heading="Log",
    )
    tracing: bool = setting(
        False,
        "Send OpenTelemetry traces by OTLP; where to and how many, say the variables OTEL_... of its SDK.",
        heading="Log",
    )
    max_request_mb: int = setting(64, "Largest request, in MB.", least=1, heading="Requests")
    max_images: int = setting(64, "Images in one request.", least=1, heading="Requests")
    max_values: int = setting(4_000_000, "Numbers in one answer.", least=1, heading="Requests")
    max_pixels: int = setting(50_000_000, "Pixels of one image.", least=1, heading="Requests")
    max_pixels_per_request: int = setting(
        200_000_000, "Pixels of all images of one request.", least=1, heading="Requests"
    )
    max_pixels_at_once: int = setting(
        100_000_000, "Pixels being decoded, over all requests.", least=1, heading="Requests"
    )
    max_unpacked_mb: int = setting(
        512,
        "What is unpacked, decoded from base64 or fetched, of all requests together, in MB.",
        least=1,
        heading="Requests",
    )
    allow_urls: tuple[str, ...] = setting(
        (),
        "Hosts from which images are fetched by their address: name, name:port, *.domain, or * for all; never from "
        "addresses that are not public.",
        unset="none",
        heading="Requests",
        metavar="HOST,HOST",
    )
    fetch_s: float = setting(10.0, "Seconds that fetching one image may take.", above=0, heading="Requests")
    max_explaining: int = setting(
        16, "Images that wait to be explained, one at a time, for all models.", least=1, heading="Requests"
    )
    max_queued: int = setting(256, "Images that wait for one model.", least=1, heading="Requests")
    timeout_s: float = setting(
        30.0,
        "Seconds from the whole request to its answer; what has not begun by then is dropped.",
        least=0,
        heading="Requests",
    )

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError(f"models is empty; expected at least one, such as {DEFAULT_MODEL}.")
        # What no browser sends, and no address has, would be allowed to nobody.
        for origin in self.cors_origins:
            if origin not in ("*", "null") and not _ORIGIN.fullmatch(origin):
                raise InputError(
                    f"cors_origins has {origin[:80]!r}; expected origins as browsers send them, https://that.origin in "
                    "small letters and without a path, or *."
                )
        for host in self.allow_urls:
            if "/" in host or not host.strip():
                raise InputError(
                    f"allow_urls has {host[:80]!r}; expected hosts, such as cdn.example.com, *.example.org or "
                    "cdn.example.com:8080, without https:// and path."
                )
        if 0 < self.drift_window < SMALLEST_WINDOW:
            raise InputError(
                f"drift_window is {self.drift_window}; expected {SMALLEST_WINDOW} to {LARGEST_WINDOW:,} images, or "
                "0 to compare none."
            )
        if (self.cert is None) != (self.key is None):
            given, missing = ("cert", "key") if self.key is None else ("key", "cert")
            raise InputError(f"{given} is given without {missing}; TLS needs both.")
        if self.grpc_port and self.grpc_port == self.port:
            raise InputError(f"port and grpc_port are both {self.port}; HTTP and gRPC need a port each.")

    @property
    def max_request_bytes(self) -> int:
        """Largest request, in bytes."""
        return self.max_request_mb << 20


def service_settings() -> dict[str, Setting]:
    """All that can be set for a service by an option, an environment variable or in a file, by name."""
    hidden = settings_of(RuntimeConfig).keys() - set(RUNTIME)
    both = settings_of(ServiceConfig) | settings_of(Limits)
    return {name: known for name, known in both.items() if name not in hidden and name not in _DERIVED}
