"""What an address is, and what is said where nothing can speak to its store."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from feature_extraction.sources import images
from feature_extraction.stores import opening
from feature_extraction.stores.opening import is_address, scheme_of
from models.errors import LibraryError


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    opening._opened.cache_clear()
    yield
    opening._opened.cache_clear()


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("s3://bucket/key", "s3"),
        ("HTTPS://host", "https"),
        ("hf://datasets/a/b", "hf"),
        ("C://photos", ""),
        ("C:\\photos", ""),
        ("photos/s3://bucket", ""),
        ("s3:/bucket", ""),
        ("", ""),
    ],
)
def test_an_address_begins_with_a_scheme(text: str, scheme: str) -> None:
    assert scheme_of(text) == scheme
    assert is_address(text) == bool(scheme)


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggingface_hub")])
def test_a_package_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("feature_extraction.stores.")]:
        if name.endswith((".google", ".hub")):
            monkeypatch.delitem(sys.modules, name)
    for name in ("gcsfs.core", package):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(LibraryError, match=rf"{scheme}:// needs {package}, .*pip install '\.\[stores\]'"):
        list(images(f"{scheme}://bucket/photos"))
