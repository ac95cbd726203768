"""What a process of an engine does, whichever engine that is."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from feature_extraction import merge_parts, open_place, plan_parts
from feature_extraction.engines import spark
from feature_extraction.engines.job import Job, lost, work
from feature_extraction.parts.making import PartMaker, missing_parts
from models.features import FeatureOptions, open_features
from tests.feature_extraction.running import CPU
from tests.fixtures import plain


@pytest.fixture
def job(tiny_path: Path, tmp_path: Path) -> Job:
    for i in range(9):
        (tmp_path / f"{i}.png").write_bytes(plain((i, 0, 0), (16, 16)))
    features = open_features(tiny_path, FeatureOptions(), CPU)
    plan = plan_parts(
        open_place(tmp_path / "out"), str(tmp_path), features, "npy", batch_size=2, part_images=4
    )
    return Job(plan, str(tiny_path), FeatureOptions(), CPU)


def test_job_and_part_cross_processes_and_the_network_is_opened_once(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counting(*arguments: object) -> object:
        opened.append(arguments)
        return open_features(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("feature_extraction.engines.job.open_features", counting)
    for planned in missing_parts(job.plan):
        outcome = work(*pickle.loads(pickle.dumps((job, planned))))
        assert (outcome.error, outcome.images) == ("", planned.items)
    assert len(opened) == 1
    assert list(missing_parts(job.plan)) == []
    assert merge_parts(job.plan).images == 9


def test_errors_are_outcomes_and_name_the_machine(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, *_) = job.plan.planned()
    monkeypatch.setattr("socket.gethostname", lambda: "host7")
    other = dataclasses.replace(job, version="0.0.9")
    assert work(other, first).error.startswith("host7: Graft ")
    assert "and 0.0.9 where the work is handed out; install the same everywhere" in work(other, first).error
    gone = dataclasses.replace(job, model="/nowhere.onnx")
    assert "host7: /nowhere.onnx" in work(gone, first).error

    def broken(*args: object) -> None:
        raise ZeroDivisionError("1 / 0")

    monkeypatch.setattr(PartMaker, "make", broken)
    assert work(job, first).error == "host7: part 0: ZeroDivisionError: 1 / 0"


def test_machine_with_other_versions_makes_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_extraction.extraction.processor", lambda: "sparc v9")
    for planned in job.plan.planned():
        outcome = work(dataclasses.replace(job, cache=False, folder="/"), planned)
        assert "planned with other settings than on" in outcome.error
        assert "now sparc v9" in outcome.error
    assert len(list(missing_parts(job.plan))) == job.plan.parts


def test_relative_paths_that_begin_elsewhere_are_refused(job: Job) -> None:
    (first, *_) = job.plan.planned()
    for name, change in {
        "models/tiny.onnx": {"model": "models/tiny.onnx"},
        "photos": {"plan": dataclasses.replace(job.plan, source="photos")},
        "features": {"plan": dataclasses.replace(job.plan, place=open_place("features"))},
    }.items():
        other = dataclasses.replace(job, folder="/elsewhere", **change)  # type: ignore[arg-type]
        assert f": {name}: begins at /elsewhere where the work is handed out" in work(other, first).error
    stored = dataclasses.replace(job.plan, source="s3://bucket", place=open_place("s3://bucket/out"))
    assert "begins at" not in work(dataclasses.replace(job, plan=stored, folder="/elsewhere"), first).error


def test_spark_is_not_asked_to_share_out_nothing(job: Job) -> None:
    assert list(spark.run(job, [], "spark://nowhere:1")) == []


def test_part_that_an_engine_gives_up_is_named(job: Job) -> None:
    (first, *_) = job.plan.planned()
    error = lost(first, RuntimeError("worker crashed\nTraceback")).error
    assert error.startswith(
        f"part 0 (4 images from {first.first} on) was given up by the engine: worker crashed."
    )
