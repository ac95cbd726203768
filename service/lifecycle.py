"""A service from its start to its end: it loads its models, watches folders, and answers until it is stopped."""

from __future__ import annotations

import threading
from pathlib import Path

from models.errors import GraftError
from service.app import create_app
from service.configuration import Configuration
from service.logs import Say
from service.registry import Registry
from service.safety import guard_of
from service.server import make_server
from service.sources import Source, folders
from service.tokens import too_open
from service.watching import Watcher


class Service:
    """The application on its socket, with the models of a configuration. `run` blocks until it is stopped."""

    def __init__(self, configuration: Configuration, say: Say, warn: Say) -> None:
        """Bind the socket; nothing is loaded yet. `say` and `warn` hear what happens, a line each.

        Raises:
            GraftError: the configuration names what cannot be, or the address is taken.
        """
        config = configuration.config
        self.registry = Registry(config)
        self.guard = guard_of(config)
        app = create_app(registry=self.registry, guard=self.guard)
        self.server = make_server(app, self.registry, config.host, config.port, configuration.limits)
        self._configuration, self._say, self._warn = configuration, say, warn
        self._watcher: Watcher | None = None
        self._failure: Exception | None = None

    def run(self) -> None:
        """Answer until a signal; then finish what has begun.

        Raises:
            GraftError: a model that was named cannot be loaded.
        """
        self.server.stop_on_signals()
        self._say(f"loading {', '.join(self.registry.loading)}", event="loading")
        threading.Thread(target=self._start, name="graft-load", daemon=True).start()
        self.server.run()
        if self._watcher is not None:
            self._watcher.stop()
        if self._failure is not None:
            raise self._failure

    def _start(self) -> None:
        """Load the models, and say what is served."""
        tokens = self._configuration.config.tokens
        if tokens is not None and (warning := too_open(Path(tokens))):
            self._warn(warning)
        try:
            self.registry.load(self._not_served)
        except Exception as exc:  # raised again in the main thread
            self._failure = exc
            self.server.stop(drain=False)
            return
        for served in self.registry.served:
            device = served.model.session.device
            version = f" version {served.version}" if served.version != 1 else ""
            self._say(
                f"{served.name}{version} on {device} ({device.reason}); {served.plan}",
                event="loaded", model=served.name, version=served.version,
            )  # fmt: skip
            for note in served.model.notes:
                self._warn(f"{served.name}: {note}")
        self._watch()
        self._say(f"ready; try: curl -F image=@photo.jpg {self.server.url}/v1/classify", event="ready")

    def _not_served(self, source: Source, error: GraftError) -> None:
        self._warn(
            f"{source.name} version {source.version} is not served: {error}",
            event="refused", model=source.name, version=source.version, error=type(error).__name__,
        )  # fmt: skip

    def _watch(self) -> None:
        config = self._configuration.config
        watched = folders(config.models)
        if watched and config.watch_s > 0:
            self._watcher = Watcher(self.registry, watched, self._say)
            self._watcher.start(config.watch_s)
            self._say(f"watching {', '.join(map(str, watched))} every {config.watch_s:g} s")
