"""How a name or a path becomes a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.card import read_card
from models.errors import OfflineError, StoreError, UnknownModelError
from models.locating import locate, pull
from models.runtime import OnnxSession, RuntimeConfig
from models.zoo import BUILTIN, find


def test_path_is_a_model_as_it_is(tiny_path: Path) -> None:
    assert locate(tiny_path) == tiny_path
    assert locate(str(tiny_path)) == tiny_path


def test_builtin_needs_nothing() -> None:
    path = locate("builtin")
    assert path == locate(BUILTIN)
    card = read_card(OnnxSession(path, RuntimeConfig(device="cpu")).metadata)
    assert card is not None
    assert (card.name, card.task, len(card.labels)) == (BUILTIN, "classification", 200)
    assert path.stat().st_size < 10_000_000


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("inception_v4", r"neither a name from `graft models list` nor a file. Did you mean inception_v3\?"),
        ("", "model '' is not known"),
        ("gone.onnx", r"gone\.onnx: no such file. Check the path"),
        ("folder/gone", "folder/gone: no such file"),
    ],
)
def test_unknown_name_is_explained(spec: str, message: str) -> None:
    with pytest.raises(UnknownModelError, match=message):
        locate(spec)


def test_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no such file"):
        locate(tmp_path)


def test_weights_are_fetched_once_into_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, Path]] = []

    def fetch(url: str, digest: str, target: Path, **_: object) -> Path:
        asked.append((url, target))
        raise OfflineError("no network")

    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    monkeypatch.setattr("models.locating.fetch", fetch)
    with pytest.raises(OfflineError, match="no network"):
        locate("inception_v3.keras")
    ((url, target),) = asked
    assert target == tmp_path / "weights" / "inception_v3.keras" / url.rpartition("/")[2]


def test_row_without_a_digest_is_not_fetched_unasked() -> None:
    with pytest.raises(StoreError, match="no digest is known"):
        locate("inception_v3.tf_in1k")


def test_finished_model_is_not_built_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    monkeypatch.setattr("models.locating.pull", lambda *_, **__: pytest.fail("built again"))
    row = find("inception_v3")
    assert row is not None
    row.file.parent.mkdir(parents=True)
    row.file.write_bytes(b"finished")
    assert locate("inception_v3") == row.file


def test_local_weights_take_the_place_of_a_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("models.locating.fetch", lambda *_, **__: pytest.fail("downloaded"))
    seen: list[Path | None] = []
    monkeypatch.setattr(
        "models.conversion.convert_weights", lambda row, weights: seen.append(weights) or tmp_path
    )
    row = find("inception_v3")
    assert row is not None
    assert pull(row, weights=tmp_path / "mine.pth") == tmp_path
    assert seen == [tmp_path / "mine.pth"]
