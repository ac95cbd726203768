"""Two real processes at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.feature_extraction.killing import contents, photos, start


@pytest.mark.smoke
def test_two_at_once_share_a_cache_but_not_a_folder(tmp_path: Path) -> None:
    # Not the classifier of three colours: its ReduceMean adds up one image in another order than several, and what the
    # other process has cached meanwhile leaves one over now and then. Convolutions and pooling do not depend on that.
    command = [str(photos(tmp_path / "photos")), "--model", "builtin", "--out"]
    for outputs in (("a", "b"), ("c", "c")):
        both = [start([*command, str(tmp_path / out)], tmp_path / "cache") for out in outputs]
        errors = [process.communicate()[1].decode() for process in both]
        codes = sorted(process.returncode for process in both)
        assert codes == ([1, 1] if outputs == ("a", "b") else [1, 2]), errors  # three images are broken
        assert not any("cache is not used" in text for text in errors)
    a, b, c = (contents(tmp_path / out) for out in "abc")
    assert a == b == {name: c[name] for name in a}
    assert set(c) - set(a) <= ({".lock"} if os.name == "nt" else set())
