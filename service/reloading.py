"""A configuration that is read again while the service runs: what of it counts at once, and which models it has now."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from models.errors import GraftError
from models.settings import updated
from service.config import ServiceConfig
from service.configuration import Configuration
from service.front.limits import Limits
from service.logs import Say
from service.registry import Registry
from service.sources import Label, Source, same_place

# Settings that count at once, for what comes from then on. The others are built into threads, sockets and sessions.
LIVE = frozenset(
    {
        "models", "labels", "watch_s", "measure_s", "no_proof", "repository", "tokens", "cert", "key", "cors_origins",
        "allow_urls", "fetch_s",
        "max_request_mb", "max_images", "max_values", "max_pixels", "max_pixels_per_request", "max_queued", "timeout_s",
        "datasets_root",
        "header_bytes", "header_fields", "header_s", "idle_s", "body_s", "body_rate", "send_s", "drain_s", "stop_s",
    }
)  # fmt: skip


def merged(before: Configuration, after: Configuration) -> tuple[Configuration, list[str]]:
    """What may count at once of `after`, the rest as `before`; and the names of the rest that would be another."""
    old, new = before.values, after.values
    differing = [name for name in new if new[name] != old[name]]
    values = {name: new[name] for name in differing if name in LIVE}
    of_limits = {name: value for name, value in values.items() if name in vars(Limits())}
    of_config = {name: value for name, value in values.items() if name not in of_limits}
    origins = {name: (after if name in LIVE else before).origins[name] for name in new}
    config: ServiceConfig = updated(before.config, of_config)
    limits = dataclasses.replace(updated(before.limits, of_limits), body_bytes=config.max_request_bytes)
    return Configuration(config, limits, origins), [name for name in differing if name not in LIVE]


def follow(
    registry: Registry, wanted: Sequence[Source], labels: Sequence[Label], say: Say, warn: Say
) -> None:
    """Serve what a configuration has now: open what is new or was written, move labels, unload what is gone.

    Only what differs from the configuration before is done: what an administrator has loaded, unloaded or labelled
    since then stays. What cannot be done is said, and what was served in its place goes on; where one that is named
    cannot be served at all, all that was served does.
    """
    known = {(source.name, source.version): source for source in registry.sources}
    missing: list[Source] = []
    wishes = {(source.name, source.version): source for source in wanted}
    for key, source in wishes.items():
        if _needed(registry, source, known.get(key)):
            try:
                registry.open(source)
            except GraftError as exc:
                if source.origin == "named" and not _serves(registry, source):
                    missing.append(source)
                text = f"{source.name} version {source.version} is not served: {exc}"
                warn(
                    text, event="refused", error=type(exc).__name__, model=source.name, version=source.version
                )
            else:
                text = f"{source.name} version {source.version} is served from {source.spec}"
                say(text, event="loaded", model=source.name, version=source.version)
    _move_labels(registry, labels, say, warn)
    for served in registry.served:
        key = (served.name, served.version)
        if key in wishes or served.source.origin not in ("named", "folder"):
            continue
        if missing:  # a name that is misspelt takes nothing from clients
            warn(f"{served.name} version {served.version} goes on until {missing[0].name} can be served")
            continue
        try:
            registry.unload(*key)
        except GraftError as exc:
            warn(f"{served.name} version {served.version} goes on: {exc}")
        else:
            text = f"{served.name} version {served.version} is not served any more"
            say(text, event="retired", model=served.name, version=served.version)
    for key in known.keys() - wishes.keys():
        registry.forget(*key)
    registry.sources, registry.labels = [*wanted], [*labels]
    if wanted[0] not in missing:
        registry.default = wanted[0].name


def _serves(registry: Registry, source: Source) -> bool:
    """Whether anything answers for the name and version of a source."""
    family = registry.families.get(source.name)
    return family is not None and source.version in family.versions


def _needed(registry: Registry, source: Source, known: Source | None) -> bool:
    """Whether a version has to be opened. `known`: as the configuration had it before."""
    state, _ = registry.states.get((source.name, source.version), ("", ""))
    family = registry.families.get(source.name)
    served = family.versions.get(source.version) if family is not None else None
    here = served is not None and same_place(served.source.spec, source.spec)
    if known is None or known.spec != source.spec:
        return served is None or not here or served.changed
    if served is None:  # an administrator may have unloaded it
        return state == "failed"
    return here and served.changed


def _move_labels(registry: Registry, labels: Sequence[Label], say: Say, warn: Say) -> None:
    gone = [label for label in registry.labels if label not in labels]
    moved = [label for label in labels if label not in registry.labels]
    for label in gone:
        family = registry.families.get(label.name)
        others = {(one.name, one.label) for one in moved}
        if (
            family is None
            or family.labels.get(label.label) != label.version
            or (label.name, label.label) in others
        ):
            continue
        registry.move_label(label.name, label.label, None)
        say(f"{label} stands no longer", event="labelled", model=label.name)
    for label in moved:
        try:
            registry.move_label(label.name, label.label, label.version)
        except GraftError as exc:
            warn(f"the label {label} does not stand: {exc}")
        else:
            say(f"{label} stands", event="labelled", model=label.name, version=label.version)
