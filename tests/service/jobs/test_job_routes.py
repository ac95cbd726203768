"""Jobs over HTTP: a real one from its settings to a model that answers, and what cannot be."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from finetune.job.observing import STAGES
from models.any_size import TOLERANCE
from models.model import Model
from models.names import INPUT, PROBABILITIES
from models.rgb import upright_rgb
from models.runtime import OnnxSession
from service.app import create_app
from service.jobs.answers import Progress
from service.jobs.process import ANY_SIZE, add_any_size
from service.jobs.teaching import Teaching
from service.registry import Registry
from tests.fixtures import tiny_classifier
from tests.service.jobs.conftest import class_folders, snapshot, workspace_config, zipped

PATIENCE_S = 300.0


def wait_for_end(teaching: Teaching, job: str) -> dict[str, Any]:
    """The events of a job until it ends."""
    events = []
    stop = threading.Event()
    timer = threading.Timer(PATIENCE_S, stop.set)
    timer.start()
    client = create_app(registry=teaching.registry, teaching=teaching).test_client()
    for chunk in client.get(f"/v1/jobs/{job}/events", buffered=False).response:
        events.append(chunk)
        assert not stop.is_set(), b"".join(events[-20:])
        stop.wait(0.05)
    timer.cancel()
    return {"text": b"".join(events).decode(), "job": client.get(f"/v1/jobs/{job}").get_json()}


class Taught:
    """A job that has finished."""

    def __init__(self, teaching: Teaching) -> None:
        self.teaching = teaching
        self.client = create_app(registry=teaching.registry, teaching=teaching).test_client()
        made = self.client.post(
            "/v1/datasets?name=Rot+%26+Blau", data=zipped(class_folders(14)), content_type="application/zip"
        )
        self.dataset = made.get_json()["id"]
        asked = self.client.post("/v1/jobs", json={"dataset": self.dataset, "epochs": 5, "hidden": [8]})
        assert asked.status_code == 202, asked.get_json()
        self.asked = asked.get_json()
        teaching.start()
        ended = wait_for_end(teaching, self.asked["id"])
        self.events, self.job = ended["text"], ended["job"]


@pytest.fixture(scope="module")
def taught(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taught]:
    folder = tmp_path_factory.mktemp("teaching")
    registry = Registry(workspace_config(tiny_path, folder))
    registry.load()
    teaching = Teaching(registry, folder)
    yield Taught(teaching)
    teaching.close()
    registry.close()


def check_epochs(points: list[Any]) -> None:
    """Each phase, such as the head without a part of the images, has its epochs in order."""
    phases = {
        point["phase"]: [one["epoch"] for one in points if one["phase"] == point["phase"]] for point in points
    }
    assert len(phases) > 1
    for epochs in phases.values():
        assert epochs == list(range(1, len(epochs) + 1))
        assert 1 <= len(epochs) <= 5


def test_a_job_runs_to_its_verdict(taught: Taught) -> None:
    job = taught.job
    assert (taught.asked["state"], taught.asked["queue_position"]) == ("queued", None)
    assert (job["state"], job["error"], job["name"]) == ("finished", None, "Rot & Blau")
    assert job["settings"] == {"epochs": 5, "hidden": [8]}
    assert job["created"] <= job["started"] <= job["ended"]
    check_epochs(job["curves"])
    assert all(one["accuracy"] is not None for one in job["curves"])
    # The last phase learns from every image: nothing is left to validate it with.
    last = job["curves"][-1]["phase"]
    assert all((one["validation_accuracy"] is None) == (one["phase"] == last) for one in job["curves"])
    assert len(job["verdict"]["sentences"]) == 3
    assert "each asked of one that had not learned from it" in job["verdict"]["sentences"][0]
    assert {one["name"] for one in job["files"]} >= {
        "model.onnx", "model-any-size.onnx", "report.html", "report.json", "log.txt",
    }  # fmt: skip


def test_its_events_tell_all_of_it_in_order(taught: Taught) -> None:
    blocks = [block.splitlines() for block in taught.events.split("\n\n") if "event:" in block]
    told = [
        (next(line[7:] for line in block if line.startswith("event: ")),
         json.loads(next(line[6:] for line in block if line.startswith("data: "))))
        for block in blocks
    ]  # fmt: skip
    kinds = [kind for kind, _ in told]
    assert kinds[-1] == "end"
    assert told[-1][1] == {"state": "finished"}
    assert [facts["state"] for kind, facts in told if kind == "state"][-1] == "finished"
    check_epochs([facts for kind, facts in told if kind == "epoch"])
    stages = list(dict.fromkeys(facts["stage"] for kind, facts in told if kind == "progress"))
    assert [one for one in stages if one in ("scan", "train", "proof", "report")] == [
        "scan",
        "train",
        "proof",
        "report",
    ]
    for facts in (facts for kind, facts in told if kind == "progress"):
        assert facts.keys() == {*Progress.__annotations__, "at"}
        assert facts["words"] == STAGES.get(facts["stage"], facts["stage"])
    ids = [int(line[4:]) for block in blocks for line in block if line.startswith("id: ")]
    assert ids == sorted(set(ids))
    again = taught.client.get(
        f"/v1/jobs/{taught.job['id']}/events", headers={"Last-Event-ID": str(ids[-2])}
    ).text
    assert [line for line in again.splitlines() if line.startswith("id: ")] == [f"id: {ids[-1]}"]


def test_the_files_of_one_that_has_ended_are_read_once(
    taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/jobs/{taught.job['id']}"
    first = taught.client.get(path).get_json()

    def never(job: str) -> None:
        raise AssertionError("it was read again")

    monkeypatch.setattr(taught.teaching.jobs, "report", never)
    monkeypatch.setattr(taught.teaching.jobs, "events", never)
    assert taught.client.get(path).get_json() == first


def test_its_files_are_given(taught: Taught, tmp_path: Path) -> None:
    path = f"/v1/jobs/{taught.job['id']}/files"
    page = taught.client.get(f"{path}/report.html")
    assert page.content_type.startswith("text/html")
    assert "sandbox" in page.headers["Content-Security-Policy"]
    model = taught.client.get(f"{path}/model.onnx")
    assert "attachment; filename*=UTF-8''Rot%20%26%20Blau.onnx" in model.headers["Content-Disposition"]
    (tmp_path / "m.onnx").write_bytes(model.data)
    assert [one.id for one in Model.open(tmp_path / "m.onnx").card.labels] == ["blue", "red"]
    other = taught.client.get(f"{path}/model-any-size.onnx")
    disposition = "attachment; filename*=UTF-8''Rot%20%26%20Blau-any-size.onnx"
    assert disposition in other.headers["Content-Disposition"]
    given = np.asarray(upright_rgb(Image.open(io.BytesIO(snapshot("red", 3)))))
    (answer,) = OnnxSession(other.data).run({INPUT: given[None]}, [PROBABILITIES])
    model_itself = Model.open(tmp_path / "m.onnx")
    expected = model_itself.probabilities(model_itself.decode(given)[None])
    assert np.abs(answer - expected).max() <= TOLERANCE
    for name in ("../job.json", "job.json", "workspace.db", ".lock"):
        assert taught.client.get(f"{path}/{name}").status_code == 404
    assert taught.client.get(f"/v1/jobs/{taught.job['id']}/log").status_code == 200


def test_without_an_any_size_file_the_job_goes_on_and_its_log_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_classifier(tmp_path / "model.onnx", batch_size=4)
    add_any_size(model, 1)
    assert f"No {ANY_SIZE}: tiny takes 4 images at a time" in capsys.readouterr().err
    assert not model.with_name(ANY_SIZE).exists()
    model.write_bytes(b"no model")
    add_any_size(model, 1)
    assert f"No {ANY_SIZE}: " in capsys.readouterr().err


def test_its_model_is_promoted_and_answers_also_after_a_restart(taught: Taught, tiny_path: Path) -> None:
    client, path = taught.client, f"/v1/jobs/{taught.job['id']}/promote"
    for version in (1, 2):
        answer = client.post(path, json={"label": "stable"})
        assert (answer.status_code, answer.get_json()) == (
            201, {"model": "rot-blau", "version": version, "label": "stable"}
        )  # fmt: skip
    photo = {"data": snapshot("red", 7), "content_type": "image/jpeg"}
    assert client.post("/v1/classify?model=rot-blau", **photo).get_json()["results"][0]["predictions"]
    back = client.put("/v1/admin/models/rot-blau/labels/stable", json={"version": 1})
    assert back.status_code == 200
    promoted = client.get(f"/v1/jobs/{taught.job['id']}").get_json()["promoted"]
    assert [one["version"] for one in promoted] == [1, 2]
    registry = Registry(workspace_config(tiny_path, taught.teaching.workspace.folder))
    registry.sources += taught.teaching.promoter.sources()
    registry.load()
    taught.teaching.promoter.restore_labels(registry)
    assert dict(registry.families["rot-blau"].labels) == {"stable": 1}
    assert sorted(registry.families["rot-blau"].versions) == [1, 2]
    registry.close()
    gone = f"/v1/jobs/{taught.job['id']}/promotions/rot-blau"
    assert client.delete(f"{gone}/1").status_code == 400  # a label stands for it
    assert client.delete(f"{gone}/2").get_json() == {"deleted": "rot-blau:2"}
    assert client.delete(f"{gone}/2").status_code == 404
    assert [path.name for path in (taught.teaching.workspace.models / "rot-blau").iterdir()] == ["1"]
    assert client.post(path, json={"name": "rot-blau"}).get_json()["version"] == 3


def test_mistakes_and_comparisons_are_of_measured_images(taught: Taught) -> None:
    wrong = taught.client.get(f"/v1/jobs/{taught.job['id']}/mistakes").get_json()
    assert wrong["images"] == taught.job["verdict"]["images"]
    same = taught.client.post(
        f"/v1/jobs/{taught.job['id']}/compare", json={"with": taught.job["id"]}
    ).get_json()
    assert (same["images"], same["difference"], same["significant"]) == (wrong["images"], 0.0, False)
    assert "there is no difference to speak of" in same["sentence"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"epoch": 3}, "the field 'epoch' is not known; expected a JSON object with"),
        ({"epochs": 0}, "epochs is 0; expected a whole number from 1"),
        ({"epochs": "many"}, "epochs is 'many'; expected a whole number"),
        ({"method": "magic"}, "method is 'magic'; expected one of sklearn, head, blocks"),
        ({"method": "sklearn", "epochs": 3}, "--epochs: for --method head or blocks"),
        ({"model": "/etc/passwd"}, "no network is called '/etc/passwd'"),
        ({"task": "regression"}, "only classification is taught here"),
        ({"unfreeze": "mixed_7b"}, "unfreeze 'mixed_7b' is for --method blocks"),
        ({"name": 3}, "name is 3; expected text"),
        ({"name": "x" * 200}, "the name of the job is"),
    ],
)
def test_what_cannot_be_is_told_before_it_begins(
    client: FlaskClient, dataset: str, wanted: dict[str, Any], message: str
) -> None:
    answer = client.post("/v1/jobs", json={"dataset": dataset, **wanted})
    assert answer.status_code == 400
    assert message in answer.get_json()["error"]["message"]
    assert client.get("/v1/jobs").get_json() == {"jobs": []}


def test_one_class_is_nothing_to_tell_apart(client: FlaskClient) -> None:
    known = client.post("/v1/datasets", json={}).get_json()["id"]
    client.post(f"/v1/datasets/{known}/images?class=a", data=snapshot("red", 1), content_type="image/jpeg")
    answer = client.post("/v1/jobs", json={"dataset": known})
    assert answer.status_code == 400
    assert "has images of 1 class; a model needs two or more" in answer.get_json()["error"]["message"]
    assert client.post("/v1/jobs", json={"dataset": "none"}).status_code == 404


def test_those_that_wait_are_cancelled_and_deleted(
    client: FlaskClient, teaching: Teaching, dataset: str
) -> None:
    first, second = (client.post("/v1/jobs", json={"dataset": dataset}).get_json() for _ in range(2))
    assert [one["queue_position"] for one in client.get("/v1/jobs").get_json()["jobs"]] == [1, None]
    assert client.post(f"/v1/jobs/{first['id']}/promote", json={}).status_code == 409
    assert client.get(f"/v1/jobs/{first['id']}/mistakes").status_code == 409
    cancelled = client.post(f"/v1/jobs/{first['id']}/cancel")
    assert (cancelled.status_code, cancelled.get_json()["state"]) == (202, "cancelled")
    assert client.post(f"/v1/jobs/{first['id']}/cancel").status_code == 409
    assert client.get(f"/v1/jobs/{second['id']}").get_json()["queue_position"] is None
    assert client.delete(f"/v1/jobs/{first['id']}").status_code == 200
    assert not teaching.workspace.job(first["id"]).exists()
    assert client.get(f"/v1/jobs/{first['id']}").status_code == 404


def test_a_job_learns_what_was_there_when_it_was_made(
    client: FlaskClient, teaching: Teaching, dataset: str
) -> None:
    job = client.post("/v1/jobs", json={"dataset": dataset}).get_json()["id"]
    client.delete(f"/v1/datasets/{dataset}")
    folder = teaching.workspace.job(job)
    lines = [json.loads(line) for line in io.StringIO((folder / "images.jsonl").read_text(encoding="utf-8"))]
    assert sorted(line["label"] for line in lines) == ["blue"] * 3 + ["red"] * 3
    assert all((folder / line["path"]).stat().st_size > 1000 for line in lines)
