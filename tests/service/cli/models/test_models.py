"""`graft models`: list, info, cuts, pull."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.zoo import ZOO
from tests.service.running import Run


def test_list_has_every_row(graft: Run) -> None:
    result = graft("models", "list")
    assert result.exit_code == 0
    assert all(row.name in result.stdout for row in ZOO)
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_info_of_what_is_not_there_yet_tells_how_to_get_it(graft: Run) -> None:
    result = graft("models", "info", "inception_v3")
    assert result.exit_code == 0
    assert "graft models pull" in result.stdout
    assert "shorter side to 342, central 299 x 299 pixels, bilinear" in result.stdout
    assert graft("models", "info", "inception_v3", "--json").exit_code == 2


def test_info_and_cuts_of_a_file(graft: Run, tiny_path: Path) -> None:
    info = graft("models", "info", tiny_path)
    assert "classes     3: red, green, blue" in info.stdout
    assert "squashed to 16 x 16 pixels, bilinear" in info.stdout
    card = json.loads(graft("models", "info", tiny_path, "--json").stdout)
    assert card["labels"][0] == {"id": "c0", "name": "red"}
    cuts = graft("models", "cuts", tiny_path).stdout.splitlines()
    assert [line.split() for line in cuts] == [
        ["CUT", "POINT", "SHAPE", "VALUES"],
        ["pool", "3", "3"],
        ["logits", "3", "3"],
    ]


def test_cuts_of_what_is_not_there_names_the_way(graft: Run) -> None:
    result = graft("models", "cuts", "inception_v3")
    assert result.exit_code == 2
    assert "Get it with: graft models pull inception_v3.torchvision" in result.stderr


def test_pull_refuses_what_nobody_pinned(graft: Run) -> None:
    result = graft("models", "pull", "inception_v3.gluon_in1k")
    assert result.exit_code == 2
    assert "Add --allow-unpinned" in result.stderr


@pytest.mark.parametrize("name", ["gone", "resnet50"])
def test_pull_of_an_unknown_name_is_explained(graft: Run, name: str) -> None:
    result = graft("models", "pull", name)
    assert result.exit_code == 2
    assert f"model '{name}' is not known" in result.stderr


def test_pull_with_a_file_that_holds_no_weights_is_explained(graft: Run, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    result = graft("models", "pull", "inception_v3", "--file", tmp_path / "weights.pth")
    assert result.exit_code == 2
    assert "weights.pth" in result.stderr
    assert "Traceback" not in result.output
