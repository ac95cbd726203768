"""Models that are promoted: their names, and what a service says of them and of whom it teaches."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.errors import FullError
from service.configuration import Configuration, read_configuration
from service.jobs.promotion import model_name
from service.jobs.teaching import Teaching
from service.lifecycle import Service
from service.tokens import new_token

ADMIN = new_token(["admin"], "admin")[1]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Tasse & Ball!", "tasse-ball"),
        ("Ünß/../x", "un-x"),
        ("שלום", "model"),
        ("<b>", "b"),
        ("x" * 200, "x" * 60),
        ("...", "model"),
    ],
)
def test_a_name_for_an_address_is_made_of_any_text(text: str, name: str) -> None:
    assert model_name(text) == name


@pytest.mark.parametrize(
    ("host", "tokens", "whom"),
    [
        ("127.0.0.1", False, "whoever works at this machine; it has no tokens"),
        ("0.0.0.0", False, "nobody: it needs --tokens FILE"),
        ("0.0.0.0", True, "who has a token of the scope admin"),
        ("127.0.0.1", True, "who has a token of the scope admin"),
    ],
)
def test_a_service_says_whom_it_teaches(
    tmp_path: Path, tiny_path: Path, host: str, tokens: bool, whom: str
) -> None:
    (tmp_path / "tokens").write_text(f"{ADMIN}\n", encoding="utf-8")
    said = started(
        tmp_path, tiny_path, {"host": host, **({"tokens": str(tmp_path / "tokens")} if tokens else {})}
    )
    assert any(text.startswith("teaching in ") and whom in text for text in said)


def test_another_model_of_the_same_name_is_told(tmp_path: Path, tiny_path: Path, teaching: Teaching) -> None:
    place = teaching.workspace.models / "tiny" / "1"
    place.mkdir(parents=True)
    shutil.copy(tiny_path, place / "model.onnx")
    with teaching.workspace.database.writing() as records:
        records.execute("INSERT INTO promotions (job, model, version, at) VALUES ('j', 'tiny', 1, 0)")
    teaching.close()
    said = started(tmp_path, tiny_path, {})
    assert any(
        "tiny version 1 of the workspace is not served: another model is called so" in text for text in said
    )


def started(tmp_path: Path, tiny_path: Path, settings: dict[str, object]) -> list[str]:
    """What a service that teaches says when it starts."""
    given = {
        "models": (str(tiny_path),), "port": 0, "device": "cpu", "threads": 1, "measure_s": 0.0,
        "workspace": str(tmp_path / "workspace"), **settings,
    }  # fmt: skip
    said: list[str] = []

    def read() -> Configuration:
        return read_configuration(given, {})

    def say(text: str, **facts: object) -> None:
        said.append(text)
        if facts.get("event") == "ready":
            service.server.stop(drain=False)

    service = Service(read(), read, say, say)
    service._in_thread(service._start, "load")
    service.server.run()
    assert service._teaching is not None
    service._teaching.close()
    service.registry.close()
    return said


def test_a_label_that_cannot_be_remembered_stays(teaching: Teaching) -> None:
    def full(*_: object) -> None:
        raise FullError("the disk is full.")

    teaching.registry.label_watchers.append(full)
    with pytest.raises(FullError, match="the disk is full"):
        teaching.registry.move_label("tiny", "stable", 1)
    assert dict(teaching.registry.families["tiny"].labels) == {}
