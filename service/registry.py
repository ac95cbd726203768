"""The models that are served. Readers never wait: a new model takes the place of an old one in one assignment."""

from __future__ import annotations

import contextlib
import difflib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from models.errors import BusyError, InputError, UnknownModelError
from models.model import Model
from models.zoo import find
from service.config import ServiceConfig
from service.decoding import Decoder
from service.served import Served, all_cores

_LOADING_S = 2.0  # when to ask again while models are being loaded


class Registry:
    """The models by name. What is served now is one mapping that never changes; loading makes another."""

    def __init__(self, config: ServiceConfig) -> None:
        """Nothing is loaded yet.

        Raises:
            InputError: two models would have the same name.
        """
        self.config = config
        self.specs = _named(config.models)
        self.default = next(iter(self.specs))
        self._served: Mapping[str, Served] = MappingProxyType({})
        self._writing = threading.Lock()
        self.decoder = Decoder(config)
        self.draining = False  # the service is about to stop

    @property
    def served(self) -> Mapping[str, Served]:
        """What is served at this moment."""
        return self._served

    @property
    def loading(self) -> list[str]:
        """Names of the models that are not warm yet."""
        served = self._served
        return [name for name in self.specs if name not in served]

    def load(self) -> None:
        """Load and warm all models, one after the other; each is served as soon as it is warm.

        Raises:
            GraftError: as `Model.open`.
        """
        for name, spec in self.specs.items():
            self.put(Served(name, spec, Model.open(spec, all_cores(self.config.runtime)), self.config))

    def put(self, served: Served) -> None:
        """Serve a model, in place of the one that had its name. Requests that have the old one finish with it."""
        with self._writing:
            old = self._served.get(served.name)
            self._served = MappingProxyType({**self._served, served.name: served})
        if old is not None:
            old.retire()

    @property
    def seconds_to_empty(self) -> float:
        """How long the longest queue of images will take."""
        return max((served.batcher.seconds_to_empty for served in self._served.values()), default=0.0)

    def close(self) -> None:
        """Serve nothing any more; memory is given back when the last request has left."""
        with self._writing:
            served, self._served = self._served, MappingProxyType({})
        for one in served.values():
            one.retire()

    @contextlib.contextmanager
    def use(self, name: str | None = None) -> Iterator[Served]:
        """The model of that name or alias, or the default one, which stays open for the time of a `with` block.

        Raises:
            UnknownModelError, BusyError: as `get`.
        """
        served = self.get(name)
        while not served.enter():  # it was replaced in this moment
            served = self.get(name)
        try:
            yield served
        finally:
            served.leave()

    def get(self, name: str | None = None) -> Served:
        """The model of that name or alias, or the default one. Who runs it takes `use`.

        Raises:
            UnknownModelError: no such model is served.
            BusyError: it is still being loaded.
        """
        row = find(name) if name is not None else None
        wanted = self.default if name is None else name if name in self.specs or row is None else row.name
        served = self._served.get(wanted)
        if served is not None:
            return served
        if wanted in self.specs:
            raise BusyError(f"model {wanted} is still being loaded. Try again in a moment.", _LOADING_S)
        close = difflib.get_close_matches(wanted, self.specs, 1, 0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UnknownModelError(
            f"model {wanted!r} is not served here; there is {', '.join(self.specs)}.{hint}"
        )


def _named(models: tuple[str, ...]) -> dict[str, str]:
    """What each model is called: `name=path`, the name of a zoo's row, or a file's name without its ending."""
    specs: dict[str, str] = {}
    for text in models:
        before, equals, after = text.partition("=")
        row = find(text)
        if equals and not Path(text).exists():
            name, spec = before, after
        else:
            name, spec = row.name if row else Path(text).stem, text
        if name in specs:
            raise InputError(f"two models are called {name!r}; give one another name: {name}2={spec}")
        specs[name] = spec
    return specs
