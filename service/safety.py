"""Who may do what: one table of all routes, and one place where a request's API token is looked at."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from flask import Flask, Request, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from models.errors import AccessError, TokenError
from service.config import ServiceConfig
from service.headers import is_preflight
from service.neighbours import is_loopback, why_foreign
from service.tokens import Tokens, read_tokens

Scope = Literal["open", "infer", "admin"]
# By group of routes, the blueprint's name: who may call them. A group that is not here cannot be served.
ACCESS: dict[str, Scope] = {
    "health": "open",
    "description": "open",
    "page": "open",
    "metrics": "infer",
    "v1": "infer",
    "watching": "infer",
    "open_inference_health": "open",
    "open_inference": "infer",
    "open_inference_admin": "admin",
    "tensorflow_serving": "infer",
    "hugging_face": "infer",
    "openai": "infer",
    "admin": "admin",
    "admin_shadows": "admin",
    "workspace": "infer",
    "datasets": "admin",
    "jobs": "admin",
}
GUARD = "graft.guard"  # key of the app's extensions
_UNSEEN = "where it comes from cannot be seen"  # of what is no HTTP
_REALM = 'Bearer realm="graft"'


class Guard:
    """Lets requests in by their tokens. `tokens` may be replaced at any time."""

    def __init__(self, tokens: Tokens | None = None, *, teaches_here: bool = False) -> None:
        """`teaches_here`: without any token, whoever works at this machine may administer and teach."""
        self.tokens = tokens or Tokens()
        self._teaches_here = teaches_here

    @property
    def needs_no_token(self) -> bool:
        """Whether whoever works at this machine may administer."""
        return self._teaches_here and not len(self.tokens)

    def check(self, scope: Scope, authorization: str | None, foreign: str = _UNSEEN) -> None:
        """Refuse who may not. `authorization`: the header of that name; `foreign`: as `why_foreign` says.

        Without infer tokens everybody may infer; without admin tokens nobody may administer, but in a service that
        teaches on this machine alone.

        Raises:
            TokenError: no token, or one that is not known.
            AccessError: one that is for something else, or nobody may.
        """
        if scope == "open" or (scope == "infer" and not self.tokens.count("infer")):
            return
        if self.needs_no_token:
            if foreign:
                raise AccessError(
                    f"without tokens only this machine itself may teach and administer, and {foreign}. Use the address "
                    "that the service prints; for others start it with --tokens FILE."
                )
            return
        if not self.tokens.count(scope):
            raise AccessError(
                "administration is off. Start the service with --tokens FILE, which holds a token of the scope admin: "
                "graft token admin --out FILE"
            )
        if authorization is None:
            raise TokenError(
                f"a token of the scope {scope} is needed. Send: Authorization: Bearer TOKEN", _REALM
            )
        kind, _, token = authorization.strip().partition(" ")
        scopes = self.tokens.scopes(token.strip()) if kind.lower() == "bearer" else None
        if scopes is None:
            raise TokenError(
                "the token is not known here. Send one whose digest is in the service's file of tokens: "
                "Authorization: Bearer TOKEN",
                f'{_REALM}, error="invalid_token"',
            )
        if scope not in scopes:
            raise AccessError(f"the token is for {' and '.join(sorted(scopes))}; here {scope} is needed.")


def guard_of(config: ServiceConfig) -> Guard:
    """A guard with the tokens that a configuration names.

    Raises:
        InputError: as `read_tokens`.
    """
    tokens = read_tokens(Path(config.tokens)) if config.tokens is not None else None
    return Guard(tokens, teaches_here=config.workspace is not None and is_loopback(config.host))


def check_request(scope: Scope, request: Request, guard: Guard) -> None:
    """Refuse a request whose sender may not.

    Raises:
        TokenError, AccessError: as `Guard.check`.
    """
    foreign = why_foreign(dict(request.headers), request.scheme) if guard.needs_no_token else ""
    guard.check(scope, request.headers.get("Authorization"), foreign)


def access_of(rule: Rule) -> Scope:
    """Who may call a route.

    Raises:
        LookupError: nobody has said it.
    """
    group = rule.endpoint.rpartition(".")[0]
    if group not in ACCESS:
        raise LookupError(
            f"{rule.rule}: who may call it? Give its group {group!r} a row in service.safety.ACCESS."
        )
    return ACCESS[group]


def unwelcome_in(app: Flask) -> Callable[[str, str, str | None], bool]:
    """Tells of a request (method, path as it came, header Authorization) whether the app's guard will refuse it.

    So it is with one that no route takes, whoever sends it.
    """
    guard: Guard = app.extensions[GUARD]
    routes = app.url_map.bind("")

    @functools.lru_cache(maxsize=256)
    def scope(method: str, path: str) -> Scope | None:
        try:
            rule, _ = routes.match(unquote(path), method, return_rule=True)
        except HTTPException:
            return None
        return access_of(rule)

    def unwelcome(method: str, path: str, authorization: str | None) -> bool:
        known = scope(method, path)
        if known is None:
            return method != "OPTIONS"
        try:
            guard.check(known, authorization, foreign="")  # the application looks at that
        except (TokenError, AccessError):
            return method != "OPTIONS"
        return False

    return unwelcome


def protect(app: Flask, guard: Guard) -> None:
    """Let `guard` look at every request before its view does. Call it when all routes are there.

    Raises:
        LookupError: a route of which nobody has said who may call it.
    """
    for rule in app.url_map.iter_rules():
        access_of(rule)

    def look() -> None:
        # Else there is nothing at this address. A browser that asks beforehand what it may send (CORS) sends no token.
        if request.url_rule is not None and not is_preflight(request):
            check_request(access_of(request.url_rule), request, guard)

    app.extensions[GUARD] = guard
    app.before_request(look)
