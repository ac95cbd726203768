"""What a client is told of an error: a status code, a sentence that can be sent, and when to come again."""

from __future__ import annotations

import grpc
import pytest

from models.errors import InputError, OverloadedError, TokenError
from service.errors import STATUS
from service.front.requests import Refused
from service.grpc.status import CODES, failure_of


def test_every_error_has_a_code() -> None:
    assert set(STATUS.values()) <= set(CODES)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("short", "short"),
        ("a name \udcff of no encoding", r"a name \udcff of no encoding"),
        ("x" * 2001, "x" * 2000 + "..."),
        ("x" + "ä" * 1000, "x" + "ä" * 999 + "..."),
    ],
)
def test_a_sentence_can_be_sent_in_trailers(text: str, sent: str) -> None:
    assert failure_of(InputError(text)).message == sent


def test_trailers_say_when_to_come_again_and_which_token() -> None:
    assert failure_of(Refused(503, "full", 0.2)).trailers == (
        ("retry-after", "1"),
        ("grpc-retry-pushback-ms", "200"),
    )
    overloaded = failure_of(OverloadedError("full", 2.0))
    assert overloaded.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(overloaded.trailers)["retry-after"] == "2"
    assert dict(failure_of(TokenError("none", "Bearer")).trailers) == {"www-authenticate": "Bearer"}
