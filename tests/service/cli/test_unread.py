"""Photos of a phone on a machine that cannot read them: every command, and the service, says so and what to run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from models import preprocessing
from tests.finetune.brief import shorten
from tests.finetune.shades import folder_of
from tests.service.running import Run

HEIC = (Path(__file__).parents[2] / "models" / "golden" / "red.heic").read_bytes()
REMEDY = "a HEIF photo, which nothing installed here reads. Run: pip install '.[heif]'"


@pytest.fixture(autouse=True)
def _no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "heif_reader", lambda: None)
    shorten(monkeypatch)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes with ten JPEGs each, and four photos of a phone among the bricks."""
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path / "photos", 10)
    for i in range(4):
        (folder / "brick" / f"IMG_{i}.HEIC").write_bytes(HEIC + bytes(i))
    return folder


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("classify", "-m", "MODEL", "PHOTOS"), 1),
        (("features", "PHOTOS", "-m", "MODEL", "--out", "vectors"), 1),
        (("dataset", "inspect", "PHOTOS", "--no-model", "--no-report"), 1),
        (("evaluate", "NAMED", "-m", "MODEL"), 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_each_photo_is_named_with_the_command_to_run(
    graft: Run, tiny_path: Path, photos: Path, arguments: tuple[str, ...], exit_code: int
) -> None:
    for old, new in (("brick", "red"), ("grass", "green"), ("sky", "blue")):
        (photos / old).rename(photos / new)
    places = {"PHOTOS": photos, "NAMED": photos, "MODEL": tiny_path}
    result = graft(*(places.get(word, word) for word in arguments))
    assert result.exit_code == exit_code, result.output
    for i in range(4):
        assert f"red/IMG_{i}.HEIC: {REMEDY}" in result.stderr


def test_training_says_how_many_are_left_out_and_what_to_run(
    graft: Run, tiny_path: Path, photos: Path
) -> None:
    result = graft("finetune", photos, "-m", tiny_path, "--epochs", "2", "--views", "1", "--out", "mine")
    assert result.exit_code == 0, result.output
    where = photos / "brick" / "IMG_0.HEIC"
    for text in (result.stderr, (Path("mine") / "report.json").read_text(encoding="utf-8")):
        assert "left out, because it cannot be read: 4 images, " in text
        assert str(where) in text
        assert REMEDY in text


def test_clean_list_names_them_among_what_it_leaves_out(graft: Run, photos: Path) -> None:
    result = graft("dataset", "clean", photos, "--no-model", "--out", "list.csv")
    assert result.exit_code == 0, result.output
    assert "30 of 34 images kept" in result.stdout
    assert Path("list.left-out.csv").read_text(encoding="utf-8").count(REMEDY) == 4


def test_one_photo_is_explained_in_the_same_words(graft: Run, photos: Path) -> None:
    result = graft("explain", photos / "brick" / "IMG_0.HEIC")
    assert result.exit_code != 0
    assert REMEDY in result.stderr


def test_folder_of_nothing_else_is_not_empty(graft: Run, tiny_path: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "phone" / name).mkdir(parents=True)
        (tmp_path / "phone" / name / "1.heic").write_bytes(HEIC)
    result = graft("finetune", tmp_path / "phone", "-m", tiny_path, "--out", tmp_path / "mine")
    assert result.exit_code != 0
    assert REMEDY in result.stderr


def test_answer_over_http_says_it_too(client: FlaskClient) -> None:
    body = {"image": (io.BytesIO(HEIC), "IMG_1.HEIC")}
    answer = client.post("/v1/classify", data=body, content_type="multipart/form-data")
    assert REMEDY in json.dumps(answer.get_json())
