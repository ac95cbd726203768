"""Where settings come from: an option, else the environment, else a file, else the default; each knows its origin."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.settings import updated
from models.zoo import find
from service.config import ServiceConfig, service_settings
from service.front.limits import Limits

PREFIX = "GRAFT_SERVE_"  # of environment variables; CONFIG behind it names the file
CONFIG = f"{PREFIX}CONFIG"
_PORT = "PORT"  # what platforms set that run containers; GRAFT_SERVE_PORT comes before it
_PATHS = ("repository", "tokens", "cert", "key", "workspace", "datasets_root")
DEFAULT, COMMAND_LINE = "default", "command line"  # origins beside variables and files


@dataclass(frozen=True)
class Configuration:
    """What a service is started with, and where each setting came from."""

    config: ServiceConfig
    limits: Limits
    origins: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse what no request could have: it would be told to come again, for ever."""
        config, most = self.config, self.config.max_request_bytes
        if most > self.limits.longest_held:
            raise InputError(
                f"max_request_mb is {config.max_request_mb}, and held_bytes has room for a body of "
                f"{self.limits.longest_held >> 20} MiB; give held_bytes at least {-(-most * 8 // 7)}, or a smaller "
                "max_request_mb."
            )
        if config.max_images > config.max_queued:
            raise InputError(
                f"max_images is {config.max_images}, and max_queued {config.max_queued}: so many images of one request "
                "would never find room. Raise max_queued, or lower max_images."
            )

    @property
    def values(self) -> dict[str, Any]:
        """Every setting by name."""
        flat = vars(self.limits) | vars(self.config.runtime) | vars(self.config)
        return {name: flat[name] for name in self.origins}


def read_configuration(
    options: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None
) -> Configuration:
    """The settings that `options` (those that were given, by name), the environment and a TOML file make together.

    Raises:
        InputError: a name that is none, a value out of range, values that do not go together, or a file that cannot
            be read.
    """
    if file is None and environment.get(CONFIG):
        file = Path(environment[CONFIG])
    layers = [
        {name: (value, COMMAND_LINE) for name, value in options.items()},
        _of_environment(environment),
        _of_file(file) if file is not None else {},
    ]
    values, origins = dict[str, Any](), dict[str, str]()
    for name in service_settings():
        layer = next((layer for layer in layers if name in layer), None)
        if layer is None:
            origins[name] = DEFAULT
        else:
            values[name], origins[name] = layer[name]
    of_limits = {name: value for name, value in values.items() if name in vars(Limits())}
    of_config = {name: value for name, value in values.items() if name not in of_limits}
    return Configuration(updated(ServiceConfig(), of_config), updated(Limits(), of_limits), origins)


def _of_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Settings by name, each with the variable that it came from."""
    known = service_settings()
    layer = dict[str, tuple[Any, str]]()
    for variable, text in environment.items():
        if variable == CONFIG or not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if variable != f"{PREFIX}{name.upper()}" or name not in known:
            names = [f"{PREFIX}{one.upper()}" for one in known]
            raise _unknown("the environment", "variable", variable, names)
        layer[name] = _parsed(name, text, variable), variable
    if environment.get(_PORT) and "port" not in layer:
        layer["port"] = _parsed("port", environment[_PORT], _PORT), _PORT
    return layer


def _parsed(name: str, text: str, variable: str) -> Any:
    try:
        return service_settings()[name].parse(text)
    except InputError as exc:
        raise InputError(f"{variable}: {exc}") from None


def _of_file(file: Path) -> dict[str, tuple[Any, str]]:
    """Settings by name, each with the file; a path in it counts from its folder."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(f"{file}: cannot be read ({exc.strerror}). Name a file of settings.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{file}: no TOML ({exc}). Expected lines such as: port = 8000") from exc
    known = service_settings()
    layer = dict[str, tuple[Any, str]]()
    for name, value in values.items():
        if name not in known:
            raise _unknown(str(file), "setting", name, list(known))
        try:
            checked = known[name].checked(value)
        except InputError as exc:
            raise InputError(f"{file}: {exc}") from None
        if name == "models":
            checked = tuple(_in_folder(entry, file.parent) for entry in checked)
        elif name in _PATHS and known[name].many:
            checked = tuple(str(file.parent / path) for path in checked)
        elif name in _PATHS:
            checked = str(file.parent / checked)
        layer[name] = checked, str(file)
    return layer


def _in_folder(entry: str, folder: Path) -> str:
    """A model of the file, its path as seen from here."""
    before, equals, after = entry.partition("=")
    if equals and not (folder / entry).exists():
        return f"{before}={_in_folder(after, folder)}"
    return entry if not entry or find(entry) is not None else str(folder / entry)


def _unknown(place: str, kind: str, name: str, known: list[str]) -> InputError:
    close = difflib.get_close_matches(name, known, 1)
    return InputError(
        f"{place}: no {kind} is called {name[:60]!r}; expected one of {', '.join(known)}."
        + (f" Did you mean {close[0]}?" if close else "")
    )
