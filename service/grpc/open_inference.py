"""`inference.GRPCInferenceService`: the Open Inference Protocol with Triton's extensions, as over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.errors import GraftError, InputError, UnknownModelError, UnsupportedError
from models.version import __version__
from service.bodies.memory import Share
from service.front.gate import LaneName
from service.grpc.infer_messages import REQUEST, read_infer, write_infer
from service.grpc.messages import message_class, message_of
from service.grpc.method import Answer, Asked, Method, Methods
from service.grpc.status import Failure
from service.protocols.inferring import infer
from service.protocols.open_inference import EXTENSIONS
from service.protocols.open_inference_models import (
    configuration,
    index,
    load_newest,
    metadata,
    not_ready,
    statistics,
    unload_all,
)
from service.registry import Registry
from service.safety import Scope
from service.statistics import Statistics
from service.steps import Steps

SERVICE = "inference.GRPCInferenceService"
_PACKAGE = "inference"
# What Triton's client asks to be told with the last answer to a request of a stream: here that is every one.
_ASKS_FOR_FINAL, _FINAL = "triton_enable_empty_final_response", "triton_final_response"
_MEMORY = ("SystemSharedMemory", "CudaSharedMemory")


def methods(registry: Registry, known: Statistics) -> Methods:
    """The methods of the service, over the models of a registry."""

    def live(_: Any, asked: Asked) -> Any:
        return _message("ServerLiveResponse", {"live": True})

    def ready(_: Any, asked: Asked) -> Any:
        return _message("ServerReadyResponse", {"ready": not not_ready(registry)})

    def model_ready(message: Any, asked: Asked) -> Any:
        try:
            registry.get(message.name, _version(message.version))
        except GraftError:
            return _message("ModelReadyResponse", {"ready": False})
        return _message("ModelReadyResponse", {"ready": True})

    def server_metadata(_: Any, asked: Asked) -> Any:
        values = {"name": "graft", "version": __version__, "extensions": EXTENSIONS}
        return _message("ServerMetadataResponse", values)

    def model_metadata(message: Any, asked: Asked) -> Any:
        with registry.use(message.name, _version(message.version)) as served:
            return _message("ModelMetadataResponse", metadata(registry, served))

    def model_config(message: Any, asked: Asked) -> Any:
        with registry.use(message.name, _version(message.version)) as served:
            return _message("ModelConfigResponse", {"config": configuration(registry, served)})

    def model_statistics(message: Any, asked: Asked) -> Any:
        rows = statistics(registry, known, message.name or None, _version(message.version))
        return _message("ModelStatisticsResponse", {"model_stats": [_without_empty(row) for row in rows]})

    def model_infer(message: Any, asked: Asked) -> Steps[Any]:
        return _infer(message, asked, lambda share: read_infer(message, share))

    def model_stream_infer(message: Any, asked: Asked) -> Steps[Any]:
        response = yield from _infer(
            message, asked, lambda share: read_infer(message, share, frozenset({_ASKS_FOR_FINAL}))
        )
        if message.parameters[_ASKS_FOR_FINAL].bool_param:
            response.parameters[_FINAL].bool_param = True
        return message_class(f"{_PACKAGE}.ModelStreamInferResponse")(infer_response=response)

    def _infer(message: Any, asked: Asked, parse: Callable[[Share], Any]) -> Steps[Any]:
        version = _version(message.model_version)
        inferred = yield from infer(
            registry,
            (message.model_name, version, None),
            asked.record,
            parse,
            lambda timeout_s: asked.caller(registry, timeout_s),
        )
        return write_infer(inferred)

    def repository_index(message: Any, asked: Asked) -> Any:
        _check_repository(message)
        return _message("RepositoryIndexResponse", {"models": index(registry, ready=message.ready)})

    def load(message: Any, asked: Asked) -> Any:
        _check_repository(message)
        load_newest(registry, message.model_name, message.parameters, asked.request_id)
        return _message("RepositoryModelLoadResponse", {})

    def unload(message: Any, asked: Asked) -> Any:
        _check_repository(message)
        unload_all(registry, message.model_name, message.parameters, asked.request_id)
        return _message("RepositoryModelUnloadResponse", {})

    def trace_setting(message: Any, asked: Asked) -> Any:
        _refuse_settings(
            message, "how traces are made says the service's start: --tracing, and OTEL_... of its SDK"
        )
        return _message("TraceSettingResponse", {})

    def log_settings(message: Any, asked: Asked) -> Any:
        _refuse_settings(message, "how the log is written says the service's start: --log")
        return _message("LogSettingsResponse", {})

    def shared_memory(message: Any, asked: Asked) -> Any:
        raise UnsupportedError("there is no shared memory here. Send tensors in the request.")

    table: dict[str, tuple[Answer, Scope, LaneName]] = {
        "ServerLive": (live, "open", "instant"),
        "ServerReady": (ready, "open", "instant"),
        "ModelReady": (model_ready, "infer", "quick"),
        "ServerMetadata": (server_metadata, "infer", "quick"),
        "ModelMetadata": (model_metadata, "infer", "quick"),
        "ModelConfig": (model_config, "infer", "quick"),
        "ModelStatistics": (model_statistics, "infer", "quick"),
        "ModelInfer": (model_infer, "infer", "work"),
        "RepositoryIndex": (repository_index, "infer", "quick"),
        "RepositoryModelLoad": (load, "admin", "quick"),
        "RepositoryModelUnload": (unload, "admin", "quick"),
        "TraceSetting": (trace_setting, "infer", "quick"),
        "LogSettings": (log_settings, "infer", "quick"),
        **{
            f"{kind}{verb}": (shared_memory, "infer", "quick")
            for kind in _MEMORY
            for verb in ("Status", "Register", "Unregister")
        },
    }
    made = {
        f"/{SERVICE}/{name}": Method(f"{_PACKAGE}.{name}Request", answer, scope, lane)
        for name, (answer, scope, lane) in table.items()
    }
    stream = Method(REQUEST, model_stream_infer, "infer", "work", _refusal)
    return {**made, f"/{SERVICE}/ModelStreamInfer": stream}


def _message(name: str, values: dict[str, Any]) -> Any:
    return message_of(f"{_PACKAGE}.{name}", values)


def _version(text: str) -> int | None:
    """The version that a message names.

    Raises:
        UnknownModelError: it is no number.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise UnknownModelError(
            f"the version is {text[:40]!r}; expected a whole number, or nothing for the current one."
        )
    return int(text)


def _refusal(message: Any, failure: Failure) -> Any:
    """An error in a stream, which goes on; the id says whose it is, where the message was read."""
    response = message_class(f"{_PACKAGE}.ModelStreamInferResponse")(error_message=failure.message)
    if message is not None:
        response.infer_response.id = message.id
        response.infer_response.model_name = message.model_name
        response.infer_response.model_version = message.model_version
    return response


def _check_repository(message: Any) -> None:
    if message.repository_name:
        raise InputError(
            f"the repository is {message.repository_name[:60]!r}; there is one here, without a name."
        )


def _refuse_settings(message: Any, why: str) -> None:
    if message.settings:
        raise UnsupportedError(f"settings are not changed here: {why}.")


def _without_empty(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value not in ({}, [])}
