"""The tree of errors."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from models.errors import BusyError, FieldError, GraftError, TokenError


def kinds(root: type[GraftError] = GraftError) -> Iterator[type[GraftError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def made(kind: type[GraftError]) -> GraftError:
    """An error with all that its constructor takes."""
    if issubclass(kind, FieldError):
        return kind("what happened", "input[2]")
    if issubclass(kind, TokenError):
        return kind("what happened", "Bearer")
    if issubclass(kind, BusyError):
        return kind("what happened", 2.5)
    return kind("what happened")


@pytest.mark.parametrize("kind", list(kinds()))
def test_errors_come_from_another_process_as_they_were(kind: type[GraftError]) -> None:
    error = made(kind)
    error.add_note("while something was done")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "what happened"
    assert vars(again) == vars(error)
