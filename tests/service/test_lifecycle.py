"""A service whose configuration is read again: what differs is followed, what cannot be is said, nothing is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import UnknownModelError
from service.config import service_settings
from service.configuration import Configuration, read_configuration
from service.lifecycle import Service
from service.reloading import LIVE
from service.sources import Source
from service.tokens import new_token
from tests.service.running import new_certificate


class Running:
    """A service that is set up by a file, and what it says. Its socket is bound, and nobody listens."""

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.said, self.warned = file, list[str](), list[str]()
        self.write(text)
        self.service = Service(
            self.read(),
            self.read,
            lambda text, **facts: self.said.append(text),
            lambda text, **facts: self.warned.append(text),
        )
        self.registry = self.service.registry
        self.registry.load()

    def read(self) -> Configuration:
        return read_configuration({"port": 0, "device": "cpu", "threads": 1, "measure_s": 0.0}, {}, self.file)

    def write(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")

    def reload(self, text: str | None = None) -> None:
        """Read the file again, with another text."""
        if text is not None:
            self.write(text)
        self.said.clear()
        self.warned.clear()
        self.service.reload()

    def versions(self) -> dict[str, list[int]]:
        return {name: sorted(family.versions) for name, family in self.registry.families.items()}

    def end(self) -> None:
        self.service.server.stop(drain=False)
        self.service.server.run()
        self.registry.close()


@pytest.fixture
def running(tmp_path: Path, tiny_path: Path) -> Iterator[Running]:
    """One model `a`; files b.onnx and c.onnx lie beside it."""
    for name in "abc":
        shutil.copy(tiny_path, tmp_path / f"{name}.onnx")
    running = Running(tmp_path / "graft.toml", 'models = ["a.onnx"]')
    yield running
    running.end()


def test_every_setting_that_counts_at_once_is_one() -> None:
    assert service_settings().keys() >= LIVE


def test_nothing_new_is_nothing_done(running: Running) -> None:
    served = running.registry.get("a")
    running.reload()
    assert (running.said, running.warned) == (["the configuration was read again"], [])
    assert running.registry.get("a") is served


def test_models_come_and_go(running: Running) -> None:
    served = running.registry.get("a")
    running.reload('models = ["b.onnx", "a.onnx"]')
    assert running.versions() == {"a": [1], "b": [1]}
    assert running.registry.get("a") is served
    assert running.registry.default == "b"
    assert running.registry.loading == []
    running.reload('models = ["b.onnx"]')
    assert running.versions() == {"b": [1]}
    assert "a version 1 is not served any more" in running.said


def test_a_file_that_was_written_or_is_another_is_loaded(running: Running) -> None:
    served = running.registry.get("a")
    os.utime(running.file.with_name("a.onnx"), (1, 1))
    running.reload()
    written = running.registry.get("a")
    assert written is not served
    running.reload('models = ["a=c.onnx"]')
    assert running.registry.get("a").source.spec.endswith("c.onnx")


def test_a_model_that_does_not_load_is_said_and_the_old_one_goes_on(running: Running) -> None:
    served = running.registry.get("a")
    running.file.with_name("a.onnx").write_text("no model")
    running.reload('models = ["a.onnx", "b.onnx"]')
    (warning,) = running.warned
    assert warning.startswith("a version 1 is not served: ")
    assert running.registry.get("a") is served
    assert running.versions() == {"a": [1], "b": [1]}


def test_a_model_that_is_not_there_takes_no_other_away(running: Running) -> None:
    running.reload('models = ["nosuch.onnx", "b.onnx"]')
    assert [warning.partition(":")[0] for warning in running.warned] == [
        "nosuch version 1 is not served", "a version 1 goes on until nosuch can be served",
    ]  # fmt: skip
    assert running.versions() == {"a": [1], "b": [1]}
    assert running.registry.get().name == "a"
    running.reload('models = ["b.onnx"]')
    assert running.versions() == {"b": [1]}
    assert running.registry.get().name == "b"
    assert running.registry.states == {("b", 1): ("ready", "")}  # and nothing of what failed


def test_labels_move(running: Running, tiny_path: Path) -> None:
    for version in "12":
        folder = running.file.parent / "folder" / "cats" / version
        folder.mkdir(parents=True)
        shutil.copy(tiny_path, folder / "model.onnx")
    running.reload('models = ["folder"]\nlabels = ["stable=cats:1"]\nwatch_s = 0')
    assert running.registry.get("cats").version == 1
    running.reload('models = ["folder"]\nlabels = ["stable=cats:2", "canary=cats:3"]\nwatch_s = 0')
    assert running.registry.get("cats").version == 2
    (warning,) = running.warned
    assert warning.startswith("the label canary=cats:3 does not stand: model cats has no version 3 here")
    running.reload('models = ["folder"]\nwatch_s = 0')
    assert dict(running.registry.families["cats"].labels) == {}
    shutil.rmtree(running.file.parent / "folder" / "cats" / "2")
    running.reload()
    assert running.versions() == {"cats": [1]}


def test_what_an_administrator_did_stays(running: Running) -> None:
    running.reload('models = ["a.onnx", "b.onnx"]')
    running.registry.unload("b")
    running.registry.open(Source("a", 2, str(running.file.with_name("c.onnx")), origin="administrator"))
    running.registry.move_label("a", "stable", 1)
    running.reload()
    assert running.versions() == {"a": [1, 2]}
    assert running.registry.get("a").version == 1
    running.reload('models = ["b.onnx"]')
    assert running.versions() == {"a": [1, 2]} | {}
    assert any("a version 1 goes on: version 1 of a is stable" in warning for warning in running.warned)


def test_limits_count_from_the_next_request_on(running: Running) -> None:
    client = running.service.app.test_client()
    image = bytes(2 << 20)
    running.reload('models = ["a.onnx"]\nmax_images = 3\nmax_queued = 5\nmax_request_mb = 1\nidle_s = 7')
    assert running.registry.config.max_images == 3
    assert running.registry.get("a").batcher.most_queued == 5
    assert client.post("/v1/classify", data=image, content_type="image/png").status_code == 413
    limits = running.service.server.gate.limits
    assert (limits.idle_s, limits.body_bytes) == (7.0, 1 << 20)
    assert running.service.configuration.origins["max_images"] == str(running.file)


def test_what_counts_after_a_restart_is_said_and_not_half_done(running: Running) -> None:
    running.reload('models = ["a.onnx"]\nworkers = 3\nhost = "0.0.0.0"\nmax_images = 9')
    assert sorted(running.warned) == [
        f"host ({running.file}) counts after a restart",
        f"workers ({running.file}) counts after a restart",
    ]
    configuration = running.service.configuration
    assert (configuration.limits.workers, configuration.config.host) == (64, "127.0.0.1")
    assert configuration.config.max_images == 9
    running.reload()
    assert len(running.warned) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_imagse = 3", "Did you mean max_images?"),
        ("max_images = 0", "expected a whole number from 1"),
        ('models = ["a.onnx", "b/a.onnx"]', "are both called 'a'"),
        ('labels = ["stable"]', "expected LABEL=NAME:VERSION"),
        ('models = [""]', "'' names no model"),
        ('models = ["a="]', "'a=' names no model"),
        ('tokens = "gone"', "cannot be read"),
        ('cert = "gone.pem"\nkey = "gone.pem"', "gone.pem: cannot be read"),
        ("port 8000", "no TOML"),
    ],
)
def test_what_cannot_be_read_changes_nothing(running: Running, text: str, message: str) -> None:
    before = running.service.configuration
    running.reload(text)
    (warning,) = running.warned
    assert warning.startswith("the configuration was not read again, and all goes on as before: ")
    assert message in warning
    assert (running.said, running.versions()) == ([], {"a": [1]})
    assert running.service.configuration is before


def test_tokens_are_read_again(running: Running) -> None:
    client = running.service.app.test_client()
    assert client.get("/v1/models").status_code == 200
    token, line = new_token(["infer"])
    file = running.file.with_name("tokens")
    file.write_text(f"{line}\n", encoding="utf-8")
    file.chmod(0o644)
    running.reload('models = ["a.onnx"]\ntokens = "tokens"')
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    if os.name != "nt":
        assert running.warned == [f"{file}: everybody on this machine may read it. Run: chmod 600 {file}"]
    file.write_text(f"{new_token(['infer'])[1]}\n", encoding="utf-8")
    running.reload()
    assert client.get("/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_certificates_are_read_again_and_tls_begins_with_a_restart(
    tmp_path: Path, tiny_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    text = f'models = ["{tiny_path}"]\ncert = "{cert}"\nkey = "{key}"'
    running = Running(tmp_path / "graft.toml", text)
    try:
        gate = running.service.server.gate
        before = gate.tls
        assert running.service.server.url.startswith("https://")
        cert, key = new_certificate(tmp_path)
        running.reload(f'models = ["{tiny_path}"]\ncert = "{cert}"\nkey = "{key}"')
        assert gate.tls is not None
        assert gate.tls is not before
        renewed = gate.tls
        running.reload(f'models = ["{tiny_path}"]')
        assert running.warned == ["whether connections are encrypted counts after a restart"]
        assert gate.tls is renewed
    finally:
        running.end()


def test_folders_are_watched_as_the_configuration_has_them(running: Running, tiny_path: Path) -> None:
    folder = running.file.parent / "folder"
    folder.mkdir()
    shutil.copy(tiny_path, folder / "d.onnx")
    running.reload('models = ["folder"]\nwatch_s = 3600')
    assert f"watching {folder} every 3600 s" in running.said
    shutil.copy(tiny_path, folder / "e.onnx")
    running.reload('models = ["a.onnx"]')
    assert running.versions() == {"a": [1]}
    with pytest.raises(UnknownModelError, match="'e' is not served"):
        running.registry.get("e")
