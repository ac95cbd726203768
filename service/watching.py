"""Folders of models that are looked at from time to time: what is new there is served, what is gone is not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import GraftError
from service.logs import Say
from service.registry import Registry
from service.served import Served
from service.sources import Source, in_folder, same_place

_log = logging.getLogger("graft")
Stamp = tuple[int, int, int]


@dataclass
class _Seen:
    """A file as it was looked at last, and what became of it."""

    stamp: Stamp
    handled: bool = False  # loaded, or refused for good unless it changes
    clash: str = ""  # why it cannot be served while another one is


class Watcher:
    """Compares folders with what is served. `look` does it once; `start` does it again and again in a thread."""

    def __init__(
        self,
        registry: Registry,
        folders: Sequence[Path],
        say: Say = lambda text, **facts: _log.info(text, extra=facts),
    ) -> None:
        """What the registry serves from the folders now counts as loaded."""
        self._registry, self._folders, self._say = registry, folders, say
        self._seen: dict[Source, _Seen] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for source in self._sources():
            if self._serves(source) and (stamp := _stamp(source)):
                self._seen[source] = _Seen(stamp, handled=True)

    def start(self, every_s: float) -> None:
        """Look every so many seconds, until `stop`."""

        def watch() -> None:
            while not self._stop.wait(every_s):
                try:
                    self.look()
                except Exception:  # the next look may do better
                    _log.exception("a look into the folders of models failed")

        self._thread = threading.Thread(target=watch, name="graft-watcher", daemon=True)
        self._thread.start()

    def stop(self, *, wait: bool = False) -> None:
        """Look no more. `wait`: for the look that is on."""
        self._stop.set()
        if wait and self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Load what is new or changed and whole, and unload what is gone.

        A file counts as whole when it has not changed since the last look. One that cannot be loaded is reported
        once; what was served in its place goes on.
        """
        present = list(self._sources())
        for source in present:
            stamp = _stamp(source)
            if stamp is None:
                continue
            seen = self._seen.get(source)
            if seen is None or seen.stamp != stamp:
                self._seen[source] = _Seen(stamp)
            elif not seen.handled and not self._clashes(source, seen):
                seen.handled = True
                if not self._serves(source):
                    self._load(source)
        for source in set(self._seen) - set(present):
            del self._seen[source]
            self._unload(source)

    def _sources(self) -> list[Source]:
        held: list[Source] = []
        for folder in self._folders:
            try:
                held += in_folder(folder)
            except OSError as exc:
                self._say(f"{folder}: cannot be read ({exc}); what was served from it goes on.")
                held += [source for source in self._seen if Path(source.spec).is_relative_to(folder)]
        return held

    def _clashes(self, source: Source, seen: _Seen) -> bool:
        """Whether a model of that name is served from another file, which is said once."""
        served, clash = self._served(source), ""
        if ":" in source.name:
            clash = "its name has a colon; give the file another name"
        elif served is not None and not same_place(served.source.spec, source.spec):
            clash = f"{served.source.spec} is served by this name; give one of the files another name"
        if clash and clash != seen.clash:
            self._say(f"{source.spec} is not served: {clash}")
        seen.clash = clash
        return bool(clash)

    def _served(self, source: Source) -> Served | None:
        """What is served under the name and version of a source."""
        family = self._registry.families.get(source.name)
        return family.versions.get(source.version) if family is not None else None

    def _serves(self, source: Source) -> bool:
        """Whether this very file is served as it is now: an administrator was faster."""
        served = self._served(source)
        return served is not None and not served.changed and same_place(served.source.spec, source.spec)

    def _load(self, source: Source) -> None:
        state = self._registry.states.get((source.name, source.version))
        try:
            served = self._registry.open(source)
        except GraftError as exc:
            rest = "; the one that was served before goes on" if self._served(source) is not None else ""
            if state != ("failed", str(exc)):  # which has been said already
                text = f"{source.name} version {source.version} is not served: {exc}{rest}"
                self._say(text, event="refused", error=type(exc).__name__, **_facts(source))
        else:
            text = f"{source.name} version {source.version} is served from {source.spec} ({served.plan})"
            self._say(text, event="loaded", **_facts(source))

    def _unload(self, source: Source) -> None:
        """Serve a file that is gone no longer, unless what is served by its name is another one."""
        served = self._served(source)
        if served is None or not same_place(served.source.spec, source.spec):
            self._registry.forget(source.name, source.version)
            self._say(f"{source.spec} is gone; it was not served")
            return
        try:
            self._registry.unload(source.name, source.version)
        except GraftError as exc:
            self._say(f"{source.spec} is gone; it goes on: {exc}")
        else:
            text = f"{source.name} version {source.version} is not served any more: {source.spec} is gone"
            self._say(text, event="retired", **_facts(source))


def _facts(source: Source) -> dict[str, object]:
    return {"model": source.name, "version": source.version}


def _stamp(source: Source) -> Stamp | None:
    """What changes when a file is written: time, size and inode; None where it is gone in this moment."""
    try:
        status = Path(source.spec).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
