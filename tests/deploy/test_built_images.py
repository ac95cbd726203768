"""The images, really built: their size, and what they answer, each as its user on a root that is only read."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage

from models.extras import LEFT_OUT
from tests import optional
from tests.deploy.containers import Container, Image, buildah
from tests.deploy.manifests import DEPLOY
from tests.deploy.running import awaited, fetched, ready
from tests.fixtures import reserved_port
from tests.models.nets import residual_net
from tests.service.running import new_certificate

pytestmark = [pytest.mark.images, pytest.mark.smoke]
PHOTO = (Path(skimage.__file__).parent / "data" / "coffee.png").read_bytes()
MOST = 250e6  # bytes of packages in the small one
TARGETS = tuple(os.environ.get("GRAFT_IMAGES", "serve cpu").split())  # make image-test IMAGES=serve


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the images, built from the tree as it is."""
    for name in ("buildah", "debootstrap", "unshare", "setpriv"):
        optional.program(name, "util-linux" if name in ("unshare", "setpriv") else name)
    if os.geteuid() != 0:
        pytest.skip("images are built by root")
    if subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
    ).returncode:
        pytest.skip("no namespaces can be made here, in which images run")
    folder = tmp_path_factory.mktemp("images")
    command = ["sh", str(DEPLOY / "images" / "build.sh"), str(folder), *TARGETS]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    try:
        if done.returncode == 3:
            pytest.skip(done.stdout.strip().splitlines()[-1])
        assert done.returncode == 0, done.stdout[-3000:]
        yield folder
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            buildah(folder, "umount", "--all")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def images(store: Path) -> dict[str, Image]:
    return {name: Image.of(store, f"localhost/graft:{name}") for name in TARGETS}


# Prints how many nodes of the built-in network each provider ran, where OpenVINO is asked for.
_PROFILED = """
import collections, json, pathlib
from models.model import Model
from models.runtime import RuntimeConfig, zeros
session = Model.open("builtin", RuntimeConfig("openvino", profile=pathlib.Path("/tmp/profile"))).session
session.run(zeros(session, 1))
events = json.loads(pathlib.Path(session.raw.end_profiling()).read_text())
nodes = [event["args"]["provider"] for event in events if event["cat"] == "Node" and "provider" in event["args"]]
print(json.dumps(collections.Counter(nodes)))
"""


def asked(port: int, path: str, body: bytes, tls: bool = False) -> tuple[int, dict[str, object]]:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    )
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": "image/png"})
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("name", TARGETS)
def test_size_of_what_is_installed(name: str, images: dict[str, Image]) -> None:
    sizes = images[name].packages
    large = sorted(sizes.items(), key=lambda item: -item[1])[:9]
    print(
        f"\n{name}: {sum(sizes.values()) / 1e6:.0f} MB of packages:",
        ", ".join(f"{package or 'python'} {size / 1e6:.0f}" for package, size in large),
    )
    installed = sizes.keys() & {module for modules in LEFT_OUT.values() for module in modules}
    assert "pip" not in sizes
    if name == "serve":
        assert sum(sizes.values()) < MOST
        assert installed == set()
    else:
        assert {"onnx", "sklearn", "matplotlib"} <= installed


