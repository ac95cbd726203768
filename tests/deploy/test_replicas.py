"""Two replicas behind a load balancer: one is killed, or told to stop, while clients ask; it comes again."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import skimage

from tests import optional
from tests.deploy.manifests import DEPLOY
from tests.deploy.running import Load, Process, awaited, configured, fetched, ready, replica
from tests.fixtures import reserved_port

pytestmark = [pytest.mark.deploy, pytest.mark.smoke]
PHOTO = (Path(skimage.__file__).parent / "data" / "coffee.png").read_bytes()


@dataclass(frozen=True)
class Site:
    """Two replicas and what stands before them."""

    port: int  # of the load balancer
    ports: tuple[int, int]  # of the replicas
    replicas: tuple[Process, Process]
    balancer: Process

    def asked(self, number: int) -> int:
        """How many images a replica has answered since it was started."""
        page = fetched(self.ports[number], "/metrics") or ""
        count = re.search(r'^graft_images_total\{.*outcome="answered".*\} ([\d.e+]+)$', page, re.M)
        return int(float(count[1])) if count is not None else 0

    def had_by_the_other(self, request: str) -> bool:
        """Whether the second replica, which is never disturbed, has had a request: its log has a line for each."""
        return any(f"request_id={request} " in line for line in self.replicas[1].lines)


def haproxy(folder: Path, port: int, ports: tuple[int, int], state: int) -> Process:
    """HAProxy with the configuration of the deployment as it stands, its addresses in the environment."""
    a, b = (f"127.0.0.1:{one}" for one in ports)
    return Process(
        folder / "haproxy.log", optional.program("haproxy"), "-db", "-f", DEPLOY / "haproxy" / "haproxy.cfg",
        GRAFT_A=a, GRAFT_B=b, GRAFT_BIND="127.0.0.1", GRAFT_PORT=str(port), GRAFT_STATE_PORT=str(state),
    )  # fmt: skip


def nginx(folder: Path, port: int, ports: tuple[int, int], state: int) -> Process:
    """nginx with that of the deployment, its addresses and folders replaced."""
    config = configured(
        folder, DEPLOY / "nginx" / "nginx.conf",
        [
            ("graft-a:8000", f"127.0.0.1:{ports[0]}"),
            ("graft-b:8000", f"127.0.0.1:{ports[1]}"),
            ("listen 8000", f"listen 127.0.0.1:{port}"),
            ("/tmp/graft-nginx", f"{folder}/nginx"),
        ],
    )  # fmt: skip
    return Process(
        folder / "nginx.log", optional.program("nginx", "nginx-light"), "-g", "daemon off;", "-c", config
    )


Balancer = Callable[[Path, int, tuple[int, int], int], Process]


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Replicas that are ready, behind a load balancer that has seen them."""
    folder = tmp_path_factory.mktemp("site")
    with contextlib.ExitStack() as ends:
        port, state, *rest = (ends.enter_context(reserved_port()) for _ in range(4))
        ports = (rest[0], rest[1])
        balance: Balancer = request.param
        balancer = balance(folder, port, ports, state)
        ends.callback(balancer.end, signal.SIGTERM)
        replicas = (replica(folder, "a", ports[0]), replica(folder, "b", ports[1]))
        for one in replicas:
            ends.callback(one.end)
        for one in ports:
            ready(one)
        awaited("the load balancer has a replica", lambda: fetched(port, "/readyz"))
        yield Site(port, ports, replicas, balancer)


behind_haproxy = pytest.mark.parametrize("site", [haproxy], indirect=True, ids=["haproxy"])
behind_nginx = pytest.mark.parametrize("site", [nginx], indirect=True, ids=["nginx"])
behind_both = pytest.mark.parametrize("site", [haproxy, nginx], indirect=True, ids=["haproxy", "nginx"])


def disturbed(site: Site, load: Load, number: int) -> None:
    """Let clients ask while the first replica ends by a signal, while it is away, and when it is there again."""
    with load.running():
        awaited("both replicas are asked", lambda: site.asked(0) and site.asked(1))
        load.more(20)
        code = site.replicas[0].end(number)
        assert code == (0 if number == signal.SIGTERM else -number)
        load.more(40)  # the other has them
        site.replicas[0].start()
        ready(site.ports[0])
        awaited("the replica is asked again", lambda: site.asked(0))
        load.more(20)
    assert len(load.outcomes) > 80
    assert len({name for name, _ in load.outcomes}) == len(load.outcomes)


@behind_haproxy
def test_a_killed_replica_loses_no_request_but_those_it_had(site: Site) -> None:
    load = Load(site.port, PHOTO)
    disturbed(site, load, signal.SIGKILL)
    failed = load.failed()
    assert len(failed) <= 4  # one for each client
    assert {status for _, status in failed} <= {0, 502}
    assert [name for name, _ in failed if site.had_by_the_other(name)] == []
    answered = [name for name, status in load.outcomes if status == 200]
    assert any(map(site.had_by_the_other, answered))


@behind_haproxy
def test_clients_that_try_again_see_nothing_of_a_killed_replica(site: Site) -> None:
    load = Load(site.port, PHOTO, tries=3)
    disturbed(site, load, signal.SIGKILL)
    assert load.failed() == []


@behind_nginx
def test_nginx_keeps_requests_and_asks_the_other_replica_itself(site: Site) -> None:
    load = Load(site.port, PHOTO)
    disturbed(site, load, signal.SIGKILL)
    assert load.failed() == []


@behind_both
def test_a_replica_that_is_told_to_stop_loses_nothing(site: Site) -> None:
    load = Load(site.port, PHOTO)
    disturbed(site, load, signal.SIGTERM)
    assert load.failed() == []
