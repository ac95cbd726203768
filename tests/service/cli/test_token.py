"""`graft token`: a token is shown once, and its line goes into a file."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from service.tokens import read_tokens
from tests.service.cli.test_main import imported_by
from tests.service.running import Run


def test_without_a_file_the_line_is_printed(graft: Run, tmp_path: Path) -> None:
    result = graft("token", "infer", "admin", "--name", "Ann")
    assert result.exit_code == 0
    match = re.fullmatch(
        r"token +(graft_\S+)\nline for FILE +(infer,admin sha256:[0-9a-f]{64} Ann)\n", result.stdout
    )
    assert match
    (tmp_path / "tokens").write_text(match[2], encoding="utf-8")
    assert read_tokens(tmp_path / "tokens").scopes(match[1]) == {"infer", "admin"}


def test_lines_are_added_to_a_file_of_its_owner_alone(graft: Run, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    first = graft("token", "infer", "--out", file).stdout.strip()
    file.write_text(
        file.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8"
    )  # as some editors leave it
    second = graft("token", "admin", "--out", file).stdout.strip()
    tokens = read_tokens(file)
    assert (tokens.scopes(first), tokens.scopes(second)) == ({"infer"}, {"admin"})
    if os.name != "nt":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_file_is_not_written_to(graft: Run, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Ann,\n", encoding="utf-8")
    result = graft("token", "infer", "--out", file)
    assert result.exit_code == 2
    assert "letter.txt, line 1: " in result.stderr
    assert file.read_text(encoding="utf-8") == "Dear Ann,\n"
    result = graft("token", "infer", "--out", tmp_path / "gone" / "tokens")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["root"]])
def test_scopes_are_named(graft: Run, arguments: list[str]) -> None:
    result = graft("token", *arguments)
    assert result.exit_code == 2
    assert "infer" in result.stderr


def test_nothing_heavy_is_imported() -> None:
    assert imported_by("token", "infer") == set()