@pytest.mark.parametrize("name", TARGETS)
def test_it_answers_as_its_user_and_is_healthy(name: str, images: dict[str, Image], tmp_path: Path) -> None:
    with (
        reserved_port() as port,
        Container(images[name], tmp_path / "log", "--drain-s", "0", PORT=str(port)) as container,
    ):
        ready(port)
        status = container.status()
        assert (status["Uid"].split(), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (
            ["1000"] * 4,
            0,
            "1",
        )
        code, answer = asked(port, "/v1/classify?top_k=1", PHOTO)
        assert (code, answer["results"][0]["predictions"][0]["label"]) == (200, "espresso")  # type: ignore[index]
        code, answer = asked(port, "/v1/explain", PHOTO)
        if name == "serve":
            assert code == 501
            assert "The image `cpu` has it" in answer["error"]["message"]  # type: ignore[index]
        else:
            assert code == 200
        assert container.healthy() == (0, '{"status":"ready","loading":[]}\n')
        assert container.stop() == 0


def test_one_that_was_not_told_to_stop_ends_with_its_test(images: dict[str, Image], tmp_path: Path) -> None:
    with (
        reserved_port() as port,
        Container(images[TARGETS[0]], tmp_path / "log", "builtin", PORT=str(port)) as container,
    ):
        ready(port)
        process = Path(f"/proc/{container.pid}")
        assert process.exists()
    assert not process.exists()


@pytest.mark.skipif("openvino" not in TARGETS, reason="GRAFT_IMAGES does not name openvino")
def test_openvino_computes_all_of_the_network_and_answers_as_the_cpu_does(
    images: dict[str, Image], tmp_path: Path
) -> None:
    answers, plugins = list[dict[str, float]](), list[bool]()
    for name, device in (("openvino", "openvino"), ("cpu" if "cpu" in TARGETS else "openvino", "cpu")):
        with (
            reserved_port() as port,
            Container(
                images[name], tmp_path / device, "builtin", "--device", device, "--drain-s", "0", PORT=str(port)
            ) as container,
        ):  # fmt: skip
            ready(port)
            (model,) = json.loads(fetched(port, "/v1/models") or "{}")["models"]
            assert model["device"] == device
            _, answer = asked(port, "/v1/classify?top_k=200", PHOTO)
            (result,) = answer["results"]  # type: ignore[misc]
            answers.append({one["id"]: one["probability"] for one in result["predictions"]})
            plugins.append("libopenvino_intel_cpu_plugin.so" in container.libraries())
            if device == "openvino":
                # The whole network is one node.
                one_node = '{"OpenVINOExecutionProvider": 1}\n'
                assert container.run("python", "-c", _PROFILED) == (0, one_node)
            assert container.stop() == 0
    assert plugins == [True, False]
    ours, cpu = answers
    assert ours.keys() == cpu.keys()
    largest = max(abs(ours[label] - cpu[label]) for label in cpu)
    print(f"\nopenvino: differs from the CPU by {largest:.1e} at most, of {len(cpu)} classes")
    assert largest < 1e-4  # other kernels, the same network


@pytest.mark.skipif("serve" not in TARGETS, reason="GRAFT_IMAGES does not name serve")
def test_models_of_a_folder_and_tls_on_the_command_line(
    images: dict[str, Image], tmp_path: Path, tiny_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(tiny_path, folder / "tiny.onnx")
    residual_net(folder / "without_card.onnx", classes=3)
    cert, key = new_certificate(tmp_path)
    key.chmod(0o644)  # read by another user than it is written by
    mounts = {folder: "/mnt/models", cert: "/run/cert.pem", key: "/run/key.pem"}
    options = ["--cert", "/run/cert.pem", "--key", "/run/key.pem", "--drain-s", "0"]
    with (
        reserved_port() as port,
        Container(
            images["serve"], tmp_path / "log", "/mnt/models", *options, "--port", str(port), mounts=mounts
        ) as container,
    ):  # fmt: skip
        code, words = awaited("it is healthy", lambda: (given := container.healthy())[0] == 0 and given)
        assert (code, words) == (0, '{"status":"ready","loading":[]}\n')
        code, _ = asked(port, "/v1/classify?model=tiny", PHOTO, tls=True)
        assert code == 200
        (refused,) = [
            line for line in container.process.lines if "without_card version 1 is not served" in line
        ]
        assert "The image `cpu` has it" in refused
        assert container.stop() == 0


@pytest.mark.skipif("serve" not in TARGETS, reason="GRAFT_IMAGES does not name serve")
def test_one_that_cannot_start_says_why(images: dict[str, Image], tmp_path: Path) -> None:
    with Container(images["serve"], tmp_path / "log", "/mnt/nothing") as container:
        assert container.process.running.wait(60) == 2
        assert "/mnt/nothing" in "\n".join(container.process.lines)
