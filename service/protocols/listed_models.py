"""What /v1/models says to clients of other servers: the path is Graft's, TensorFlow Serving's and OpenAI's at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypedDict

from models.errors import UnknownModelError
from service.registry import Registry, State

_STATES: dict[State, Literal["AVAILABLE", "LOADING", "END"]] = {
    "ready": "AVAILABLE",
    "loading": "LOADING",
    "failed": "END",
}


class OpenAIModel(TypedDict):
    """A model as OpenAI's clients list it."""

    id: Annotated[str, "The name."]
    object: Literal["model"]
    created: Annotated[int, "When it was loaded, in seconds since 1970; 0 while it is not."]
    owned_by: Literal["graft"]


class VersionError(TypedDict):
    """Whether a version could be loaded."""

    error_code: Literal["OK", "UNKNOWN"]
    error_message: Annotated[str, "Why it could not be loaded."]


class VersionStatus(TypedDict):
    """A version as TensorFlow Serving tells its status."""

    version: Annotated[str, "A number, as text."]
    state: Literal["AVAILABLE", "LOADING", "END"]
    status: VersionError


def openai_model(registry: Registry, name: str) -> OpenAIModel:
    """A model as OpenAI's clients list it."""
    family = registry.families.get(name)
    current = family.versions.get(family.current or 0) if family is not None else None
    created = current.loaded_at if current is not None else 0
    return {"id": name, "object": "model", "created": created, "owned_by": "graft"}


def openai_models(registry: Registry) -> list[OpenAIModel]:
    """The models that answer."""
    return [openai_model(registry, name) for name in registry.families]


def version_status(registry: Registry, name: str, version: int | None = None) -> list[VersionStatus]:
    """The versions of a model, or one of them, the newest first.

    Raises:
        UnknownModelError: there is none.
    """
    states = {
        number: state
        for (known, number), state in registry.states.items()
        if known == name and version in (None, number)
    }
    if not states:
        which = f"model {name!r}" if version is None else f"version {version} of model {name!r}"
        raise UnknownModelError(f"{which} is not known here; there is {_known(registry.states)}.")
    return [_status(number, *states[number]) for number in sorted(states, reverse=True)]


def _status(version: int, state: State, reason: str) -> VersionStatus:
    error: VersionError = {"error_code": "UNKNOWN" if state == "failed" else "OK", "error_message": reason}
    return {"version": str(version), "state": _STATES[state], "status": error}


def _known(keys: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} version {version}" for name, version in keys) or "none"
