"""One setting from four places: the command line, the environment, a file, the default; and what is no setting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import InputError
from models.settings import settings_of
from service.config import ServiceConfig, service_settings
from service.configuration import COMMAND_LINE, DEFAULT, Configuration, read_configuration
from service.front.limits import ByteBudget, Limits


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graft.toml"


def read(file: Path, text: str) -> Configuration:
    """The configuration of a file with this text."""
    file.write_text(text, encoding="utf-8")
    return read_configuration({}, {}, file)


def test_the_more_explicit_place_wins_and_is_named(file: Path) -> None:
    file.write_text("max_images = 1\nmax_queued = 1\nport = 1\nworkers = 9\n", encoding="utf-8")
    environment = {"GRAFT_SERVE_MAX_IMAGES": "2", "GRAFT_SERVE_MAX_QUEUED": "4", "PORT": "2", "HOME": "/"}
    read = read_configuration({"max_images": 3}, environment, file)
    config = read.config
    assert (config.max_images, config.max_queued, config.port, read.limits.workers) == (3, 4, 2, 9)
    names = ("max_images", "max_queued", "port", "workers", "host")
    assert [read.origins[name] for name in names] == [
        COMMAND_LINE,
        "GRAFT_SERVE_MAX_QUEUED",
        "PORT",
        str(file),
        DEFAULT,
    ]
    assert {name: read.values[name] for name in names} == {
        "max_images": 3, "max_queued": 4, "port": 2, "workers": 9, "host": "127.0.0.1",
    }  # fmt: skip


def test_our_own_variable_comes_before_that_of_platforms() -> None:
    read = read_configuration({}, {"PORT": "1", "GRAFT_SERVE_PORT": "2"})
    assert (read.config.port, read.origins["port"]) == (2, "GRAFT_SERVE_PORT")


def test_the_environment_may_name_the_file(file: Path) -> None:
    file.write_text("max_images = 5", encoding="utf-8")
    assert read_configuration({}, {"GRAFT_SERVE_CONFIG": str(file)}).config.max_images == 5


def test_all_settings_can_be_set_anywhere_but_those_that_follow_from_others() -> None:
    both = settings_of(ServiceConfig).keys() | settings_of(Limits).keys()
    hidden = {
        "profile",
        "warm_up",
        "memory_pattern",
        "optimized",
        "provider_options",
        "session_options",
        "body_bytes",
    }
    assert service_settings().keys() == both - hidden
    assert read_configuration({}, {}).values == {
        name: known.default for name, known in service_settings().items()
    }
    assert not settings_of(ServiceConfig).keys() & settings_of(Limits).keys()


def test_lists_and_settings_of_how_models_run(file: Path) -> None:
    config = read(file, 'labels = ["stable=a:1", "canary=a:2"]\nthreads = 2\nspinning = true').config
    assert config.labels == ("stable=a:1", "canary=a:2")
    assert (config.runtime.threads, config.runtime.spinning, config.runtime.warm_up) == (2, True, True)
    environment = {"GRAFT_SERVE_MODELS": "builtin, a=b.onnx", "GRAFT_SERVE_SPINNING": "true"}
    config = read_configuration({}, environment).config
    assert (config.models, config.runtime.spinning) == (("builtin", "a=b.onnx"), True)


def test_paths_of_a_file_count_from_its_folder(file: Path) -> None:
    (file.parent / "lr=0.1.onnx").touch()
    inside = str(file.parent) + os.sep
    config = read(
        file, 'models = ["builtin", "m.onnx", "a=m.onnx", "b=graft-mini", "lr=0.1.onnx", "/m.onnx"]'
    ).config
    assert config.models == (
        "builtin",
        f"{inside}m.onnx",
        f"a={inside}m.onnx",
        "b=graft-mini",
        f"{inside}lr=0.1.onnx",
        "/m.onnx",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_imagse = 3", r"graft\.toml: no setting is called 'max_imagse'; .*Did you mean max_images\?"),
        ("max-images = 3", r"no setting is called 'max-images'; .*Did you mean max_images\?"),
        ("body_bytes = 3", r"no setting is called 'body_bytes'"),
        ("[limits]\nport = 3", r"no setting is called 'limits'"),
        ("max_images = 0", r"graft\.toml: max_images is 0; expected a whole number from 1\."),
        ('max_images = "3"', r"graft\.toml: max_images is '3'; expected a whole number"),
        ("max_images = true", r"graft\.toml: max_images is True; expected a whole number"),
        ('models = "builtin"', r"graft\.toml: models is 'builtin'; expected names"),
        ("timeout_s = nan", r"graft\.toml: timeout_s is nan; expected a number from 0"),
        ("port 8000", r"graft\.toml: no TOML \(.*line 1.*\)\. Expected lines such as: port = 8000"),
        ("models = []", r"models is empty; expected at least one, such as builtin"),
        ('cors_origins = ["https://a.example/"]', r"cors_origins has 'https://a\.example/'; expected origins"),
        ('cors_origins = ["*", "a.example"]', r"cors_origins has 'a\.example'; expected origins"),
        ('cors_origins = ["https://A.example"]', r"https://that\.origin in small letters"),
        ('allow_urls = ["https://cdn.example.com"]', r"allow_urls has 'https://cdn\.example\.com'; expected hosts"),
        ("port = 1\nport = 2", r"graft\.toml: no TOML \(.*overwrite"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(file: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(file, text)


def test_origins_as_browsers_send_them(file: Path) -> None:
    origins = (
        "https://a.example",
        "http://localhost:3000",
        "http://[::1]:8080",
        "chrome-extension://abc",
        "null",
    )
    assert read(file, f"cors_origins = {[*origins]}").config.cors_origins == origins


def test_bodies_for_which_there_is_never_room(file: Path) -> None:
    with pytest.raises(
        InputError, match="has room for a body of 223 MiB; give held_bytes at least 268435456,"
    ):
        read(file, "max_request_mb = 224\nheld_bytes = 268435454")
    limits = read(file, "max_request_mb = 224\nheld_bytes = 268435456").limits
    assert ByteBudget(limits.held_bytes).take(224 << 20, 0)
    assert not ByteBudget(limits.held_bytes).take((224 << 20) + 1, 0)


def test_images_for_which_there_is_never_room(file: Path) -> None:
    with pytest.raises(InputError, match="max_images is 64, and max_queued 63: so many images"):
        read(file, "max_queued = 63")
    assert read(file, "max_queued = 64").config.max_queued == 64


def test_files_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(InputError, match=r"graft\.toml: cannot be read \(No such file"):
        read_configuration({}, {}, file)
    file.write_bytes(b"port = \xff")
    with pytest.raises(InputError, match=r"graft\.toml: no TOML"):
        read_configuration({}, {}, file)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("GRAFT_SERVE_PROT", "1", r"'GRAFT_SERVE_PROT'; .*Did you mean GRAFT_SERVE_PORT\?"),
        ("GRAFT_SERVE_port", "1", r"'GRAFT_SERVE_port'; "),
        ("GRAFT_SERVE_PORT", "http", r"GRAFT_SERVE_PORT: port is 'http'; expected a whole number from 0"),
        ("PORT", "99999", r"PORT: port is 99999; expected a whole number from 0 to 65535"),
        ("GRAFT_SERVE_SPINNING", "yes", r"GRAFT_SERVE_SPINNING: spinning is 'yes'; expected true or false"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(variable: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_configuration({}, {variable: text})
