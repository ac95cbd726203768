"""The manifests are what their readers take: by schemas, and by the programs themselves."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.config import service_settings
from service.configuration import PREFIX
from service.front.limits import Limits
from tests import optional
from tests.deploy.manifests import DEPLOY, ROOT, KServeTypes

yaml = optional.library("yaml", extra="deploy")
pytestmark = pytest.mark.deploy

KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KSERVE = sorted((DEPLOY / "kserve").glob("*.yaml"))
COMPOSE = DEPLOY / "compose" / "compose.yaml"
UNIT = DEPLOY / "systemd" / "graft.service"


def documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document]


def containers() -> list[tuple[str, dict[str, Any]]]:
    """Every container of ours, with the name of its file."""
    found = []
    for file in [*KUBERNETES, *KSERVE]:
        for document in documents(file):
            spec = document.get("spec", {})
            pod = spec.get("template", {}).get("spec") or spec.get("predictor") or spec
            found += [(file.name, container) for container in pod.get("containers", [])]
    return found


CONTAINERS = containers()


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_kubernetes_takes_them(file: Path) -> None:
    kubernetes_validate = optional.library("kubernetes_validate", extra="deploy")
    newest = kubernetes_validate.latest_version()
    for document in documents(file):
        kubernetes_validate.validate(document, newest, strict=True)
        wrong = copy.deepcopy(document)
        wrong["spec"]["nothing"] = 1
        with pytest.raises(kubernetes_validate.ValidationError, match="'nothing' was unexpected"):
            kubernetes_validate.validate(wrong, newest, strict=True)


@pytest.mark.parametrize("file", KSERVE, ids=lambda file: file.name)
def test_kserve_takes_them(file: Path, kserve_types: KServeTypes) -> None:
    for document in documents(file):
        version = document["apiVersion"].rpartition("/")[2]
        kind = f"{version.replace('v', 'V', 1)}{document['kind']}"
        assert kserve_types.faults(document, kind, document["kind"]) == []
        wrong = copy.deepcopy(document)
        inner = wrong["spec"].get("predictor", wrong["spec"])
        inner["nothing"] = 1
        (fault,) = kserve_types.faults(wrong, kind, "it")
        assert "nothing" in fault
        if "containers" in inner:
            del inner["nothing"]
            inner["containers"][0]["ports"][0]["containerPort"] = "8000"
            (fault,) = kserve_types.faults(wrong, kind, "it")
            assert "'8000' is not of type 'integer'" in fault


def test_compose_takes_its_file() -> None:
    check = optional.library("check_jsonschema", extra="deploy")
    jsonschema = optional.library("jsonschema", extra="deploy")
    folder = Path(check.__file__).parent / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    (document,) = documents(COMPOSE)
    jsonschema.validate(document, schema)
    document["services"]["graft-a"] = document["services"]["graft-a"] | {"nothing": 1}
    with pytest.raises(jsonschema.ValidationError, match="'nothing' was unexpected"):
        jsonschema.validate(document, schema)


def test_files_that_compose_mounts_are_there() -> None:
    (document,) = documents(COMPOSE)
    mounted = [
        source
        for service in document["services"].values()
        for source in (volume.partition(":")[0] for volume in service.get("volumes", []))
        if source.startswith("..")
    ]
    assert len(mounted) >= 5
    assert [source for source in mounted if not (COMPOSE.parent / source).exists()] == []
    targets = documents(DEPLOY / "prometheus" / "prometheus.yml")[0]["scrape_configs"][0]["static_configs"][0]
    assert {target.partition(":")[0] for target in targets["targets"]} <= document["services"].keys()


@pytest.mark.parametrize(("name", "container"), CONTAINERS, ids=[name for name, _ in CONTAINERS])
def test_containers_are_bounded_and_asked_what_the_service_answers(
    name: str, container: dict[str, Any]
) -> None:
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    probes = {key: value["httpGet"]["path"] for key, value in container.items() if key.endswith("Probe")}
    assert probes.pop("livenessProbe", "/livez") == "/livez"
    assert set(probes.values()) == {"/readyz"}
    ports = {str(port["containerPort"]) for port in container["ports"]} | {
        port["name"] for port in container["ports"]
    }
    asked = {str(value["httpGet"]["port"]) for key, value in container.items() if key.endswith("Probe")}
    assert asked <= ports
    for variable in container.get("env", []):
        assert variable["name"].removeprefix(PREFIX).lower() in service_settings()


def test_a_replica_has_the_time_that_it_takes_to_stop() -> None:
    needed = Limits().drain_s + Limits().stop_s
    (deployment,) = [one for one in documents(KUBERNETES[0]) if one["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed
    (compose,) = documents(COMPOSE)
    assert int(compose["services"]["graft-a"]["stop_grace_period"].removesuffix("s")) > needed
    seconds = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(encoding="utf-8"), re.M)
    assert seconds is not None
    assert int(seconds[1]) > needed


def test_budget_scaler_policy_and_service_are_about_the_pods() -> None:
    by_kind = {one["kind"]: one for one in documents(KUBERNETES[0])}
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert by_kind["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    scaler = by_kind["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == by_kind["Deployment"]["metadata"]["name"]
    assert scaler["minReplicas"] > by_kind["PodDisruptionBudget"]["spec"]["minAvailable"]


def test_systemd_takes_its_unit_and_finds_it_closed(tmp_path: Path) -> None:
    analyze = optional.program("systemd-analyze", "systemd")
    unit = tmp_path / UNIT.name
    # The program that a reader installs there.
    unit.write_text(
        UNIT.read_text(encoding="utf-8").replace("/opt/graft/bin/graft", "/bin/true"), encoding="utf-8"
    )
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=15", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]


def test_prometheus_takes_its_configuration_and_alerts() -> None:
    promtool = optional.program("promtool", "prometheus")
    file = DEPLOY / "prometheus" / "prometheus.yml"
    done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_haproxy_takes_its_configuration() -> None:
    haproxy = optional.program("haproxy")
    file = DEPLOY / "haproxy" / "haproxy.cfg"
    done = subprocess.run([haproxy, "-c", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    nginx = optional.program("nginx", "nginx-light")
    text = (DEPLOY / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    file = tmp_path / "nginx.conf"
    # Names that only compose's network has; files that the test may leave.
    file.write_text(
        re.sub(r"graft-[ab]:", "127.0.0.1:", text).replace("/tmp/graft-nginx", f"{tmp_path}/nginx")
    )
    done = subprocess.run([nginx, "-t", "-c", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_folder_of_the_deployment_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    folders = [path.name for path in DEPLOY.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert [name for name in folders if f"deploy/{name}/" not in text] == []
