"""The rows of the zoo."""

from __future__ import annotations

import re

import pytest

from models.zoo import ZOO, ZooRow, find


def test_names_and_aliases_are_unique_and_found() -> None:
    names = [name for row in ZOO for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert all(find(name) is not None for name in names)
    assert find("gone") is None


@pytest.mark.parametrize("row", ZOO, ids=lambda row: row.name)
def test_row_says_what_it_must(row: ZooRow) -> None:
    assert row.description
    assert row.source
    assert re.fullmatch(r"(?:[0-9a-f]{8,64})?", row.sha256)
    assert row.architecture is not None or (len(row.sha256) == 64 and row.octets)
    assert row.url.startswith("https://") or not row.url
    assert not row.sha256 or row.url
    for figure in row.accuracy:
        assert 0.5 < figure.top1 < (figure.top5 or 0.99) < 1
        assert figure.source
