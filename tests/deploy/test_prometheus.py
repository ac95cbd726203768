"""A real Prometheus scrapes a service, and answers what the dashboard and the alerts ask."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import optional
from tests.deploy.manifests import DEPLOY
from tests.deploy.running import Load, Process, awaited, configured, fetched, queried, ready, replica
from tests.fixtures import encoded, photo, reserved_port
from tests.tuned import described_classifier, shades

yaml = optional.library("yaml", extra="deploy")
pytestmark = [pytest.mark.deploy, pytest.mark.smoke]

DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "graft.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"][0][
    "rules"
]


# Every query of the dashboard with the title of its panel, its variables as `All` sets them.
QUERIES = [
    (panel["title"], re.sub(r"\$(instance|model)\b", ".*", target["expr"]).replace("$__rate_interval", "1m"))
    for panel in PANELS
    for target in panel["targets"]
]


def classify_shades(port: int, seed: int) -> None:
    """Ask about as many images as a window of drift has, like those that the model was taught with."""
    for red, green, blue in shades(np.random.default_rng(seed), 20):
        body = encoded(Image.new("RGB", (16, 16), (int(red), int(green), int(blue))))
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", "/v1/classify?model=described", body, {"Content-Type": "image/png"})
            assert connection.getresponse().status == 200


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ports of a Prometheus and of the service that it scrapes, by the configuration of the deployment."""
    program, folder = optional.program("prometheus"), tmp_path_factory.mktemp("prometheus")
    with contextlib.ExitStack() as ends:
        port, own = (ends.enter_context(reserved_port()) for _ in range(2))
        # A model that knows what it was taught with, and one that answers unseen beside it.
        described = described_classifier(folder)
        watched = (
            str(described),
            f"clone={described}",
            "--shadow",
            "described=clone:1",
            "--shadow-share",
            "1",
        )
        service = replica(folder, "a", port, *watched, "--drift-window", "20")
        ends.callback(service.end)
        ready(port)
        configured(folder, DEPLOY / "prometheus" / "alerts.yml", [])
        config = configured(
            folder, DEPLOY / "prometheus" / "prometheus.yml",
            [("interval: 15s", "interval: 1s"), ("graft-a:8000, graft-b:8000", f"127.0.0.1:{port}")],
        )  # fmt: skip
        prometheus = Process(
            folder / "prometheus.log", program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        )  # fmt: skip
        ends.callback(prometheus.end)
        awaited("Prometheus answers", lambda: fetched(own, "/-/ready"))
        # The first figures of a counter say nothing of its rate: it is there before requests raise it.
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"this is no HTTP\r\n\r\n")  # one is turned away
            assert b" 400 " in connection.recv(1000)
        with Load(port, encoded(photo())).running() as load:
            load.more(1)
            classify_shades(port, 0)
            awaited("a first scrape", lambda: queried(own, 'graft_shadow_images_total{outcome="agreed"} > 0'))
            load.more(5)
            classify_shades(port, 1)
        yield own, port


def value(series: dict[str, Any]) -> float:
    return float(series["value"][1])


def test_a_query_answers_with_a_served_request(scraped: tuple[int, int]) -> None:
    prometheus, _ = scraped
    query = 'graft_requests_total{route="/v1/classify", method="POST", status="200"}'
    (series,) = awaited(
        "six requests in a scrape", lambda: [s for s in queried(prometheus, query) if value(s) >= 6]
    )
    assert series["metric"]["job"] == "graft"
    # A scrape that comes to nothing, as where a machine stands still for a second, takes figures away until the next.
    (loaded,) = awaited("a gauge", lambda: queried(prometheus, "graft_models_loaded"))
    assert value(loaded) == 3


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_every_panel_has_something_to_show(title: str, query: str, scraped: tuple[int, int]) -> None:
    prometheus, _ = scraped
    series = awaited(
        f"{title}: {query}", lambda: [s for s in queried(prometheus, query) if s["value"][1] != "NaN"]
    )
    assert all(value(one) >= 0 for one in series)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alerts_are_quiet_where_nothing_is_wrong(rule: dict[str, Any], scraped: tuple[int, int]) -> None:
    prometheus, _ = scraped
    # At times a machine that stands still for a second misses a scrape: for that an alert has its `for`.
    awaited(f"quiet: {rule['expr']}", lambda: queried(prometheus, rule["expr"]) == [])
    # What it looks at is there: without the bound, the same question has an answer.
    bare = re.sub(r"(?s)\s(==|>|<)\s[\d.]+$", "", rule["expr"].strip())
    assert bare != rule["expr"].strip()
    if rule["alert"] not in (
        "GraftOverloaded",
        "GraftFaults",
    ):  # for want of work, nothing of that kind was counted
        awaited(bare, lambda: queried(prometheus, bare))


def test_figures_of_dashboard_and_alerts_are_those_of_the_service(scraped: tuple[int, int]) -> None:
    _, port = scraped
    page = fetched(port, "/metrics")
    assert page is not None
    given = {line.split("{")[0].split(" ")[0] for line in page.splitlines() if not line.startswith("#")}
    asked = {
        name
        for text in [*(query for _, query in QUERIES), *(rule["expr"] for rule in ALERTS)]
        for name in re.findall(r"\b(?:graft|process)_\w+", re.sub(r'"[^"]*"', "", text))
    }
    assert len(asked) > 12
    assert asked <= given


def test_panels_do_not_overlap_and_ask_what_is_set_up() -> None:
    places = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
            )
        )
        assert place["x"] + place["w"] <= 24
        assert not places & cells, panel["title"]
        places |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    file = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"
    (source,) = yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {source["uid"]}
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$(\w+)", json.dumps([panel["targets"] for panel in PANELS]))) == known
