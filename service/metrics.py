"""What the service does, in figures that Prometheus reads at `/metrics`.

A label has only values that the service gives: rules of routes, models that are served, reasons from a table. What a
client names becomes none, so clients cannot make the page grow.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from models import errors
from models.version import __version__
from service.records import GRPC, RequestRecord
from service.registry import Registry
from service.tickets import BatchReport

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", GRPC})
_STAGES = ("decode", "queue", "infer", "encode")
OTHER = "other"  # a method that is none, and a path that no route has
# What the front refuses, by status; see service/front.
FRONT_REASONS = {
    400: "malformed",
    408: "slow",
    413: "large",
    417: "malformed",
    429: "workers",
    431: "large",
    499: "client_left",
    501: "unknown",
    503: "bytes",
    505: "malformed",
    507: "disk",
}
# What the application turns away although nothing may be wrong with it, by the type of the error.
ERROR_REASONS = {
    errors.OverloadedError.__name__: "queue",
    errors.BusyError.__name__: "loading",
    errors.DeadlineError.__name__: "deadline",
    errors.CancelledError.__name__: "client_left",
    errors.TokenError.__name__: "token",
    errors.AccessError.__name__: "scope",
    "RequestEntityTooLarge": "large",
}
_OUTCOMES = ("answered", "unreadable", "failed", "refused", "expired", "cancelled")
_UNREAD = 8  # versions that are served no longer, and whose last figures nobody has read
Key = tuple[str, str]  # name and version of a model


@dataclass(frozen=True)
class _OfModel:
    """The time series of one version of a model, looked up once."""

    stages: dict[str, Histogram]
    outcomes: dict[str, Counter]
    sizes: Histogram
    runs: Histogram


class Metrics:
    """The figures of one application; `request`, `refused` and `run` add to them. Safe to use from all threads."""

    def __init__(self, models: Registry) -> None:
        """`models` are asked for their queues whenever somebody reads."""
        self.registry = CollectorRegistry()
        self._models = models
        self._of_models: dict[Key, _OfModel] = {}
        self._of_answers: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._of_refusals: dict[tuple[str, str, int], list[Counter]] = {}
        self._retired: set[Key] = set()  # were not served any more when somebody read last
        self.requests = Counter(
            "graft_requests_total",
            "Requests that were answered or refused, by the rule of their route.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.durations = Histogram(
            "graft_request_duration_seconds",
            "From the whole request to its whole answer; what the front refused is not in it.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "graft_stage_seconds",
            "Where a request's time went: queue (for a core, or for others in a batch), decode (images to pixels), "
            "infer (the model) and encode (the answer).",
            ["stage", "model", "version"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.sizes = Histogram(
            "graft_batch_size",
            "Images in a run of the model.",
            ["model", "version"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self.runs = Histogram(
            "graft_batch_seconds",
            "Time of a run of the model, for all images in it.",
            ["model", "version"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.rejections = Counter(
            "graft_rejections_total",
            "Requests that were turned away, by the bound that they met.",
            ["reason"],
            registry=self.registry,
        )
        self.images = Counter(
            "graft_images_total",
            "Images by what became of them: answered, unreadable, failed, refused, expired or cancelled.",
            ["model", "version", "outcome"],
            registry=self.registry,
        )
        Info("graft_build", "What runs here.", registry=self.registry).info(
            {"version": __version__, "python": platform.python_version()}
        )
        self._loaded = Gauge(
            "graft_models_loaded", "Versions of models that are served.", registry=self.registry
        )
        self._loaded.set_function(lambda: len(models.served))
        self.registry.register(_Queues(models))
        self.registry.register(_Drifts(models))
        self.registry.register(_Shadows(models))
        self.registry.register(_Threads())
        ProcessCollector(registry=self.registry)

    def request(self, record: RequestRecord) -> None:
        """A request of the application has its answer."""
        counter, duration = self._of_answer(record)
        counter.inc()
        duration.observe(record.ended - record.began)
        reason = ERROR_REASONS.get(record.error)
        if reason is not None:
            self.rejections.labels(reason).inc()
        if record.model:
            of_model = self._of_model(record.model, record.version)
            for stage in record.stages:
                of_model.stages[stage.name].observe(stage.seconds)
            for outcome, images in record.outcomes.items():
                of_model.outcomes[outcome].inc(images)

    def refused(self, route: str, method: str, status: int) -> None:
        """The front has answered a request itself. `route`: the rule it would have had, or ""."""
        key = (route or OTHER, method if method in _METHODS else OTHER, status)
        counters = self._of_refusals.get(key)
        if counters is None:
            counters = [self.requests.labels(*key)]
            if status != 500:  # the application failed
                counters.append(self.rejections.labels(FRONT_REASONS.get(status, OTHER)))
            self._of_refusals[key] = counters
        for counter in counters:
            counter.inc()

    def run(self, name: str, version: int, report: BatchReport) -> None:
        """A model has run."""
        of_model = self._of_model(name, version)
        of_model.sizes.observe(report.size)
        of_model.runs.observe(report.seconds)

    def page(self, accept: str) -> tuple[bytes, str]:
        """The text of `/metrics` and its content type, as the header Accept asks for."""
        self._forget_retired()
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _of_answer(self, record: RequestRecord) -> tuple[Counter, Histogram]:
        """Where an answer is counted: looked up once, because the library takes as long for it as for the counting."""
        route = record.route or OTHER
        key = (route, record.method if record.method in _METHODS else OTHER, record.status)
        of_answer = self._of_answers.get(key)
        if of_answer is None:
            of_answer = (self.requests.labels(*key), self.durations.labels(route))
            self._of_answers[key] = of_answer
        return of_answer

    def _of_model(self, name: str, version: int) -> _OfModel:
        key = (name, str(version))
        of_model = self._of_models.get(key)
        if of_model is None:
            self._drop_unread()
            of_model = _OfModel(
                {stage: self.stages.labels(stage, *key) for stage in _STAGES},
                {outcome: self.images.labels(*key, outcome) for outcome in _OUTCOMES},
                self.sizes.labels(*key),
                self.runs.labels(*key),
            )
            self._of_models[key] = of_model
        return of_model

    def _forget_retired(self) -> None:
        """Drop the series of models that are served no longer, once somebody has read their last figures."""
        served = {(one.name, str(one.version)) for one in self._models.served}
        retired = set(self._of_models) - served
        for key in retired & self._retired:
            self._drop(key)
        self._retired = retired

    def _drop_unread(self) -> None:
        """Drop the series of versions that went long ago, where nobody has read them: one may come every second."""
        served = {(one.name, str(one.version)) for one in self._models.served}
        for key in [key for key in list(self._of_models) if key not in served][:-_UNREAD]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self._of_models.pop(key, None)
        for metric in (self.stages, self.images, self.sizes, self.runs):
            metric.remove_by_labels({"model": key[0], "version": key[1]})


class _Queues(Collector):
    """What waits for models at the moment of reading."""

    def __init__(self, models: Registry) -> None:
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Depth, and the time until the queue is empty, of each model."""
        labels = ["model", "version"]
        depth = GaugeMetricFamily(
            "graft_queue_images", "Images that wait for the model at this moment.", labels=labels
        )
        wait = GaugeMetricFamily(
            "graft_queue_wait_seconds",
            "How long what waits will take, as fast as the model ran lately; what Retry-After is made from.",
            labels=labels,
        )
        for served in self._models.served:
            key = [served.name, str(served.version)]
            depth.add_metric(key, served.batcher.queued)
            wait.add_metric(key, served.batcher.seconds_to_empty)
        yield depth
        yield wait


