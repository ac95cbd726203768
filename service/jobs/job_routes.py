"""Routes of jobs: made, watched, cancelled, judged, and their models promoted."""

from __future__ import annotations

import functools
import itertools
import json
from typing import Annotated, Any, NotRequired, TypedDict
from urllib.parse import quote

from flask import Response, jsonify, request

from finetune.job.recipe import Recipe
from models.errors import InputError
from models.settings import setting, settings, settings_of
from service.front.wsgi import GONE, REQUEST_ID
from service.jobs.answers import (
    Comparison,
    CurvePoint,
    Deleted,
    JobAnswer,
    JobList,
    Mistakes,
    Progress,
    Promotion,
    Verdict,
)
from service.jobs.bodies import json_fields, text_fields
from service.jobs.database import Row
from service.jobs.jobs import ENDED
from service.jobs.progress import progress_in
from service.jobs.recipes import settings_schema
from service.jobs.results import comparison_of, mistakes_of, report_of, verdict_of
from service.jobs.stream import Streams
from service.jobs.teaching import Teaching
from service.openapi.parameters import NoParameters
from service.openapi.routes import JSON, Routes
from service.protocols.asking import log_change

_TYPES = {".html": "text/html; charset=utf-8", ".json": JSON, ".jsonl": "application/x-ndjson"}
_PLAIN = "text/plain; charset=utf-8"
# A report is a page of ours with names of other people in it: it runs no script, wherever it is shown.
_REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
_OWN = ("dataset", "name")  # fields of a job that are no settings
_REMEMBERED = 1000  # jobs that have ended, of which little is remembered that stands in large files
_LARGEST = (1 << 63) - 1  # number that SQLite keeps


@settings
class OfJob:
    """A job by its id."""

    job: str = setting("", "Id of a job.")


@settings
class OfFile(OfJob):
    """A file of a job."""

    file: str = setting("", "Name of a file, as listed with the job.")


@settings
class OfPromotion(OfJob):
    """A version that was promoted."""

    model: str = setting("", "Name of the model.")
    version: int = setting(1, "Version of the model.", least=1, most=_LARGEST)


# The job to compare with; `with` is no name that Python takes.
Other = TypedDict("Other", {"with": Annotated[str, "Id of the other job."]})


class Promote(TypedDict):
    """How a model is to be served."""

    name: NotRequired[Annotated[str, "Under which it is served; else made of the job's."]]
    label: NotRequired[Annotated[str, "Such as stable, which answers where a request names no version."]]


def _job_schema() -> dict[str, Any]:
    own = {
        "dataset": {"type": "string", "description": "Id of a dataset."},
        "name": {"type": "string", "description": "What the job is called; else as the dataset."},
    }
    return {
        "type": "object",
        "properties": {**own, **settings_schema()},
        "required": ["dataset"],
        "additionalProperties": False,
    }


