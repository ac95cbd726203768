"""What is known of the models that are served beside their answers: /v1/models/NAME/drift and .../shadow."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Literal, TypedDict, get_args

from flask import Response, jsonify

from service.encoding import seven
from service.monitoring.chances import exact_interval
from service.monitoring.drift import FALSE_ALARMS, Comparison, Drift, DriftState, verdict
from service.monitoring.shadow import CONFIDENT, Dropped, Shadow, ShadowState, Statement, Verdict
from service.monitoring.shadows import Standing
from service.openapi.routes import Routes
from service.protocols.v1_parameters import NamedModel, OfModel
from service.registry import Registry
from service.served import Served

_PAIRS = 10  # that are shown
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


class Opinion(TypedDict):
    """What a model says of an image."""

    answer: Annotated[str, "A class, `none of these`, labels, or a number."]
    probability: Annotated[float | None, "Of the best class; null for a regression."]


class DifferingImage(TypedDict):
    """An image of which the two say different things; the image itself is not kept."""

    at: Annotated[str, "UTC."]
    model: Opinion
    shadow: Opinion


class DifferingPair(TypedDict):
    """Two answers that were given for the same images."""

    model: str
    shadow: str
    images: int


class SureImages(TypedDict):
    """Images of whose class the model was sure."""

    probability: Annotated[float, "From which it counts as sure."]
    images: int
    agreements: int
    rate: Annotated[float | None, "Of agreement; null where there is none."]
    interval: Annotated[list[float], "In which that lies, 95 %, exact, for one look."]


class UnsharedClasses(TypedDict):
    """Classes that one of the two does not have: of them the two cannot agree."""

    model: list[str]
    shadow: list[str]


class ShadowOf(TypedDict):
    """Which model answers unseen."""

    name: str
    version: int


class ShadowCounts(TypedDict, total=False):
    """What was counted, where a shadow is at work."""

    shadow: ShadowOf
    since: Annotated[str, "UTC: when counting began."]
    note: Annotated[str, "Why it began anew."]
    share: Annotated[float, "Of all time that the shadow may be at work."]
    seconds: Annotated[float, "That it was."]
    threshold: Annotated[float, "How often it may say something else."]
    images: Annotated[int, "That both have answered."]
    disagreements: int
    rate: Annotated[float | None, "Of disagreement; null where there is no image yet."]
    interval: Annotated[list[float], "In which that lies, 95 %, exact (Clopper and Pearson), for one look."]
    verdict: Annotated[
        Verdict, "Whether they disagree more or less often than the threshold; holds however often one looks."
    ]
    p_more: Annotated[float, "How likely as much would be seen, ever, if they disagreed no more than that."]
    p_less: Annotated[float, "The same, if they disagreed no less than that."]
    sure: SureImages
    dropped: Annotated[
        dict[str, int], "Images the shadow did not see: it was busy, had to rest, or others waited."
    ]
    failed: Annotated[int, "Images of which the shadow has no answer."]
    last_error: str
    unshared: UnsharedClasses
    pairs: Annotated[list[DifferingPair], "The most frequent ones."]
    examples: Annotated[list[DifferingImage], "The last ones."]


class ShadowAnswer(ShadowCounts):
    """How often a shadow says something else than its model; which of them is right it cannot tell."""

    model: str
    version: Annotated[int | None, "The one that is compared; null where none is."]
    state: Annotated[Literal["none", "waiting", "running"], "waiting: one of the two is not served."]
    sentence: Annotated[str, "The same in words."]


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

    @routes.get("/models/{name}/shadow", NamedModel, answer=ShadowAnswer, statuses=(404,))
    def shadow(given: NamedModel) -> Response:
        """Tells how often the shadow of a model says something else, and whether that is more than a threshold.

        A shadow answers some of the images unseen; no client waits for it.
        """
        name = registry.known_name(given.name)
        standing = registry.shadows.standing.get(name)
        if standing is None:
            registry.get(name)
        return jsonify(shadow_json(name, standing))

    return routes


def shadow_json(name: str, standing: Standing | None) -> ShadowAnswer:
    """What is known of the shadow of a model."""
    if standing is None:
        return {"model": name, "version": None, "state": "none", "sentence": f"{name} has no shadow"}
    running = standing.running
    if running is None:
        why = f"{standing.rule} waits: {standing.waits_for}"
        return {"model": name, "version": None, "state": "waiting", "sentence": why}
    second, shadow = running.second, running.shadow
    state = shadow.state
    sure = state.confident - state.confident_disagreements
    counts: ShadowCounts = {
        "shadow": {"name": second.name, "version": second.version},
        "since": _utc(shadow.began),
        "note": standing.note,
        "share": shadow.share,
        "seconds": seven(state.seconds),
        "threshold": shadow.threshold,
        "images": state.images,
        "disagreements": state.disagreements,
        "rate": seven(state.disagreements / state.images) if state.images else None,
        "interval": list(map(seven, state.interval)),
        "verdict": state.verdict,
        "p_more": seven(min(1.0, math.exp(-state.more))) if state.images else 1.0,
        "p_less": seven(min(1.0, math.exp(-state.less))) if state.images else 1.0,
        "sure": {
            "probability": CONFIDENT,
            "images": state.confident,
            "agreements": sure,
            "rate": seven(sure / state.confident) if state.confident else None,
            "interval": list(map(seven, exact_interval(sure, state.confident))),
        },
        "dropped": {reason: state.dropped[reason] for reason in get_args(Dropped)},
        "failed": state.failed,
        "last_error": state.last_error,
        "unshared": {"model": list(shadow.unshared[0]), "shadow": list(shadow.unshared[1])},
        "pairs": [
            {"model": pair[0], "shadow": pair[1], "images": count}
            for pair, count in state.pairs.most_common(_PAIRS)
        ],
        "examples": [
            {"at": _utc(one.at), "model": _opinion(one.first), "shadow": _opinion(one.second)}
            for one in reversed(state.examples)
        ],
    }
    return {
        "model": name,
        "version": running.first.version,
        "state": "running",
        "sentence": _shadow_sentence(f"{second.name} version {second.version}", shadow, state),
        **counts,
    }


def _shadow_sentence(name: str, shadow: Shadow, state: ShadowState) -> str:
    if not state.images:
        return f"{name} has answered no image yet"
    low, high = state.interval
    often = {
        "more": f"more often than {shadow.threshold:.1%}",
        "less": f"less often than {shadow.threshold:.1%}",
        "undecided": f"whether more or less often than {shadow.threshold:.1%} is undecided",
    }[state.verdict]
    return (
        f"{name} says something else of {state.disagreements:,} of {state.images:,} images "
        f"({state.disagreements / state.images:.1%}, 95 % interval {low:.1%} to {high:.1%}): {often}; which of the two "
        "is right only the truth could tell"
    )


def _opinion(one: Statement) -> Opinion:
    return {
        "answer": one.text,
        "probability": None if one.probability is None else seven(one.probability),
    }


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