class _Drifts(Collector):
    """Whether models are shown what they were taught with, as far as their files tell of that."""

    def __init__(self, models: Registry) -> None:
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The last full window of each model, and how many there were."""
        labels = ["model", "version"]
        chance = GaugeMetricFamily(
            "graft_drift_p_value",
            "How likely images like those of the training are as far off as the last window, by features or classes.",
            labels=[*labels, "test"],
        )
        distance = GaugeMetricFamily(
            "graft_drift_distance",
            "Deviations between the means of the last window and of the training's held-out images.",
            labels=labels,
        )
        alarm = GaugeMetricFamily(
            "graft_drift_alarm",
            "1 where the last window raised an alarm, else 0, by features or classes.",
            labels=[*labels, "test"],
        )
        windows = CounterMetricFamily(
            "graft_drift_windows", "Windows of live images that were compared.", labels=labels
        )
        alarms = CounterMetricFamily(
            "graft_drift_alarms",
            "Windows that raised an alarm, by features or classes.",
            labels=[*labels, "test"],
        )
        for served in self._models.served:
            if served.drift is None:
                continue
            key, state = [served.name, str(served.version)], served.drift.state
            windows.add_metric(key, state.windows)
            alarms.add_metric([*key, "features"], state.alarms)
            alarms.add_metric([*key, "classes"], state.mixed)
            if (last := state.last) is not None:
                chance.add_metric([*key, "features"], last.p_features)
                alarm.add_metric([*key, "features"], float(last.alarm))
                if last.p_classes is not None:
                    chance.add_metric([*key, "classes"], last.p_classes)
                    alarm.add_metric([*key, "classes"], float(last.mixed))
                distance.add_metric(key, last.distance)
        yield from (chance, distance, alarm, windows, alarms)


class _Shadows(Collector):
    """How often shadows say something else than their models."""

    def __init__(self, models: Registry) -> None:
        self._models = models

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Images by what became of them, and seconds at work."""
        labels = ["model", "version"]
        images = CounterMetricFamily(
            "graft_shadow_images",
            "Images by what the shadow made of them: agreed, disagreed, failed, or dropped before it saw them.",
            labels=[*labels, "outcome"],
        )
        seconds = CounterMetricFamily(
            "graft_shadow_seconds", "Time that the shadow of a model was at work.", labels=labels
        )
        for standing in self._models.shadows.standing.values():
            running = standing.running
            if running is None:
                continue
            key, state = [running.first.name, str(running.first.version)], running.shadow.state
            images.add_metric([*key, "agreed"], state.images - state.disagreements)
            images.add_metric([*key, "disagreed"], state.disagreements)
            images.add_metric([*key, "failed"], state.failed)
            images.add_metric([*key, "dropped"], state.dropped.total())
            seconds.add_metric(key, state.seconds)
        yield from (images, seconds)


class _Threads(Collector):
    """Threads of the process, onnxruntime's too; nothing where the system does not tell."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Their number."""
        tasks = Path("/proc/self/task")
        if tasks.is_dir():
            yield GaugeMetricFamily(
                "process_threads", "Threads of the process.", value=len(list(tasks.iterdir()))
            )
