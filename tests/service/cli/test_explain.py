"""`graft explain`: overlays, JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures import photo
from tests.models.nets import residual_net
from tests.service.running import Run


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    photo((90, 60)).save(tmp_path / "holiday.png")
    (tmp_path / "net_labels.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    return residual_net(tmp_path / "net.onnx")


def test_writes_an_overlay_of_the_size_of_the_photo(graft: Run, net: Path) -> None:
    result = graft("explain", "holiday.png", "-m", net)
    assert result.exit_code == 0
    assert result.output.splitlines()[-1].endswith("%  holiday-explained.png")
    with Image.open("holiday-explained.png") as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (90, 60))


def test_json_of_several_classes(graft: Run, net: Path) -> None:
    result = graft("explain", "holiday.png", "-m", net, "-k", 2, "-o", "out/x.png", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["overlay"] for row in rows] == ["out/x-1.png", "out/x-2.png"]
    assert rows[0]["probability"] >= rows[1]["probability"]
    assert all(Path(row["overlay"]).is_file() for row in rows)
    left, top, right, bottom = rows[0]["seen"]
    assert 0 < left < rows[0]["peak"][0] < right
    assert top <= rows[0]["peak"][1] < bottom
    assert len(rows[0]["map"]) == 16


def test_an_empty_map_has_no_peak(graft: Run, net: Path) -> None:
    photo((90, 60)).convert("L").point(lambda value: 0).save("black.png")
    result = graft("explain", "black.png", "-m", net, "--method", "occlusion", "--json")
    assert "its map is empty" in result.stderr
    assert json.loads(result.stdout)["peak"] is None


def test_named_classes(graft: Run, net: Path) -> None:
    result = graft("explain", "holiday.png", "-m", net, "--label", "d", "--label", "b")
    assert [line[0] for line in result.stdout.splitlines()] == ["d", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "a", "-k", "2"], "give one of them"),
        (["--label", "nothing"], "no class 'nothing'"),
        (["--cut", "nowhere"], "no cut point or tensor named 'nowhere'"),
        (["-o", "holiday.png"], "is the photo itself"),
        (["-o", "holiday.jpg"], "overlays are PNG files"),
    ],
)
def test_refused(graft: Run, net: Path, arguments: list[str], message: str) -> None:
    before = Path("holiday.png").read_bytes()
    result = graft("explain", "holiday.png", "-m", net, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert Path("holiday.png").read_bytes() == before
    assert not list(Path().glob("*explained*"))


def test_a_bad_photo_is_one_message(graft: Run, net: Path) -> None:
    Path("bad.png").write_bytes(b"no picture")
    result = graft("explain", "bad.png", "-m", net)
    assert result.exit_code == 2
    assert "bad.png: not an image that can be read" in result.stderr


@pytest.mark.parametrize("method", ["saliency", "occlusion"])
def test_other_methods_draw_on_the_photo_too(graft: Run, net: Path, method: str) -> None:
    result = graft("explain", "holiday.png", "-m", net, "--method", method)
    assert result.exit_code == 0, result.output
    with Image.open("holiday-explained.png") as drawn:
        assert drawn.size == (90, 60)


def test_ascent_begins_with_noise_and_needs_no_photo(graft: Run, net: Path) -> None:
    result = graft("explain", "-m", net, "--method", "ascent", "--unit", "block:3", "--steps", 4)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("block:3  from ")
    assert result.stdout.rstrip().endswith("block-3-wanted.png")
    assert Path("block-3-wanted.png").is_file()


def test_ascent_from_a_photo_as_json(graft: Run, net: Path) -> None:
    result = graft(
        "explain", "holiday.png", "-m", net, "--method", "ascent", "--unit", "d", "--steps", 4, "--json"
    )
    answer = json.loads(result.stdout)
    assert answer["after"] > answer["before"]
    assert Path(answer["picture"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "ascent"), "--method ascent needs --unit"),
        (("--method", "saliency"), "--method saliency needs a photo"),
        (("holiday.png", "--unit", "a"), "--unit belongs to --method ascent, not to grad-cam"),
        (("holiday.png", "--method", "occlusion", "--cut", "block"), "--cut belongs to --method grad-cam"),
        (
            ("--method", "ascent", "--unit", "a", "-k", "2"),
            "--top-k belongs to --method grad-cam or saliency or",
        ),
    ],
)
def test_options_of_another_method(graft: Run, net: Path, arguments: tuple[str, ...], message: str) -> None:
    result = graft("explain", "-m", net, *arguments)
    assert result.exit_code == 2
    assert message in result.output
