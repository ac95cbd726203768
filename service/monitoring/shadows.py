"""Which models have a shadow, kept as models come, go and are relabelled."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.errors import GraftError, InputError
from models.runtime import RuntimeConfig
from models.zoo import find
from service.monitoring.shadow import Shadow
from service.served import Served

_RULE = re.compile(r"(?P<first>[^=:]+)=(?P<second>[^=:]+)(:(?P<version>[0-9]{1,18}))?")
_log = logging.getLogger("graft")


@dataclass(frozen=True)
class ShadowRule:
    """Which model answers unseen beside which: the version that answers of `first`, and one of `second`."""

    first: str
    second: str
    version: int | None = None  # None: the one that answers
    share: float = 0.1
    threshold: float = 0.05

    def __post_init__(self) -> None:
        for name, value in (("share", self.share), ("threshold", self.threshold)):
            most = 1.0 if name == "share" else math.nextafter(1.0, 0.0)
            if not (isinstance(value, int | float) and 0 < value <= most):
                raise InputError(f"{name} is {value}; expected a number above 0 and at most 1, such as 0.1.")

    def __str__(self) -> str:
        return f"{self.first}={self.second}" + (f":{self.version}" if self.version is not None else "")


@dataclass(frozen=True)
class Running:
    """A shadow at work, and whose it is."""

    first: Served
    second: Served
    shadow: Shadow


@dataclass
class Standing:
    """A rule, and what became of it."""

    rule: ShadowRule
    running: Running | None = None
    waits_for: str = ""  # why nothing is compared
    note: str = ""  # why it began anew


def rules_of(entries: tuple[str, ...], share: float, threshold: float) -> list[ShadowRule]:
    """What each `NAME=MODEL:VERSION` stands for.

    Raises:
        InputError: one has another form, two are about one model, or share or threshold are none.
    """
    rules: dict[str, ShadowRule] = {}
    for entry in entries:
        match = _RULE.fullmatch(entry)
        if match is None:
            raise InputError(
                f"the shadow is {entry[:80]!r}; expected NAME=MODEL or NAME=MODEL:VERSION, such as cats=cats:2."
            )
        version = int(match["version"]) if match["version"] else None
        rule = ShadowRule(_known(match["first"]), _known(match["second"]), version, share, threshold)
        if rules.setdefault(rule.first, rule) is not rule:
            raise InputError(f"{rules[rule.first]} and {rule} are about one model. Give one of them.")
        if rule.first == rule.second and version is None:
            raise InputError(f"{rule}: a model cannot be its own shadow; name another version: {rule}:2.")
    return list(rules.values())


def _known(name: str) -> str:
    """The name under which a model is served, for an alias of the zoo."""
    row = find(name)
    return name if row is None else row.name


class Shadows:
    """The shadows of a registry. `follow` is called when something has changed there."""

    def __init__(
        self,
        rules: list[ShadowRule],
        get: Callable[[str, int | None], Served],
        runtime: Callable[[], RuntimeConfig],
    ) -> None:
        """`get` gives what is served by name and version; `runtime`, how models run."""
        self._get, self._runtime = get, runtime
        self._standing = {rule.first: Standing(rule) for rule in rules}
        self._changing = threading.RLock()

    @property
    def standing(self) -> Mapping[str, Standing]:
        """All rules, by the name of the model that has the shadow."""
        return dict(self._standing)

    def put(self, rule: ShadowRule) -> Standing:
        """Begin to compare, in place of what was compared before.

        Raises:
            UnknownModelError, BusyError: one of the models is not served.
            InputError: they are one, or cannot be compared.
            GraftError: the shadow cannot be opened.
        """
        with self._changing:
            standing = Standing(rule)
            self._begin(standing, *self._pair(rule))
            self._drop(rule.first)
            self._standing[rule.first] = standing
            return standing

    def remove(self, first: str) -> bool:
        """Compare no more; returns whether there was something."""
        with self._changing:
            return self._drop(first)

    def follow(self, *, strict: bool = False) -> None:
        """See that every rule compares the versions that are served now; what cannot be is said and waits.

        Raises:
            GraftError: as `put`, where it is to be `strict`.
        """
        with self._changing:
            for standing in list(self._standing.values()):
                try:
                    self._follow(standing)
                except GraftError as exc:
                    if strict:
                        raise
                    self._stop(standing)
                    if standing.waits_for != str(exc):
                        standing.waits_for = str(exc)
                        _log.warning("the shadow %s waits: %s", standing.rule, exc)

    def close(self) -> None:
        """End all of them."""
        with self._changing:
            for name in list(self._standing):
                self._drop(name)

    def _follow(self, standing: Standing) -> None:
        first, second = self._pair(standing.rule)
        running = standing.running
        if running is not None and (running.first, running.second) == (first, second):
            return
        self._begin(standing, first, second)
        if running is not None:
            other = running.first if running.first is not first else running.second
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            standing.note = (
                f"anew since {now}: {other.name} version {other.version} was replaced or loaded again"
            )

    def _pair(self, rule: ShadowRule) -> tuple[Served, Served]:
        first, second = self._get(rule.first, None), self._get(rule.second, rule.version)
        if first is second:
            raise InputError(
                f"{rule}: version {first.version} of {first.name} answers itself; it has no shadow."
            )
        return first, second

    def _begin(self, standing: Standing, first: Served, second: Served) -> None:
        """Open the shadow with a session of its own, and let it hear."""
        rule = standing.rule
        runtime = dataclasses.replace(self._runtime(), threads=1)
        model = second.reopened(runtime) if second.model.session.config != runtime else second.model
        shadow = Shadow(
            first.model.card, model, rule.share, rule.threshold, queued=lambda: first.batcher.queued
        )
        self._stop(standing)
        standing.running, standing.waits_for = Running(first, second, shadow), ""
        first.listen(shadow.hear)

    def _stop(self, standing: Standing) -> None:
        running, standing.running = standing.running, None
        if running is not None:
            running.first.unlisten(running.shadow.hear)
            running.shadow.close()

    def _drop(self, first: str) -> bool:
        standing = self._standing.pop(first, None)
        if standing is not None:
            self._stop(standing)
        return standing is not None
