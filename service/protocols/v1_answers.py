"""What the routes of /v1 answer: types, which the document describes, and models as they are listed."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NotRequired, TypedDict, cast

from models.card import Cut, ModelCard
from models.errors import UnknownModelError
from service.encoding import Result
from service.registry import Family, Registry, State
from service.served import Served
from service.shapes import Fault


class ClassifiedImage(Result, total=False):
    """One image of the request: what the model says of it, or why it says nothing."""

    image: Annotated[str, "The name of its file, or its place in the request."]
    error: Fault


class Classification(TypedDict):
    """A result for each image, in the order of the request."""

    model: str
    results: list[ClassifiedImage]


class ImageFeatures(TypedDict, total=False):
    """One image of the request: its features, or why there are none."""

    image: Annotated[str, "The name of its file, or its place in the request."]
    shape: list[int]
    features: Annotated[list[Any] | str, "Numbers in lists of that shape, or base64 of them."]
    error: Fault


class Features(TypedDict):
    """The features of each image, in the order of the request."""

    model: str
    cut: Annotated[str, "Where the network was cut."]
    results: list[ImageFeatures]


class ListedCut(TypedDict):
    """A tensor at which the network can be cut."""

    name: str
    shape: Annotated[list[int], "Without the batch; -1 where it is not fixed."]


class ModelRow(TypedDict, total=False):
    """A version of a model. One that is not ready has its name, version, state and reason alone."""

    name: str
    version: int
    state: State
    reason: Annotated[str, "Why it could not be loaded."]
    labels: Annotated[dict[str, int], "Labels of the model, and the version that each stands for."]
    task: str
    description: str
    input_size: Annotated[list[int], "Height and width."]
    classes: int
    cuts: list[ListedCut]
    device: str
    plan: Annotated[str, "How it is run."]


class ModelList(TypedDict):
    """All models that the service was started with, or has loaded since."""

    models: list[ModelRow]
    default: Annotated[str, "The one that answers where a request names none."]


class VersionState(TypedDict):
    """A version of a model."""

    version: int
    state: State
    reason: NotRequired[Annotated[str, "Why it could not be loaded."]]


class ModelDetails(ModelRow, total=False):
    """A model: the version that answers, where there is one, and what else there is."""

    versions: list[VersionState]
    card: ModelCard


def model_list(registry: Registry) -> ModelList:
    """All models, those that answer first."""
    rows = [
        _row(served, family) for family in registry.families.values() for served in family.versions.values()
    ]
    for (name, version), (state, reason) in sorted(registry.states.items()):
        if state != "ready":
            rows.append(_unready(name, version, state, reason))
    return {"models": rows, "default": registry.default}


def model_details(registry: Registry, name: str, version: int | None, label: str | None) -> ModelDetails:
    """One model, also while it is loaded and where it could not be.

    Raises:
        UnknownModelError: there is no such model, version or label.
    """
    name = registry.known_name(name)
    states = {number: state for (known, number), state in sorted(registry.states.items()) if known == name}
    versions = [_version(number, *state) for number, state in states.items()]
    if states and name not in registry.families:  # none is ready
        number = max(states) if version is None else version
        if number not in states or label is not None:
            raise UnknownModelError(f"model {name} has no such version or label; no version of it is ready.")
        unready: ModelDetails = {**_unready(name, number, *states[number]), "versions": versions}  # type: ignore[typeddict-item]
        return unready
    with registry.use(name, version, label) as served:
        card = dataclasses.asdict(served.model.card)  # its type in JSON
        row = _row(served, registry.families.get(name, Family()))
        return cast(ModelDetails, {**row, "versions": versions, "card": card})


def _version(number: int, state: State, reason: str) -> VersionState:
    if state == "failed":
        return {"version": number, "state": state, "reason": reason}
    return {"version": number, "state": state}


def _unready(name: str, version: int, state: State, reason: str) -> ModelRow:
    row: ModelRow = {"name": name, "version": version, "state": state}
    if state == "failed":
        row["reason"] = reason
    return row


def _row(served: Served, family: Family) -> ModelRow:
    """What a client needs to know of a version that answers."""
    model, card = served.model, served.model.card
    return {
        "name": served.name,
        "version": served.version,
        "state": "ready",
        "labels": dict(family.labels),
        "task": card.task,
        "description": card.description,
        "input_size": list(card.preprocessing.size),
        "classes": len(card.labels),
        "cuts": [_cut(cut) for cut in card.cuts],
        "device": str(model.session.device),
        "plan": str(served.plan),
    }


def _cut(cut: Cut) -> ListedCut:
    return {"name": cut.name, "shape": list(cut.shape)}
