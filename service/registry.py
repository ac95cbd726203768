"""The models that are served, by name and version. Readers never wait: a change is one assignment of a new mapping."""

from __future__ import annotations

import contextlib
import difflib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from models.cores import cores
from models.errors import BusyError, GraftError, InputError, ModelError, UnknownModelError
from models.model import Model
from models.zoo import find
from service.bodies.images import ImageBodies
from service.config import ServiceConfig
from service.decoding import Decoder
from service.explaining import Explaining
from service.monitoring.shadows import Shadows, rules_of
from service.planning import Plan, all_cores
from service.records import RequestRecord
from service.served import Served, Watch, file_stamp
from service.sources import Source, labels, sources
from service.tickets import BatchReport
from service.turns import Turns, end_turn

STABLE = "stable"  # the label that answers where a request names neither version nor label
_log = logging.getLogger("graft")
_LOADING_S = 2.0  # when to ask again while models are being loaded
State = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class Family:
    """The versions of one model, and labels that stand for some of them."""

    versions: Mapping[int, Served] = field(default_factory=lambda: MappingProxyType({}))
    labels: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def current(self) -> int | None:
        """The version that answers where none is named: the stable one, else the newest."""
        return self.labels.get(STABLE, max(self.versions, default=None))


class Registry:
    """Models by name. What is served now is one mapping that never changes; loading makes another."""

    def __init__(self, config: ServiceConfig) -> None:
        """Nothing is loaded yet. Who appends to `watchers` hears of every run of every model; to `label_watchers`, of
        each label that is about to be moved: model, label, and version or None.

        Raises:
            InputError: two models would have the same name, or a label or a shadow is none.
        """
        self.config = config
        self.sources = sources(config.models)
        self.labels = labels(config.labels)
        self.default = self.sources[0].name
        self.bodies = ImageBodies(config)
        self.explaining = Explaining(config.max_explaining)
        self.turns = Turns(cores())
        self.decoder = Decoder(config, self.turns)
        self.draining = False  # the service is about to stop
        self.states: dict[tuple[str, int], tuple[State, str]] = {
            (source.name, source.version): ("loading", "") for source in self.sources
        }
        self._awaited = tuple(dict.fromkeys(source.name for source in self.sources))
        rules = rules_of(config.shadows, config.shadow_share, config.shadow_threshold)
        self.shadows = Shadows(rules, self.get, lambda: self.config.runtime)
        self.watchers: list[Watch] = []
        self.label_watchers: list[Callable[[str, str, int | None], None]] = []
        self._families: Mapping[str, Family] = MappingProxyType({})
        self._writing = threading.Lock()
        self._loading = threading.Lock()
        self._asked = threading.Lock()

    # What is served

    @property
    def families(self) -> Mapping[str, Family]:
        """What is served at this moment, by name."""
        return self._families

    @property
    def served(self) -> list[Served]:
        """All versions that are served at this moment."""
        return [served for family in self._families.values() for served in family.versions.values()]

    @property
    def loading(self) -> list[str]:
        """Names of the models that were asked for at the start and are not warm yet."""
        return [name for name in self._awaited if name not in self._families]

    @property
    def seconds_to_empty(self) -> float:
        """How long the longest queue of images will take."""
        return max((served.batcher.seconds_to_empty for served in self.served), default=0.0)

    @contextlib.contextmanager
    def use(
        self,
        name: str | None = None,
        version: int | None = None,
        label: str | None = None,
        record: RequestRecord | None = None,
    ) -> Iterator[Served]:
        """A model, which stays open for the time of a `with` block; the request's record learns which it is.

        Raises:
            UnknownModelError, BusyError: as `get`.
        """
        served = self.get(name, version, label)
        while not served.enter():  # it was replaced in this moment
            served = self.get(name, version, label)
        if record is not None:
            record.model, record.version = served.name, served.version
        try:
            yield served
        finally:
            end_turn(of_job=False)
            served.leave()

    def get(self, name: str | None = None, version: int | None = None, label: str | None = None) -> Served:
        """The model of that name or alias, or the default one; its current version where none is named.

        Who runs it takes `use`.

        Raises:
            UnknownModelError: no such model, version or label is served.
            BusyError: it is still being loaded.
        """
        wanted = self.default if name is None else self.known_name(name)
        family = self._families.get(wanted)
        if family is None:
            raise self._missing(wanted)
        number = family.current if version is None and label is None else version
        if label is not None:
            number = family.labels.get(label)
            if number is None:
                known = ", ".join(sorted(family.labels)) or "none"
                raise UnknownModelError(f"model {wanted} has no label {label!r}; it has {known}.")
        if number is None or number not in family.versions:
            known = ", ".join(map(str, sorted(family.versions)))
            raise UnknownModelError(f"model {wanted} has no version {number} here; there is {known}.")
        return family.versions[number]

    def known_name(self, name: str) -> str:
        """The name under which a model is served, for an alias of the zoo; another name is its own."""
        row = find(name) if name not in self._families else None
        return name if row is None else row.name

    def _missing(self, name: str) -> GraftError:
        states = [state for (known, _), state in self.states.items() if known == name]
        if any(state == "loading" for state, _ in states):
            return BusyError(f"model {name} is still being loaded. Try again in a moment.", _LOADING_S)
        for state, reason in states:
            if state == "failed":
                return UnknownModelError(f"model {name} could not be loaded: {reason}")
        names = list(self._families) or [source.name for source in self.sources]
        close = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        return UnknownModelError(f"model {name!r} is not served here; there is {', '.join(names)}.{hint}")

    # Changes

    def load(self, report: Callable[[Source, GraftError], None] | None = None) -> None:
        """Load and warm all models, one after the other; each is served as soon as it is warm, with its labels.

        One of a folder that cannot be loaded is passed over, and `report` (else the log) hears of it.

        Raises:
            GraftError: as `Model.open`, for a model that somebody has named; none can be loaded; a label stands for
                a version that is not there.
        """
        for source in self.sources:
            try:
                self.open(source)
            except GraftError as exc:
                if source.origin == "named":
                    raise
                (report or _log_failure)(source, exc)
                continue
            for label in self.labels:
                if (label.name, label.version) == (source.name, source.version):
                    self.move_label(label.name, label.label, label.version)
        if not self._families:
            raise ModelError("none of the models could be loaded, so there is nothing to serve.")
        for label in self.labels:
            self.get(label.name, label.version)
        self.shadows.follow(strict=True)
        self._awaited = ()

    def open(self, source: Source) -> Served:
        """Load, warm and serve one version; one that has its number goes on until then, and retires.

        Raises:
            GraftError: as `Model.open`; what was served before goes on.
        """
        key = (source.name, source.version)
        with self._loading:  # one at a time: two that are measured at once would disturb each other
            if key not in self._ready():
                self.states[key] = ("loading", "")
            try:
                stamp = file_stamp(source.spec)
                model = Model.open(source.spec, all_cores(self.config.runtime))
                plan = self._plan_of_kin(source.name, model)
                served = Served(source, model, self.config, plan, self._tell, self.turns, stamp)
            except GraftError as exc:
                if key not in self._ready():
                    self.states[key] = ("failed", str(exc))
                raise
            self.put(served)
        return served

    def open_if_idle(self, source: Source) -> Served:
        """`open`, for somebody who asks while the service runs; one at a time, the others may come again.

        Raises:
            GraftError: as `open`.
            BusyError: another one is being loaded.
        """
        if not self._asked.acquire(blocking=False):
            raise BusyError("another model is being loaded. Try again in a moment.", _LOADING_S)
        try:
            return self.open(source)
        finally:
            self._asked.release()

    def heed(self, config: ServiceConfig) -> None:
        """Hold requests that come from now on to other limits."""
        self.config = self.decoder.config = self.bodies.config = config
        for served in self.served:
            served.batcher.most_queued = config.max_queued

    def put(self, served: Served) -> None:
        """Serve a version, in place of the one that had its number. Requests that have the old one finish with it."""
        name, version = served.name, served.version

        def with_it(family: Family) -> Family:
            return replace(family, versions=MappingProxyType({**family.versions, version: served}))

        old = self._families.get(name, Family()).versions.get(version)
        self._change(name, with_it)
        self.states[name, version] = ("ready", "")
        self._follow()
        if old is not None:
            old.retire()

    def unload(self, name: str, version: int | None = None) -> None:
        """Serve a version, or all of a model, no longer; memory is given back when the last request has left.

        Raises:
            UnknownModelError: it is not served.
            InputError: a label stands for it.
        """
        name = self.known_name(name)
        self.get(name, version)
        retired: list[Served] = []

        def without(family: Family) -> Family:
            gone = [version] if version is not None else list(family.versions)
            labels = [label for label, number in family.labels.items() if number in gone]
            if labels and version is not None:
                raise InputError(f"version {version} of {name} is {', '.join(labels)}. Move the label first.")
            # Somebody else may just have unloaded it.
            retired.extend(family.versions[number] for number in gone if number in family.versions)
            versions = {number: one for number, one in family.versions.items() if number not in gone}
            kept = {label: number for label, number in family.labels.items() if number not in gone}
            return Family(MappingProxyType(versions), MappingProxyType(kept))

        self._change(name, without)
        for served in retired:
            self.states.pop((name, served.version), None)
            served.retire()
        self._follow()

    def forget(self, name: str, version: int) -> None:
        """List a version no longer that could not be loaded, and that nobody wants any more."""
        state, _ = self.states.get((name, version), (None, ""))
        if state == "failed":
            self.states.pop((name, version), None)

    def move_label(self, name: str, label: str, version: int | None) -> None:
        """Let a label stand for a version that is served, and so warm; None takes the label away.

        Raises:
            UnknownModelError: no such model, version or label is served.
            InputError: the label is a number.
        """
        if not label or label.isdecimal():
            raise InputError(f"the label is {label!r}; expected a word such as {STABLE} or canary.")
        name = self.known_name(name)
        self.get(name, version, label if version is None else None)

        def labelled(family: Family) -> Family:
            if version is not None and version not in family.versions:
                raise UnknownModelError(f"model {name} has no version {version} here.")
            labels = {key: number for key, number in family.labels.items() if key != label}
            return replace(
                family, labels=MappingProxyType(labels if version is None else {**labels, label: version})
            )

        for hear in self.label_watchers:  # before it is done: what cannot be remembered is not done
            hear(name, label, version)
        self._change(name, labelled)
        self._follow()

    def close(self) -> None:
        """Serve nothing any more; memory is given back when the last request has left."""
        self.shadows.close()
        with self._writing:
            families, self._families = self._families, MappingProxyType({})
        for family in families.values():
            for served in family.versions.values():
                served.retire()
        self.explaining.close()

    def _change(self, name: str, change: Callable[[Family], Family]) -> None:
        with self._writing:
            families = {**self._families, name: change(self._families.get(name, Family()))}
            self._families = MappingProxyType(
                {key: family for key, family in families.items() if family.versions}
            )

    def _follow(self) -> None:
        """Shadows stand beside what is served now; at the start not before all of it is there."""
        if not self._awaited:
            self.shadows.follow()

    def _tell(self, name: str, version: int, report: BatchReport) -> None:
        """Let all watchers hear of a run. It goes on, and its callers have their rows, whatever one of them does."""
        for watch in self.watchers:
            try:
                watch(name, version, report)
            except Exception:
                _log.exception("a run of %s was not watched", name)

    def _ready(self) -> set[tuple[str, int]]:
        return {(served.name, served.version) for served in self.served}

    def _plan_of_kin(self, name: str, model: Model) -> Plan | None:
        """How another version is run, which was measured in quiet: under load a measurement is worth little."""
        for served in self._families.get(name, Family()).versions.values():
            if served.model.card.preprocessing.size == model.card.preprocessing.size:
                return served.plan
        return None


def _log_failure(source: Source, error: GraftError) -> None:
    logging.getLogger("graft").error("%s version %d is not served: %s", source.name, source.version, error)
