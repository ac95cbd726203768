"""What the routes of /v1 answer: types, which the document describes, and models as they are listed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict, cast

from models.card import Cut, ModelCard
from models.errors import UnknownModelError
from service.encoding import Result, seven
from service.explaining import Photo
from service.protocols.listed_models import (
    OpenAIModel,
    VersionStatus,
    openai_model,
    openai_models,
    version_status,
)
from service.registry import Family, Registry, State
from service.served import Served
from service.shapes import Fault

if TYPE_CHECKING:
    from finetune.explain.heatmap import Heatmap


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


class ClassMap(TypedDict):
    """Where on the photo something speaks for a class."""

    id: str
    label: Annotated[str, "What people call the class, or what a regression gives."]
    probability: Annotated[float | None, "From 0 to 1; null for a regression."]
    value: Annotated[float | None, "What a regression gives."]
    peak: Annotated[
        list[int] | None, "Where the most speaks for it: x, y on the upright photo. null: nothing does."
    ]
    map: Annotated[
        list[list[float]], "Rows of the part that was seen, from 0 to 1 where the most speaks for it."
    ]
    strength: Annotated[float, "What 1 in the map stands for: how strongly the logit grows there."]


class Explained(TypedDict):
    """What in the photo speaks for classes: Grad-CAM (Selvaraju et al. 2017)."""

    model: str
    image: Annotated[str, "The name of its file, or its place in the request."]
    size: Annotated[list[int], "Width and height of the upright photo."]
    seen: Annotated[
        list[float], "The part that the network sees: left, top, right, bottom in pixels of the photo."
    ]
    cut: Annotated[str, "The feature map that was looked at."]
    classes: Annotated[list[ClassMap], "Most probable first."]


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
    proof: Annotated[
        Literal["none", "holds", "failed"],
        "Whether it gives the answers here that its file carries; none: the file carries none.",
    ]
    proof_note: Annotated[str, "How exactly it does, or what differs."]


class ModelList(TypedDict):
    """All models that the service was started with, or has loaded since."""

    models: list[ModelRow]
    default: Annotated[str, "The one that answers where a request names none."]
    object: Annotated[Literal["list"], "For clients of OpenAI, like the next."]
    data: list[OpenAIModel]


class VersionState(TypedDict):
    """A version of a model."""

    version: int
    state: State
    reason: NotRequired[Annotated[str, "Why it could not be loaded."]]


class ModelDetails(ModelRow, total=False):
    """A model: the version that answers, where there is one, and what else there is.

    What is not Graft's own is for clients of OpenAI, and the last for those of TensorFlow Serving.
    """

    versions: list[VersionState]
    card: ModelCard
    id: str
    object: Literal["model"]
    created: Annotated[int, "When it was loaded, in seconds since 1970; 0 while it is not."]
    owned_by: Literal["graft"]
    model_version_status: list[VersionStatus]


def explained(served: Served, name: str, photo: Photo, maps: Sequence[Heatmap]) -> Explained:
    """Maps of a photo as they are answered; `name`: the image's."""
    across, down = photo.size[0] / photo.small.width, photo.size[1] / photo.small.height
    left, top, right, bottom = maps[0].box
    seen = (left * across, top * down, right * across, bottom * down)
    return {
        "model": served.name,
        "image": name,
        "size": list(photo.size),
        "seen": [round(edge, 1) for edge in seen],
        "cut": maps[0].cut,
        "classes": [_class_map(one) for one in maps],
    }


def _class_map(one: Heatmap) -> ClassMap:
    largest = float(one.raw.max())
    return {
        "id": one.label.id,
        "label": one.label.name,
        "probability": None if one.probability is None else seven(one.probability),
        "value": None if one.value is None else seven(one.value),
        "peak": [*one.peak] if one.peak is not None else None,
        "map": [[round(value / (largest or 1.0), 4) for value in line] for line in one.raw.tolist()],
        "strength": seven(largest),
    }


def model_list(registry: Registry) -> ModelList:
    """All models, those that answer first."""
    rows = [
        _row(served, family) for family in registry.families.values() for served in family.versions.values()
    ]
    for (name, version), (state, reason) in sorted(registry.states.items()):
        if state != "ready":
            rows.append(_unready(name, version, state, reason))
    return {"models": rows, "default": registry.default, "object": "list", "data": openai_models(registry)}


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
        unready = _unready(name, number, *states[number])
        return cast(ModelDetails, {**unready, "versions": versions, **_of_others(registry, name)})
    with registry.use(name, version, label) as served:
        card = dataclasses.asdict(served.model.card)  # its type in JSON
        row = _row(served, registry.families.get(name, Family()))
        others = _of_others(registry, name)
        return cast(ModelDetails, {**row, "versions": versions, "card": card, **others})


def _of_others(registry: Registry, name: str) -> dict[str, Any]:
    """What clients of other servers look for."""
    return {**openai_model(registry, name), "model_version_status": version_status(registry, name)}


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
        "proof": served.proof.state,
        "proof_note": served.proof.note,
    }


def _cut(cut: Cut) -> ListedCut:
    return {"name": cut.name, "shape": list(cut.shape)}
