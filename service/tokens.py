"""API tokens: how one is made, and the file that knows them by their digests.

# scopes      digest of the token   what it is for
infer         sha256:9f86d0...      the web shop
infer,admin   sha256:2c26b4...      Ann
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import InputError

SCOPES = ("infer", "admin")
_PREFIX = "graft_"  # by which a token that lies where it should not is recognised
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAME = re.compile(r"[^\x00-\x1f\x7f#]*")


@dataclass(frozen=True)
class Token:
    """What a file knows of one token."""

    scopes: frozenset[str]
    digest: str = field(repr=False)  # SHA-256, hexadecimal
    name: str = ""

    def __str__(self) -> str:
        scopes = ",".join(scope for scope in SCOPES if scope in self.scopes)
        return f"{scopes} sha256:{self.digest} {self.name}".rstrip()


class Tokens:
    """The tokens of a service."""

    def __init__(self, tokens: Sequence[Token] = ()) -> None:
        self._tokens = tuple(tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def count(self, scope: str) -> int:
        """How many have a scope."""
        return sum(scope in token.scopes for token in self._tokens)

    def scopes(self, token: str) -> frozenset[str] | None:
        """What the bearer of a token may do; None where it is not known. Takes as long for every token."""
        digest = _digest(token)
        scopes = None
        for known in self._tokens:  # all of them: the time must not say which
            if hmac.compare_digest(known.digest, digest):
                scopes = known.scopes
        return scopes


def new_token(scopes: Collection[str], name: str = "") -> tuple[str, Token]:
    """A token of 256 random bits, and what the file is to know of it.

    Raises:
        InputError: no scope, or one that is none; a name that a line cannot hold.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"the name is {name[:60]!r}; expected text of one line without #.")
    token = _PREFIX + secrets.token_urlsafe(32)
    return token, Token(_scopes(scopes), _digest(token), " ".join(name.split()))


def read_tokens(file: Path) -> Tokens:
    """The tokens of a file.

    Raises:
        InputError: it cannot be read, or a line is none of a token. What stands in the line is not repeated.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "no UTF-8"
        raise InputError(
            f"{file}: cannot be read ({reason}). Make it: graft token infer --out {file}"
        ) from exc
    tokens = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                tokens.append(_token(text))
            except InputError as exc:
                raise InputError(f"{file}, line {number}: {exc}") from None
    if not tokens:
        raise InputError(f"{file}: holds no token. Make one: graft token infer --out {file}")
    return Tokens(tokens)


def _token(text: str) -> Token:
    scopes, *rest = text.split(maxsplit=2)
    digest = _DIGEST.fullmatch(rest[0]) if rest else None
    if digest is None:
        raise InputError(
            "expected scopes, sha256: with 64 hexadecimal digits, and a name, as `graft token` prints them. The token "
            "itself does not belong here."
        )
    return Token(_scopes(scopes.split(",")), digest[1], rest[1] if len(rest) > 1 else "")


def _scopes(scopes: Collection[str]) -> frozenset[str]:
    for scope in scopes:
        if scope not in SCOPES:
            close = difflib.get_close_matches(scope, SCOPES, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            # It may be a token in the wrong place.
            shown = (
                f"{scope!r} is no scope" if len(scope) < 20 else "something else stands in place of scopes"
            )
            raise InputError(f"{shown}; expected {', '.join(SCOPES)}, or both with a comma.{hint}")
    if not scopes:
        raise InputError(f"no scope; expected {', '.join(SCOPES)}, or both.")
    return frozenset(scopes)


def _digest(token: str) -> str:
    # A bare digest is enough: nobody guesses 256 random bits, however fast.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
