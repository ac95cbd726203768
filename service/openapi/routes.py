"""Routes: a method, a path, and a function; what it takes and gives stands with it, once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, request

from service.openapi.parameters import NoParameters, parse_parameters
from service.shapes import Failure

View = Callable[[Any], Response]
JSON = "application/json"
_NONE: Mapping[Any, Any] = MappingProxyType({})
_IN_PATH = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Route:
    """One route of the service.

    `path` has its parameters in braces. `body` and `answers` say for each media type what is in it: a type, or None
    for bytes; `status` is that of the answer, and `others` says what other statuses answer that are no failures.
    `statuses` are those of errors that not every route has, `failure` is the type of what they answer. `name` is
    that of the operation.
    """

    method: str
    path: str
    view: View
    parameters: type
    body: Mapping[str, Any]
    answers: Mapping[str, Any]
    others: Mapping[int, Any]
    statuses: tuple[int, ...]
    tag: str
    name: str
    failure: type
    status: int = 200

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that stand in the path."""
        return tuple(_IN_PATH.findall(self.path))

    @property
    def summary(self) -> str:
        """The first sentence of the function's docstring."""
        return inspect.getdoc(self.view).partition("\n")[0]  # type: ignore[union-attr]

    @property
    def description(self) -> str:
        """The rest of the docstring."""
        return " ".join(inspect.getdoc(self.view).partition("\n")[2].split())  # type: ignore[union-attr]

    def answer(self, **path: str) -> Response:
        """The answer to the request that Flask has at hand; `path` are the parameters in its path.

        Raises:
            InputError: as `parse_parameters`.
            GraftError: what the function raises.
        """
        return self.view(parse_parameters(self.parameters, request.args, path))


class Routes:
    """The routes of one protocol, in the order in which they are declared."""

    def __init__(self, name: str, prefix: str = "", failure: type = Failure) -> None:
        """`name`: of the group, of which `service.safety` says who may call it; `prefix`: what all paths begin with;
        `failure`: the type of what a refused request is answered.
        """
        self.name, self._prefix, self._failure = name, prefix, failure
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def get(self, path: str, parameters: type = NoParameters, **declared: Any) -> Callable[[View], View]:
        """`route` with the method GET; Flask answers HEAD, too."""
        return self.route("GET", path, parameters, **declared)

    def post(self, path: str, parameters: type = NoParameters, **declared: Any) -> Callable[[View], View]:
        """`route` with the method POST."""
        return self.route("POST", path, parameters, **declared)

    def route(
        self,
        method: str,
        path: str,
        parameters: type = NoParameters,
        *,
        answer: Any,
        body: Mapping[str, Any] = _NONE,
        others: Mapping[int, Any] = _NONE,
        statuses: tuple[int, ...] = (),
        name: str = "",
        status: int = 200,
    ) -> Callable[[View], View]:
        """Declare a route: the decorated function takes the parameters and makes the answer.

        `answer`: the type of its JSON; or a type, or None for bytes, for each media type. `name`: where the function's
        own is taken. The rest as in `Route`.
        """
        answers = answer if isinstance(answer, Mapping) else {JSON: answer}

        def declare(view: View) -> View:
            self._routes.append(
                Route(
                    method,
                    self._prefix + path,
                    view,
                    parameters,
                    body,
                    answers,
                    others,
                    statuses,
                    self.name,
                    name or view.__name__,
                    self._failure,
                    status,
                )
            )
            return view

        return declare

    def blueprint(self) -> Blueprint:
        """The routes for Flask, which answers HEAD and OPTIONS of them too."""
        blueprint = Blueprint(self.name, __name__)
        for route in self._routes:
            rule = _IN_PATH.sub(r"<\1>", route.path)
            blueprint.add_url_rule(rule, route.name, route.answer, methods=[route.method])
        return blueprint
