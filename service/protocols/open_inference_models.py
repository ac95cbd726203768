"""What the Open Inference Protocol says of models: metadata, configuration, statistics, and the repository's index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.errors import InputError, UnknownModelError
from models.names import INPUT
from service.protocols.asking import log_change
from service.protocols.tensor_answers import datatype_of
from service.protocols.views import Output, outputs_of
from service.records import StageName
from service.registry import Registry
from service.repository import sources_in
from service.served import Served
from service.sources import Source
from service.statistics import Statistics, Sum, Totals

_PLATFORM = "onnxruntime_onnx"  # what Triton calls ONNX files, too
_STATES = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}


def not_ready(registry: Registry) -> str:
    """Why the service should have no requests, in words; "" where it may have them."""
    if registry.draining:
        return "it stops"
    return f"{', '.join(registry.loading)} is being loaded" if registry.loading else ""


def metadata(registry: Registry, served: Served) -> dict[str, Any]:
    """Inputs and outputs of a model; -1 is the batch."""
    height, width = served.model.card.preprocessing.size
    return {
        "name": served.name,
        "versions": [str(version) for version in sorted(registry.families[served.name].versions)],
        "platform": _PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, height, width, 3]}],
        "outputs": [
            {"name": output.name, "datatype": datatype_of(output.dtype), "shape": [-1, *output.shape]}
            for output in outputs_of(served.model, registry.config.outputs)
        ],
    }


def configuration(registry: Registry, served: Served) -> dict[str, Any]:
    """A model in the form of Triton's ModelConfig, as far as it is one."""
    model, size = served.model, served.model.card.preprocessing.size
    family = registry.families[served.name]
    kind = "KIND_CPU" if model.session.device.kind == "cpu" else "KIND_GPU"
    return {
        "name": served.name,
        "platform": _PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": sorted(family.versions)}},
        "max_batch_size": registry.config.max_images,
        "input": [
            {"name": INPUT, "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": [*size, 3]},
        ],
        "output": [
            _output(output, len(model.card.labels)) for output in outputs_of(model, registry.config.outputs)
        ],
        "instance_group": [{"name": served.name, "kind": kind, "count": served.plan.runners}],
        "default_model_filename": Path(served.source.spec).name,
        "parameters": {},
    }


def _output(output: Output, labels: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": output.name,
        "data_type": f"TYPE_{datatype_of(output.dtype)}",
        "dims": list(output.shape),
    }
    # The labels of the classification extension stand on the card; Triton's clients look whether there are any.
    return {**entry, "label_filename": "labels.txt"} if labels and output.shape == (labels,) else entry


def statistics(
    registry: Registry, known: Statistics, name: str | None = None, version: int | None = None
) -> list[dict[str, Any]]:
    """Triton's statistics of all models, of the versions of one, or of one version.

    Raises:
        UnknownModelError, BusyError: as `Registry.get`.
    """
    if name is None:
        chosen = registry.served
        known.keep([(one.name, one.version) for one in chosen])
    elif version is None:
        chosen = list(registry.families[registry.get(name).name].versions.values())
    else:
        chosen = [registry.get(name, version)]
    return [_statistics(one, known.of(one.name, one.version)) for one in chosen]


def _statistics(served: Served, totals: Totals) -> dict[str, Any]:
    """Counts, and nanoseconds. Of answers from a cache there are none."""
    stages = totals.stages

    def infer(size: int, run: Sum) -> dict[str, Any]:
        return {
            "batch_size": size,
            "compute_input": _sum(Sum(run.count)),
            "compute_infer": _sum(run),
            "compute_output": _sum(Sum(run.count)),
        }

    return {
        "name": served.name,
        "version": str(served.version),
        "last_inference": int(1000 * totals.last_at),
        "inference_count": totals.images,
        "execution_count": sum(run.count for run in totals.runs.values()),
        "inference_stats": {
            "success": _sum(totals.requests),
            "fail": _sum(totals.failures),
            **{name: _sum(stages[stage]) for name, stage in _NAMES.items()},
            "cache_hit": _sum(Sum()),
            "cache_miss": _sum(Sum()),
        },
        "response_stats": {},
        "batch_stats": [infer(size, run) for size, run in sorted(totals.runs.items())],
        "memory_usage": [],
    }


_NAMES: dict[str, StageName] = {
    "queue": "queue",
    "compute_input": "decode",
    "compute_infer": "infer",
    "compute_output": "encode",
}


def _sum(one: Sum) -> dict[str, int]:
    return {"count": one.count, "ns": int(1e9 * one.seconds)}


def index(registry: Registry, *, ready: bool) -> list[dict[str, str]]:
    """All versions that are known, and, unless they must be `ready`, those that could be loaded."""
    rows = [
        {
            "name": name,
            "version": str(version),
            "state": _STATES[state],
            **({"reason": reason} if reason else {}),
        }
        for (name, version), (state, reason) in sorted(registry.states.items())
        if state == "ready" or not ready
    ]
    if not ready:
        known = set(registry.states)
        rows += [
            {"name": one.name, "version": str(one.version), "state": "UNAVAILABLE", "reason": "unloaded"}
            for one in loadable(registry)
            if (one.name, one.version) not in known
        ]
    return rows


def loadable(registry: Registry) -> Iterator[Source]:
    """What may be loaded: what the service was started with, and what its repository holds."""
    yield from registry.sources
    yield from sources_in(registry.config.repository)


def load_newest(registry: Registry, name: str, parameters: object, request_id: str) -> None:
    """Load a model: its newest version, of what the service was started with or its repository holds.

    Raises:
        InputError: there are parameters.
        UnknownModelError: it lies nowhere there.
        GraftError: as `Registry.open_if_idle`.
    """
    if parameters:
        raise InputError(
            "the request brings a configuration or files; a model is loaded as it lies in its folder."
        )
    sources = [one for one in loadable(registry) if one.name == name]
    if not sources:
        raise UnknownModelError(
            f"no model {name!r} lies in the repository. The index of the repository tells what does."
        )
    served = registry.open_if_idle(max(sources, key=lambda one: one.version))
    text = f"{served.name} version {served.version} is served from {served.source.spec}"
    log_change(text, "loaded", served.name, request_id, served.version)


def unload_all(registry: Registry, name: str, parameters: object, request_id: str) -> None:
    """Serve no version of a model any longer.

    Raises:
        InputError: there are other parameters than `unload_dependents`.
        UnknownModelError: none is served.
    """
    if parameters and not (isinstance(parameters, Mapping) and parameters.keys() <= {"unload_dependents"}):
        raise InputError(
            "parameters are known by one name here: unload_dependents; no model depends on another."
        )
    registry.unload(name)
    log_change(f"{name} is not served any more", "retired", name, request_id)