def job_routes(teaching: Teaching) -> Routes:
    """The routes below /v1/jobs."""
    routes = Routes("jobs", "/v1/jobs")
    jobs, registry = teaching.jobs, teaching.registry
    streams = Streams(jobs, lambda: registry.draining)

    def course(job: str, state: str) -> tuple[Progress | None, list[CurvePoint], Verdict | None]:
        """How a job goes, as its files tell."""
        progress, curves = progress_in(jobs.events(job))
        report = jobs.report(job) if state not in ("cancelled", "failed") else None
        return progress, curves, verdict_of(report) if report is not None else None

    course_of_ended = functools.lru_cache(_REMEMBERED)(course)

    def job_json(row: Row) -> JobAnswer:
        known = row["id"]
        queued = row["state"] == "queued"
        before = (
            [*jobs.begun(), *itertools.takewhile(lambda one: one["id"] != known, jobs.waiting())]
            if queued
            else []
        )
        ended = row["state"] in ENDED
        progress, curves, verdict = (course_of_ended if ended else course)(known, row["state"])
        return {
            "id": known,
            "name": row["name"],
            "dataset": row["dataset"],
            "revision": row["revision"],
            "settings": json.loads(row["settings"]),
            "state": row["state"],
            "queue_position": len(before) or None,
            "created": row["created"],
            "started": row["started"],
            "ended": row["ended"],
            "progress": None if ended else progress,
            "curves": curves,
            "error": row["error"],
            "verdict": verdict,
            "files": [
                {"name": name, "bytes": path.stat().st_size} for name, path in jobs.files(known).items()
            ],
            "promoted": [
                {"model": one["model"], "version": one["version"], "label": one["label"]}
                for one in jobs.promotions(known)
            ],
        }

    streams.describe = job_json

    @routes.post("", body={JSON: _job_schema()}, answer=JobAnswer, status=202, statuses=(404, 409, 507))
    def create_job(_: NoParameters) -> Response:
        """Lets a model learn the classes of a dataset, as they are now, in a process of its own.

        Takes the settings of `graft finetune`, by the same names. One job runs at a time; others wait in order.
        """
        fields = json_fields(registry, {*_OWN, *(name for name in settings_of(Recipe))}, {"dataset"})
        for name in _OWN:
            if not isinstance(fields.get(name, ""), str):
                raise InputError(f"{name} is {repr(fields[name])[:60]}; expected text.")
        wanted = {name: value for name, value in fields.items() if name not in _OWN}
        known = jobs.create(fields["dataset"], fields.get("name", ""), wanted, registry.config.job_threads)
        teaching.runner.wake()
        response = jsonify(job_json(jobs.row(known)))
        response.status_code = 202
        response.headers["Location"] = f"/v1/jobs/{known}"
        return response

    @routes.get("", answer=JobList)
    def list_jobs(_: NoParameters) -> Response:
        """Lists all jobs, the newest first."""
        return jsonify(jobs=[job_json(row) for row in jobs.rows()])

    @routes.get("/{job}", OfJob, answer=JobAnswer, statuses=(404,))
    def get_job(given: OfJob) -> Response:
        """Tells a job: its state, how far it is, its curves, and the verdict once there is one."""
        return jsonify(job_json(jobs.row(given.job)))

    @routes.get("/{job}/events", OfJob, answer={"text/event-stream": str}, statuses=(404,))
    def watch_job(given: OfJob) -> Response:
        """Streams how a job goes, as server-sent events: state, progress, epoch, log and end.

        A client that comes again with `Last-Event-ID` hears what it has missed. Comments keep the connection alive.
        """
        jobs.row(given.job)
        gone = request.environ.get(GONE)
        stream = streams.open(given.job, request.headers.get("Last-Event-ID", ""), lambda: bool(gone))
        response = Response(stream, content_type="text/event-stream; charset=utf-8")
        response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events until there are many
        return response

    @routes.post("/{job}/cancel", OfJob, answer=JobAnswer, status=202, statuses=(404, 409))
    def cancel_job(given: OfJob) -> Response:
        """Cancels a job that waits or runs."""
        jobs.cancel(given.job)
        teaching.runner.wake()
        response = jsonify(job_json(jobs.row(given.job)))
        response.status_code = 202
        return response

    @routes.route("DELETE", "/{job}", OfJob, answer=Deleted, statuses=(404, 409))
    def delete_job(given: OfJob) -> Response:
        """Deletes a job that does not run, with its files; models that were promoted stay."""
        jobs.delete(given.job)
        return jsonify(deleted=given.job)

    @routes.get("/{job}/log", OfJob, answer={"text/plain": str}, statuses=(404,))
    def get_log(given: OfJob) -> Response:
        """Gives what the process of a job has written."""
        jobs.row(given.job)
        log = jobs.log(given.job)
        return Response(log.read_bytes() if log.is_file() else b"", content_type=_PLAIN)

    @routes.get(
        "/{job}/files/{file}", OfFile, statuses=(404,),
        answer={"application/octet-stream": None, "text/html": str, JSON: Any, "text/plain": str},
    )  # fmt: skip
    def get_file(given: OfFile) -> Response:
        """Gives a file that a job has made: model.onnx, model-any-size.onnx, report.html, report.json, log.txt, ..."""
        file = jobs.file(given.job, given.file)
        kind = _TYPES.get(file.suffix, _PLAIN if file.suffix == ".txt" else "application/octet-stream")
        response = Response(file.read_bytes(), content_type=kind)
        if file.suffix == ".html":
            response.headers["Content-Security-Policy"] = _REPORT
        elif kind == "application/octet-stream":
            of_job = file.suffix == ".onnx"
            name = f"{jobs.row(given.job)['name']}{file.name.removeprefix('model')}" if of_job else file.name
            response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        return response

    @routes.get("/{job}/mistakes", OfJob, answer=Mistakes, statuses=(404, 409))
    def list_mistakes(given: OfJob) -> Response:
        """Lists the measured images that the model takes for something else, the surest first."""
        report = report_of(jobs, given.job)
        wrong = mistakes_of(teaching.images, jobs.row(given.job)["dataset"], report)
        return jsonify(mistakes=wrong, images=verdict_of(report)["images"])

    @routes.post("/{job}/compare", OfJob, body={JSON: Other}, answer=Comparison, statuses=(404, 409))
    def compare_job(given: OfJob) -> Response:
        """Tells whether a job's model is better than another's, on the images that both have measured."""
        other = text_fields(registry, {"with"}, needed={"with"})["with"]
        return jsonify(comparison_of(report_of(jobs, given.job), report_of(jobs, other)))

    @routes.post(
        "/{job}/promote", OfJob, body={JSON: Promote}, answer=Promotion, status=201, statuses=(404, 409, 507)
    )
    def promote_job(given: OfJob) -> Response:
        """Serves the proven model of a finished job as a new version; it is warm, and answers, when this does.

        To go back, let the label stand for the version before: PUT /v1/admin/models/NAME/labels/LABEL.
        """
        fields = text_fields(registry, {"name", "label"})
        label = fields.get("label")
        served = teaching.promoter.promote(given.job, fields.get("name"), label)
        text, request_id = (
            f"{served.name} version {served.version} was promoted",
            request.environ.get(REQUEST_ID, ""),
        )
        log_change(text, "loaded", served.name, request_id, served.version)
        response = jsonify(model=served.name, version=served.version, label=label)
        response.status_code = 201
        return response

    @routes.route(
        "DELETE", "/{job}/promotions/{model}/{version}", OfPromotion, answer=Deleted, statuses=(404,)
    )
    def withdraw_model(given: OfPromotion) -> Response:
        """Serves a promoted version no longer, and deletes its file; refused where a label stands for it."""
        teaching.promoter.withdraw(given.model, given.version)
        request_id = request.environ.get(REQUEST_ID, "")
        log_change(
            f"{given.model} version {given.version} was withdrawn",
            "retired",
            given.model,
            request_id,
            given.version,
        )
        return jsonify(deleted=f"{given.model}:{given.version}")

    return routes
