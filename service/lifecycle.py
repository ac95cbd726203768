"""A service from its start to its end: it loads its models, watches folders, and answers until it is stopped."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import GraftError, InputError
from models.extras import how_to_install
from service.app import create_app
from service.configuration import Configuration
from service.jobs.opening import learners, teaching_of
from service.logs import Say
from service.memory import keep_large_blocks_apart
from service.observing import open_tracing
from service.permissions import too_open
from service.registry import Registry
from service.reloading import follow, merged
from service.safety import guard_of
from service.server import make_server
from service.sources import Source, folders, labels, sources
from service.tls import tls_of
from service.watching import Watcher

if TYPE_CHECKING:
    from service.grpc.server import GrpcServer


def require_grpc() -> type[GrpcServer]:
    """What answers gRPC, an optional part of an installation.

    Raises:
        InputError: grpcio or protobuf is not installed.
    """
    try:
        from service.grpc.server import GrpcServer
    except ImportError as exc:
        raise InputError(
            f"gRPC needs grpcio and protobuf, which are not installed ({exc}). Install them with "
            f"{how_to_install('grpc')}; or serve without --grpc-port."
        ) from exc
    return GrpcServer


# After so long a thread that waits for Python's interpreter is given it. The loop waits for it with each read and write
# while others decode, and has hundreds of requests a second to refuse; by itself Python lets it wait for 5 ms.
_SWITCH_S = 0.0002


class Service:
    """The application on its socket, with the models of a configuration. `run` blocks until it is stopped."""

    def __init__(
        self, configuration: Configuration, read: Callable[[], Configuration], say: Say, warn: Say
    ) -> None:
        """Bind the socket; nothing is loaded yet.

        `read` gives the configuration when it is to be read again; `say` and `warn` hear what happens, a line each.

        Raises:
            GraftError: the configuration names what cannot be, or the address is taken.
        """
        config = configuration.config
        self.registry = Registry(config)
        self.guard = guard_of(config)
        self._tracing = open_tracing() if config.tracing else None
        self._teaching = teaching_of(self.registry)
        if self._teaching is not None:
            taken = {(source.name, source.version) for source in self.registry.sources}
            promoted = list(self._teaching.promoter.sources())
            self.registry.sources += [one for one in promoted if (one.name, one.version) not in taken]
            self._clashing = [one for one in promoted if (one.name, one.version) in taken]
        self.app = create_app(
            registry=self.registry, guard=self.guard, tracing=self._tracing, teaching=self._teaching
        )
        self.server = make_server(
            self.app, self.registry, config.host, config.port, configuration.limits, tls_of(config)
        )
        self.grpc: GrpcServer | None = None
        if config.grpc_port is not None:
            self.grpc = require_grpc()(self.app, self.registry, config)
            self.server.companions.append(self.grpc)
        self.configuration = configuration
        self._read, self._say, self._warn = read, say, warn
        self._watcher: Watcher | None = None
        self._failure: Exception | None = None
        self._changing = threading.Lock()  # models are loaded for a configuration
        self._asked_to_reload = False  # and it has not begun

    def run(self) -> None:
        """Answer until a signal; then finish what has begun. SIGHUP reads the configuration again.

        Raises:
            GraftError: a model that was named cannot be loaded.
        """
        keep_large_blocks_apart()
        sys.setswitchinterval(_SWITCH_S)
        self.server.stop_on_signals()
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._hear_hangup)
        self._say(f"loading {', '.join(self.registry.loading)}", event="loading")
        self._in_thread(self._start, "graft-load")
        self.server.run()
        if self._watcher is not None:
            self._watcher.stop()
        if self._teaching is not None:
            self._teaching.close()
        if self._tracing is not None:
            self._tracing.close()
        if self._failure is not None:
            raise self._failure

    def reload(self) -> None:
        """Read configuration, tokens and certificate again, and follow them while requests go on.

        What cannot be read changes nothing; what counts only after a restart is said.
        """
        with self._changing:
            self._asked_to_reload = False
            if self.registry.draining:
                return
            try:
                asked = self._read()
                configuration, later = merged(self.configuration, asked)
                config = configuration.config
                wanted, standing = sources(config.models), labels(config.labels)
                tokens, tls = guard_of(config).tokens, tls_of(config)
            except GraftError as exc:
                self._warn(f"the configuration was not read again, and all goes on as before: {exc}")
                return
            for name in later:
                self._warn(f"{name} ({asked.origins[name]}) counts after a restart")
            if (tls is None) != (self.server.gate.tls is None):
                self._warn("whether connections are encrypted counts after a restart")
                tls = self.server.gate.tls
            before, self.configuration = self.configuration.config, configuration
            self._warn_of_open_files()
            self.guard.tokens = tokens
            self.registry.heed(config)
            self.app.config["MAX_CONTENT_LENGTH"] = config.max_request_bytes
            self.server.renew(configuration.limits, tls)
            if self.grpc is not None:
                self.grpc.renew(config)
            follow(self.registry, wanted, standing, self._say, self._warn)
            if (config.watch_s, folders(config.models)) != (before.watch_s, folders(before.models)):
                self._watch()
            self._say("the configuration was read again", event="reloaded")

    def _start(self) -> None:
        """Load the models, and say what is served."""
        with self._changing:
            self._warn_of_open_files()
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
            if self.grpc is not None and self.grpc.bound.exception() is None:  # else `run` raises it
                self._say(f"answering gRPC on port {self.grpc.bound.result()}", event="grpc")
            self._teach()
            # What is there now stays: the collector need not look through it again and again while requests wait.
            gc.collect()
            gc.freeze()
            self._say(f"ready; try: curl -F image=@photo.jpg {self.server.url}/v1/classify", event="ready")

    def _teach(self) -> None:
        """Begin with the jobs of the workspace, and say for whom."""
        if self._teaching is None:
            return
        for source in self._clashing:
            self._warn(
                f"{source.name} version {source.version} of the workspace is not served: another model is called "
                f"so. Give that one another name: NAME={source.name}"
            )
        self._teaching.promoter.restore_labels(self.registry)
        self._teaching.start()
        self._say(f"teaching in {self._teaching.workspace.folder}: {learners(self.guard)}", event="teaching")

    def _hear_hangup(self, *_: object) -> None:
        # One that waits will read what is there then: a second one would find nothing new.
        if not self._asked_to_reload:
            self._asked_to_reload = True
            self._in_thread(self.reload, "graft-reload")

    def _in_thread(self, work: Callable[[], None], name: str) -> None:
        threading.Thread(target=work, name=name, daemon=True).start()

    def _not_served(self, source: Source, error: GraftError) -> None:
        self._warn(
            f"{source.name} version {source.version} is not served: {error}",
            event="refused", model=source.name, version=source.version, error=type(error).__name__,
        )  # fmt: skip

    def _warn_of_open_files(self) -> None:
        config = self.configuration.config
        for file in (config.tokens, config.key):
            if file is not None and (warning := too_open(Path(file))):
                self._warn(warning)

    def _watch(self) -> None:
        """Watch the folders of the configuration, and no others."""
        if self._watcher is not None:
            self._watcher.stop(wait=True)
            self._watcher = None
        config = self.configuration.config
        watched = folders(config.models)
        if watched and config.watch_s > 0:
            self._watcher = Watcher(self.registry, watched, self._say)
            self._watcher.start(config.watch_s)
            self._say(f"watching {', '.join(map(str, watched))} every {config.watch_s:g} s")
