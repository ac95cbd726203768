"""A real service that is killed in the middle of a job: what it has taken is there afterwards, and the job goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.jobs.processes import alive
from tests.service.jobs.conftest import class_folders, zipped

pytestmark = pytest.mark.smoke
PATIENCE_S = 300.0
LONG = {
    "measure": "split",
    "epochs": 600,
    "patience": 600,
    "views": 2,
    "learning_rate": 0.001,
}  # some seconds


class Served:
    """A `graft serve` with a workspace, in a process of its own."""

    def __init__(self, workspace: Path, *options: str) -> None:
        command = [
            sys.executable, "-m", "graft", "serve", "--workspace", str(workspace), "--port", "0", "--measure-s", "0",
            "--job-nice", "0", "--log", "json", "--drain-s", "0", *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            known = json.loads(line)
            self.url = known.get("url", self.url)
            if known.get("event") == "ready":
                break
        assert self.url, "the service did not start"
        self._rest = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._rest.start()

    def ask(self, method: str, path: str, body: bytes | dict[str, Any] | None = None, kind: str = "") -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Content-Type": kind or "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if answer.headers["Content-Type"] == "application/json" else text

    def wait(self, job: str, event: str) -> dict[str, Any]:
        """The first event of a kind that a job tells from now on."""
        with urllib.request.urlopen(f"{self.url}/v1/jobs/{job}/events", timeout=PATIENCE_S) as stream:
            for line in stream:
                if line.startswith(b"event: ") and line[7:].strip().decode() == event:
                    known: dict[str, Any] = json.loads(next(stream)[6:])
                    return known
        raise AssertionError(f"the stream ended without {event}")

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def stop(self) -> None:
        self.process.terminate()
        self._ended()

    def _ended(self) -> None:
        self.process.wait(timeout=PATIENCE_S)
        self._rest.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "workspace"
    for file in tmp_path.glob("workspace/jobs/*/process"):  # whatever a failed test has left
        identity = file.read_text()
        if alive(identity):
            with contextlib.suppress(OSError):
                os.killpg(int(identity.split()[0]), signal.SIGKILL)


def test_a_job_goes_on_after_its_service_is_killed_and_gives_the_same_bytes(workspace: Path) -> None:
    service = Served(workspace)
    archive = zipped(class_folders(8))
    dataset = service.ask("POST", "/v1/datasets", archive, "application/zip")["id"]
    # One that nothing disturbs.
    calm = service.ask("POST", "/v1/jobs", {"dataset": dataset, "name": "the same", **LONG})["id"]
    # One whose service is killed: its process outlives that, and another service goes on watching it.
    outliving = service.ask("POST", "/v1/jobs", {"dataset": dataset, "name": "the same", **LONG})["id"]
    service.wait(outliving, "epoch")
    process = (workspace / "jobs" / outliving / "process").read_text()
    service.kill()
    assert alive(process)
    service = Served(workspace)
    assert service.ask("GET", f"/v1/jobs/{outliving}")["state"] == "running"
    service.wait(outliving, "end")
    assert (workspace / "jobs" / outliving / "process").read_text() == process
    # One that is killed itself, with its service: it goes on from its checkpoint.
    killed = service.ask("POST", "/v1/jobs", {"dataset": dataset, "name": "the same", **LONG})["id"]
    service.wait(killed, "epoch")
    process = (workspace / "jobs" / killed / "process").read_text()
    service.kill()
    os.killpg(int(process.split()[0]), signal.SIGKILL)
    service = Served(workspace)
    service.wait(killed, "end")
    assert (workspace / "jobs" / killed / "process").read_text() != process
    jobs = {one["id"]: one for one in service.ask("GET", "/v1/jobs")["jobs"]}
    assert {one["state"] for one in jobs.values()} == {"finished"}
    epochs = [one["epoch"] for one in jobs[killed]["curves"]]
    assert epochs == list(range(1, len(epochs) + 1))
    models = {
        job: service.ask("GET", f"/v1/jobs/{job}/files/model.onnx") for job in (calm, outliving, killed)
    }
    assert models[calm] == models[outliving] == models[killed]
    service.stop()


def test_a_service_that_is_asked_to_stop_takes_its_job_with_it_and_goes_on_later(workspace: Path) -> None:
    service = Served(workspace)
    dataset = service.ask("POST", "/v1/datasets", zipped(class_folders(4)), "application/zip")["id"]
    job = service.ask("POST", "/v1/jobs", {"dataset": dataset, **LONG})["id"]
    service.wait(job, "epoch")
    process = (workspace / "jobs" / job / "process").read_text()
    service.stop()
    assert not alive(process)
    service = Served(workspace)
    service.wait(job, "epoch")
    service.ask("POST", f"/v1/jobs/{job}/cancel", b"")
    assert service.wait(job, "end") == {"state": "cancelled"}
    service.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 80 MB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=80m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_ends_the_job_and_not_the_service(small_disk: Path) -> None:
    service = Served(small_disk / "workspace")
    photos = class_folders(8)
    dataset = service.ask("POST", "/v1/datasets", zipped(photos), "application/zip")["id"]
    job = service.ask("POST", "/v1/jobs", {"dataset": dataset, **LONG})["id"]
    service.wait(job, "epoch")
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1 << 16))
    assert service.wait(job, "end") == {"state": "failed"}
    assert "the disk of the workspace is full" in service.ask("GET", f"/v1/jobs/{job}")["error"]
    add = f"/v1/datasets/{dataset}/images?class=red"
    with pytest.raises(urllib.error.HTTPError, match="507"):
        service.ask("POST", add, photos["red/0.jpg"], "image/jpeg")
    assert service.ask("GET", f"/v1/datasets/{dataset}")["images"] == 16
    filler.unlink()
    assert len(service.ask("POST", add, photos["red/1.jpg"], "image/jpeg")["images"]) == 1
    service.stop()


def test_two_services_have_not_the_same_workspace(workspace: Path) -> None:
    service = Served(workspace)
    second = subprocess.run(
        [sys.executable, "-m", "graft", "serve", "--workspace", str(workspace), "--port", "0"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert second.returncode == 2
    assert "is writing here" in second.stderr
    service.stop()
