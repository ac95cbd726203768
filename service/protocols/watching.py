"""What is known of the models that are served beside their answers: /v1/models/NAME/drift."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypedDict

from flask import Response, jsonify

from service.encoding import seven
from service.monitoring.drift import FALSE_ALARMS, Comparison, Drift, DriftState, verdict
from service.openapi.routes import Routes
from service.protocols.v1_parameters import OfModel
from service.registry import Registry
from service.served import Served

DriftKind = Literal["none", "collecting", "quiet", "mixed", "alarm"]


class ComparedWith(TypedDict):
    """What the file of a model tells of the images that it was taught with."""

    images: Annotated[int, "That were held out in training."]
    split: str
    axes: Annotated[int, "Along which the images are compared."]


class ChangedClass(TypedDict):
    """The class whose share is the least likely by chance."""

    id: str
    label: str
    share: Annotated[float, "Of the answers in the window."]
    expected: Annotated[float, "Of the answers for the images that were held out."]


class Window(TypedDict):
    """A window of live images, compared."""

    number: Annotated[int, "From 1, since the version was loaded."]
    ended: Annotated[str, "UTC."]
    images: int
    statistic: Annotated[float, "0 to 1: how far apart the means of both are, of the most that they can be."]
    distance: Annotated[float, "Between the means of both, in deviations, less what chance gives."]
    p_value: Annotated[float, "How likely images like those held out would give as large a difference."]
    p_features: Annotated[float, "Of what the images look like, within classes."]
    p_classes: Annotated[float | None, "Of the classes that are answered; null for a regression."]
    level: Annotated[float, "Below which either of them raises an alarm: it falls from window to window."]
    alarm: Annotated[bool, "Images look different within classes."]
    mixed: Annotated[bool, "Classes are answered in other shares."]
    changed: ChangedClass | None


class DriftCounts(TypedDict, total=False):
    """What was counted, where there is something to compare with."""

    window: Annotated[int, "Images that are compared at a time."]
    pending: Annotated[int, "Images of the window that is being filled."]
    windows: Annotated[int, "That were compared."]
    alarms: Annotated[int, "Windows whose images looked different."]
    mixed: Annotated[int, "Windows with other shares of classes."]
    unusable: Annotated[int, "Images that were left out, since their features were no numbers."]
    false_alarms: Annotated[
        float, "The chance that this version ever raises an alarm although nothing has changed."
    ]
    reference: ComparedWith
    last: Window | None
    last_alarm: Window | None


class DriftAnswer(DriftCounts):
    """Whether a model is shown images like those that it was taught with."""

    model: str
    version: int
    state: Annotated[
        DriftKind,
        "none: nothing to compare with, or it is switched off; collecting: no window is full yet; mixed: classes are "
        "answered in other shares; alarm: images look different.",
    ]
    sentence: Annotated[str, "The same in words."]
    since: Annotated[str, "UTC: when this version was loaded, and counting began anew."]


def routes(registry: Registry) -> Routes:
    """The routes, over the models of a registry."""
    routes = Routes("watching", "/v1")

    @routes.get("/models/{name}/drift", OfModel, answer=DriftAnswer, statuses=(404,))
    def drift(given: OfModel) -> Response:
        """Tells whether a model is shown images like those that it was taught with.

        Each full window of live images is compared once with what the file carries. Only images that the model itself
        answers for are counted, through whichever protocol; features and explanations are not.
        """
        with registry.use(given.name, *given.which) as served:
            return jsonify(_drift(served))

    return routes


def _drift(served: Served) -> DriftAnswer:
    drift = served.drift
    counts: DriftCounts = {}
    kind: DriftKind = "none"
    sentence, since = served.no_drift, _utc(served.loaded_at)
    if drift is not None:
        state = drift.state
        kind = "collecting"
        sentence = f"no window is full yet; {drift.window - state.pending:,} images are missing"
        if state.last is not None:
            kind = "alarm" if state.last.alarm else "mixed" if state.last.mixed else "quiet"
            windows = f"{state.windows:,} windows since {since}, {state.alarms:,} with an alarm"
            sentence = f"{verdict(state.last)}; {windows}"
        counts = _counts(drift, state)
    return {
        "model": served.name, "version": served.version, "state": kind, "sentence": sentence, "since": since, **counts,
    }  # fmt: skip


def _counts(drift: Drift, state: DriftState) -> DriftCounts:
    reference = drift.reference
    return {
        "window": drift.window,
        "pending": state.pending,
        "windows": state.windows,
        "alarms": state.alarms,
        "mixed": state.mixed,
        "unusable": state.unusable,
        "false_alarms": FALSE_ALARMS,
        "reference": {"images": reference.images, "split": reference.split, "axes": reference.width},
        "last": _window(state.last),
        "last_alarm": _window(state.last_alarm),
    }


def _window(one: Comparison | None) -> Window | None:
    if one is None:
        return None
    changed = one.changed
    return {
        "number": one.number,
        "ended": _utc(one.ended),
        "images": one.images,
        "statistic": seven(one.statistic),
        "distance": seven(one.distance),
        "p_value": seven(one.p_value),
        "p_features": seven(one.p_features),
        "p_classes": None if one.p_classes is None else seven(one.p_classes),
        "level": seven(one.level),
        "alarm": one.alarm,
        "mixed": one.mixed,
        "changed": None
        if changed is None
        else {
            "id": changed.label.id,
            "label": changed.label.name,
            "share": seven(changed.share),
            "expected": seven(changed.expected),
        },
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
