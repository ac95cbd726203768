"""/metrics after real requests, as the parser of prometheus_client reads it."""

from __future__ import annotations

import base64
import dataclasses
import platform
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from models.errors import OverloadedError
from models.preprocessing import Preprocessing
from models.version import __version__
from service.app import create_app
from service.config import ServiceConfig
from service.decoding import Caller
from service.metrics import _UNREAD, ERROR_REASONS, FRONT_REASONS, OTHER
from service.observing import METRICS
from service.protocols import v1
from service.records import RequestRecord
from service.registry import Registry
from service.sources import Source
from tests.fixtures import plain
from tests.service.holding import WAIT_S, Held

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observing.md").read_text(encoding="utf-8")
STAGES = ("decode", "queue", "infer", "encode")
TINY = {"model": "tiny", "version": "1"}


class Page:
    """What a scrape gives, by name and labels."""

    def __init__(self, client: FlaskClient) -> None:
        response = client.get("/metrics")
        assert (response.status_code, response.mimetype) == (200, "text/plain")
        self.families = list(text_string_to_metric_families(response.text))

    def __call__(self, name: str, **labels: str) -> float | None:
        values = [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(values) <= 1
        return values[0] if values else None

    def labels(self, name: str) -> list[dict[str, str]]:
        return [sample.labels for family in self.families for sample in family.samples if sample.name == name]


def classify(client: FlaskClient, *images: bytes, address: str = "/v1/classify") -> int:
    body = {"images": [base64.b64encode(image).decode() for image in images]}
    return client.post(address, json=body).status_code


def test_requests_are_counted_by_the_rule_of_their_route(client: FlaskClient) -> None:
    assert classify(client, plain("red")) == 200
    assert classify(client, plain("red"), plain("blue")) == 200
    assert classify(client, plain("red"), address="/v1/classify?model=secret-name") == 404
    for path in ("/v1/models/tiny", "/v1/models/other", "/v1/models/nothing", "/no/such/path"):
        client.get(path)
    client.open("/livez", method="BREW")
    page = Page(client)
    route = "/v1/classify"
    assert page("graft_requests_total", route=route, method="POST", status="200") == 2
    assert page("graft_requests_total", route=route, method="POST", status="404") == 1
    assert page("graft_request_duration_seconds_count", route=route) == 3
    total = page("graft_request_duration_seconds_sum", route=route)
    assert total is not None
    assert 0 < total < 60
    rule = "/v1/models/<name>"
    assert page("graft_requests_total", route=rule, method="GET", status="200") == 2
    assert page("graft_requests_total", route=rule, method="GET", status="404") == 1
    assert page("graft_requests_total", route="other", method="GET", status="404") == 1
    assert page("graft_requests_total", route="other", method="other", status="405") == 1
    assert "secret-name" not in client.get("/metrics").text


def test_images_batches_and_stages_are_those_of_the_model(client: FlaskClient) -> None:
    classify(client, plain("red"))
    classify(client, plain("red"), plain("blue"), b"no image")
    classify(client, b"no image")
    page = Page(client)
    assert page("graft_images_total", **TINY, outcome="answered") == 3
    assert page("graft_images_total", **TINY, outcome="unreadable") == 2
    assert page("graft_images_total", **TINY, outcome="failed") == 0
    assert page("graft_batch_size_count", **TINY) == 2
    assert page("graft_batch_size_sum", **TINY) == 3
    assert page("graft_batch_size_bucket", **TINY, le="1.0") == 1
    assert page("graft_batch_size_bucket", **TINY, le="2.0") == 2
    assert page("graft_batch_seconds_count", **TINY) == 2
    counts = {stage: page("graft_stage_seconds_count", **TINY, stage=stage) for stage in STAGES}
    assert counts == {"decode": 3, "queue": 2, "infer": 2, "encode": 2}
    parts = [page("graft_stage_seconds_sum", **TINY, stage=stage) for stage in STAGES]
    whole = page("graft_request_duration_seconds_sum", route="/v1/classify")
    assert whole is not None
    assert 0 < sum(part or 0.0 for part in parts) <= whole
    assert page("graft_images_total", model="other", version="1", outcome="answered") is None


def test_each_stage_holds_what_happens_in_it(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[RequestRecord] = []
    seen: dict[str, float] = {}
    metrics = client.application.extensions[METRICS]
    monkeypatch.setattr(metrics, "request", records.append)

    def noted(stage: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            seen[stage] = time.monotonic()
            return function(*arguments, **options)

        return call

    model = registry.get().model
    monkeypatch.setattr(Preprocessing, "load", noted("decode", Preprocessing.load))
    monkeypatch.setattr(model, "run", noted("infer", model.run))
    monkeypatch.setattr(v1, "result_json", noted("encode", v1.result_json))
    assert classify(client, plain("red"), plain("blue")) == 200
    (record,) = records
    assert [stage.name for stage in record.stages] == ["queue", "decode", "infer", "encode"]
    by_name = {stage.name: stage for stage in record.stages}
    for name, moment in seen.items():
        assert by_name[name].began <= moment <= by_name[name].ended
    edges = [edge for stage in record.stages for edge in (stage.began, stage.ended)]
    assert [record.began, *edges] == sorted([record.began, *edges])
    assert edges[-1] == record.ended
    assert by_name["infer"].largest_batch == 2


def test_what_is_turned_away_has_a_reason_and_its_images_an_outcome(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OverloadedError("full", 1.0)

    served = registry.get()
    monkeypatch.setattr(served.batcher, "run_here", lambda tickets: False)
    monkeypatch.setattr(served.batcher, "queue", refuse)
    assert classify(client, plain("red"), plain("red")) == 429
    monkeypatch.undo()
    results = served.results_in_steps
    monkeypatch.setattr(served, "results_in_steps", lambda images, caller: results(images, late(caller)))
    assert classify(client, plain("red")) == 504
    assert classify(client, b"x" * (2 << 20)) == 413
    page = Page(client)
    assert page("graft_rejections_total", reason="queue") == 1
    assert page("graft_rejections_total", reason="deadline") == 1
    assert page("graft_rejections_total", reason="large") == 1
    assert page("graft_images_total", **TINY, outcome="refused") == 2
    assert page("graft_images_total", **TINY, outcome="expired") == 1
    assert page("graft_images_total", **TINY, outcome="answered") == 0
    assert page("graft_stage_seconds_count", **TINY, stage="queue") == 1
    assert page("graft_stage_seconds_count", **TINY, stage="infer") == 0


def late(caller: Caller) -> Caller:
    return dataclasses.replace(caller, deadline=0.0)


def test_bad_input_is_no_rejection(client: FlaskClient) -> None:
    assert classify(client, plain("red"), address="/v1/classify?top_k=none") == 400
    assert Page(client).labels("graft_rejections_total") == []


def test_queue_is_what_waits_when_somebody_looks(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Page(client)("graft_queue_images", **TINY) == 0
    batcher = registry.get().batcher
    held = Held(registry.get(), monkeypatch)
    image = np.zeros((16, 16, 3), np.uint8)
    running = batcher.submit([image], "results")
    assert held.entered.wait(WAIT_S)
    batcher._item_s = 0.5
    waiting = batcher.submit([image] * 3, "results")
    page = Page(client)
    held.leave.set()
    assert page("graft_queue_images", **TINY) == 3
    assert page("graft_queue_wait_seconds", **TINY) == 1.5
    assert (len(running.result()), len(waiting.result())) == (1, 3)


def test_models_and_process_are_there(client: FlaskClient, registry: Registry) -> None:
    page = Page(client)
    assert page("graft_models_loaded") == 2
    assert page.labels("graft_build_info") == [{"version": __version__, "python": platform.python_version()}]
    registry.unload("other")
    assert Page(client)("graft_models_loaded") == 1


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system has no /proc to read them from")
def test_process_figures_are_those_of_this_process(client: FlaskClient) -> None:
    page = Page(client)
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert (page(name) or 0) > 0, name
    assert (page("process_threads") or 0) >= 3  # this one, and a runner for each model


def test_series_of_a_retired_model_are_read_once_more_and_go(client: FlaskClient, registry: Registry) -> None:
    assert classify(client, plain("red"), address="/v1/classify?model=other") == 200
    other = {"model": "other", "version": "1"}
    registry.unload("other")
    assert Page(client)("graft_images_total", **other, outcome="answered") == 1
    assert "other" not in {labels.get("model") for labels in Page(client).labels("graft_images_total")}
    text = client.get("/metrics").text
    assert 'model="other"' not in text
    registry.open(Source("other", 1, registry.sources[1].spec))
    assert classify(client, plain("red"), address="/v1/classify?model=other") == 200
    assert Page(client)("graft_images_total", **other, outcome="answered") == 1


def test_series_of_retired_models_go_where_nobody_reads(client: FlaskClient, registry: Registry) -> None:
    metrics = client.application.extensions[METRICS]
    source = registry.sources[1]
    for version in range(2, 15):
        registry.open(Source("other", version, source.spec))
        assert classify(client, plain("red"), address=f"/v1/classify?model=other&version={version}") == 200
        registry.unload("other", version)
    versions = {version for name, version in metrics._of_models if name == "other"}
    assert len(versions) <= _UNREAD + 1
    assert "14" in versions
    text = client.get("/metrics").text
    assert 'model="other",version="14"' in text.replace('outcome="answered",', "")
    assert 'version="2"' not in text


def test_what_clients_name_makes_no_series(client: FlaskClient) -> None:
    def count() -> int:
        return client.get("/metrics").text.count("\n")

    def ask(number: int) -> None:
        client.get(f"/path-{number}")
        client.get(f"/v1/models/name-{number}")
        client.get(f"/v1/models/tiny?version={number + 2}")
        classify(client, plain("red"), address=f"/v1/classify?model=name-{number}")
        client.open("/livez", method=f"METHOD{number}")

    ask(0)
    count()  # the page counts itself from the second time on
    before = count()
    for number in range(1, 20):
        ask(number)
    assert count() == before


def test_open_metrics_for_whom_asks_for_it(client: FlaskClient) -> None:
    classify(client, plain("red"))
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = client.get("/metrics", headers={"Accept": accept})
    assert response.content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    names = {family.name for family in open_metrics(response.text)}
    assert {"graft_requests", "graft_stage_seconds", "graft_build"} <= names
    assert client.get("/metrics").content_type.startswith("text/plain; version=0.0.4; charset=utf-8")


def test_two_applications_count_for_themselves(config: ServiceConfig, client: FlaskClient) -> None:
    classify(client, plain("red"))
    other = create_app(config)
    assert (
        Page(other.test_client())("graft_requests_total", route="/v1/classify", method="POST", status="200")
        is None
    )


def test_a_watcher_that_fails_harms_no_request(
    client: FlaskClient, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("watching")

    registry.watchers.insert(0, fail)
    assert classify(client, plain("red")) == 200
    assert "a run of tiny was not watched" in caplog.text
    assert Page(client)("graft_batch_size_count", **TINY) == 1


def test_the_page_about_metrics_has_all_of_them(client: FlaskClient) -> None:
    metrics = client.application.extensions[METRICS]
    classify(client, plain("red"))
    endings = {"counter": "_total", "info": "_info"}
    made = {}
    for family in metrics.registry.collect():
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        if not family.samples:  # nothing to tell of the models that are served here
            labels = set(getattr(family, "_labelnames", ()))
        if family.name.startswith("graft_") or family.name == "process_threads":
            made[family.name + endings.get(family.type, "")] = (labels, family.documentation)
    made["graft_rejections_total"] = ({"reason"}, metrics.rejections._documentation)  # nobody was rejected
    rows = re.findall(r"^\| `((?:graft|process)_\w+)` \| (.*?) ?\| (.*?) \|$", PAGE, re.M)
    assert {name: (set(re.findall(r"`(\w+)`", labels)), text) for name, labels, text in rows} == made


def test_the_page_about_metrics_has_all_reasons() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| [^`]", PAGE.partition("\n| `reason` | who")[2].partition("\n\n")[0], re.M
    )
    assert set(rows) == {*FRONT_REASONS.values(), *ERROR_REASONS.values(), OTHER}


def test_every_refusal_of_the_front_has_a_reason() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "service" / "front").glob("*.py"))
    statuses = {int(status) for status in re.findall(r"Refused\(\s*(\d{3})", source)}
    assert len(statuses) > 5
    assert statuses - {500} <= FRONT_REASONS.keys()
