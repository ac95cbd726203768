"""A folder that is watched: files come, change, break and go."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import UnknownModelError
from service.config import ServiceConfig
from service.registry import Registry
from service.sources import Source
from service.watching import Watcher


class Watched:
    """A folder with one model that is served, and what the watcher says."""

    def __init__(self, folder: Path, tiny: Path, config: ServiceConfig) -> None:
        self.folder, self._tiny, self._time = folder, tiny, 1_000_000_000
        folder.mkdir()
        self.write("first.onnx")
        self.registry = Registry(dataclasses.replace(config, models=(str(folder),)))
        self.registry.load()
        self.messages: list[str] = []
        self.facts: list[dict[str, object]] = []
        self.watcher = Watcher(self.registry, [folder], self.say)

    def say(self, text: str, **facts: object) -> None:
        self.messages.append(text)
        self.facts.append(facts)

    def write(self, name: str, content: bytes | None = None) -> None:
        """Write a model, or these bytes, at a time of its own."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if content is None:
            shutil.copy(self._tiny, path)
        else:
            path.write_bytes(content)
        self._time += 1
        os.utime(path, (self._time, self._time))

    def look(self, times: int = 2) -> list[str]:
        """Look so often; what the watcher said."""
        self.messages.clear()
        for _ in range(times):
            self.watcher.look()
        return list(self.messages)


@pytest.fixture
def watched(tmp_path: Path, tiny_path: Path, config: ServiceConfig) -> Iterator[Watched]:
    watched = Watched(tmp_path / "repository", tiny_path, config)
    yield watched
    watched.registry.close()


def test_nothing_new_is_nothing_done(watched: Watched) -> None:
    served = watched.registry.get("first")
    assert watched.look(3) == []
    assert watched.registry.get("first") is served


def test_a_new_file_is_served_when_it_is_whole(watched: Watched) -> None:
    watched.write("second.onnx", b"the first half")
    watched.look(1)
    watched.write("second.onnx")
    assert watched.look(1) == []
    (message,) = watched.look(1)
    assert message.startswith("second version 1 is served from")
    assert watched.facts[-1] == {"event": "loaded", "model": "second", "version": 1}
    assert watched.registry.get("second").name == "second"


def test_a_new_version_answers(watched: Watched) -> None:
    watched.write("cats/1/model.onnx")
    watched.write("cats/2/model.onnx")
    watched.look()
    assert watched.registry.get("cats").version == 2


def test_a_changed_file_takes_the_place_of_the_old_one(watched: Watched) -> None:
    with watched.registry.use("first") as old:
        watched.write("first.onnx")
        watched.look()
        assert watched.registry.get("first") is not old
    assert not old.enter()


def test_a_broken_file_is_reported_once_and_the_old_one_goes_on(watched: Watched) -> None:
    served = watched.registry.get("first")
    watched.write("first.onnx", b"not a model")
    (message,) = watched.look(5)
    assert message.startswith("first version 1 is not served: ")
    assert message.endswith("the one that was served before goes on")
    refused = {"event": "refused", "model": "first", "version": 1, "error": "ModelError"}
    assert watched.facts[-1] == refused
    assert watched.registry.get("first") is served
    watched.write("first.onnx")
    watched.look()
    assert watched.registry.get("first") is not served


def test_what_is_gone_is_served_no_longer(watched: Watched) -> None:
    watched.write("second.onnx")
    watched.look()
    (watched.folder / "second.onnx").unlink()
    (message,) = watched.look(1)
    assert "second version 1 is not served any more" in message
    assert watched.facts[-1] == {"event": "retired", "model": "second", "version": 1}
    with pytest.raises(UnknownModelError, match="'second' is not served"):
        watched.registry.get("second")


def test_a_file_of_the_usual_name_takes_nothing_away(watched: Watched) -> None:
    watched.write("cats/2/model.onnx")
    watched.look()
    watched.write("model.onnx")
    watched.write("cats/model.onnx")
    messages = watched.look()
    assert [message.partition(" from ")[0] for message in messages] == [
        "repository version 1 is served", "cats version 1 is served",
    ]  # fmt: skip
    assert {name: [*family.versions] for name, family in watched.registry.families.items()} == {
        "first": [1], "cats": [2, 1], "repository": [1],
    }  # fmt: skip


def test_a_folder_that_cannot_be_read_takes_nothing_away(watched: Watched) -> None:
    away = watched.folder.rename(watched.folder.with_name("away"))
    (message,) = watched.look(1)
    assert "cannot be read" in message
    assert watched.registry.get("first").name == "first"
    away.rename(watched.folder)
    assert watched.look(2) == []


def test_two_files_of_one_name_do_not_take_turns(watched: Watched, tmp_path: Path, tiny_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    watcher = Watcher(watched.registry, [watched.folder, second], watched.say)
    shutil.copy(tiny_path, second / "first.onnx")
    for _ in range(4):
        watcher.look()
    (message,) = watched.messages
    assert "first.onnx is not served: " in message
    assert f"{watched.folder}" in message.partition(":")[2]
    assert watched.registry.get("first").source.spec == str(watched.folder / "first.onnx")
    (watched.folder / "first.onnx").unlink()
    for _ in range(2):
        watcher.look()
    assert watched.registry.get("first").source.spec == str(second / "first.onnx")


def test_the_one_of_two_that_is_not_served_takes_nothing_away(
    watched: Watched, tmp_path: Path, tiny_path: Path
) -> None:
    named = tmp_path / "named.onnx"
    shutil.copy(tiny_path, named)
    served = watched.registry.open(Source("second", 1, str(named)))
    watched.write("second.onnx")
    watched.look()
    (watched.folder / "second.onnx").unlink()
    assert watched.look() == [f"{watched.folder / 'second.onnx'} is gone; it was not served"]
    assert watched.registry.get("second") is served


def test_a_broken_file_that_is_gone_is_listed_no_longer(watched: Watched) -> None:
    watched.write("second.onnx", b"no model")
    watched.look()
    assert watched.registry.states["second", 1][0] == "failed"
    (watched.folder / "second.onnx").unlink()
    assert watched.look() == [f"{watched.folder / 'second.onnx'} is gone; it was not served"]
    assert ("second", 1) not in watched.registry.states


def test_what_an_administrator_has_loaded_from_there_is_not_loaded_again(watched: Watched) -> None:
    watched.write("second.onnx")
    file = watched.folder / "inner" / ".." / "second.onnx"
    (watched.folder / "inner").mkdir()
    served = watched.registry.open(Source("second", 1, str(file), origin="administrator"))
    assert watched.look(3) == []
    assert watched.registry.get("second") is served
    watched.write("second.onnx")
    watched.look()
    assert watched.registry.get("second") is not served


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_a_name_that_routes_cannot_spell_is_reported(watched: Watched) -> None:
    watched.write("a:b.onnx")
    (message,) = watched.look(3)
    assert "its name has a colon" in message
