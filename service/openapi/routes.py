"""Routes: a method, a path, and a function; what it takes and gives stands with it, once."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, cast

from flask import Blueprint, Request, Response, request

from service.openapi.parameters import NoParameters, parse_parameters
from service.shapes import Failure
from service.steps import Steps, finish

View = Callable[[Any], Response]
JSON = "application/json"
# A function that works in steps takes the request, too: it may be called outside of Flask's contexts.
StepView = Callable[[Any, Request], Steps[Response]]
_NONE: Mapping[Any, Any] = MappingProxyType({})
Declared = TypeVar("Declared", View, StepView)
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
    view: View | StepView
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
        if self.in_steps:
            return finish(self.steps(request, path))
        return cast(View, self.view)(parse_parameters(self.parameters, request.args, path))

    @property
    def in_steps(self) -> bool:
        """Whether the function works in steps."""
        return inspect.isgeneratorfunction(self.view)

    def steps(self, asked: Request, path: Mapping[str, str]) -> Steps[Response]:
        """The answer to a request in steps, of a function that works so; raises as `answer`."""
        given: Any = parse_parameters(self.parameters, asked.args, path)
        return (yield from cast(StepView, self.view)(given, asked))


def json_response(**fields: Any) -> Response:
    """An answer in JSON, as `flask.jsonify` makes it within Flask's contexts."""
    return Response(json.dumps(fields, separators=(",", ":")) + "\n", content_type=JSON)


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

    def get(
        self, path: str, parameters: type = NoParameters, **declared: Any
    ) -> Callable[[Declared], Declared]:
        """`route` with the method GET; Flask answers HEAD, too."""
        return self.route("GET", path, parameters, **declared)

    def post(
        self, path: str, parameters: type = NoParameters, **declared: Any
    ) -> Callable[[Declared], Declared]:
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
    ) -> Callable[[Declared], Declared]:
        """Declare a route: the decorated function takes the parameters and makes the answer.

        `answer`: the type of its JSON; or a type, or None for bytes, for each media type. `name`: where the function's
        own is taken. The rest as in `Route`.
        """
        answers = answer if isinstance(answer, Mapping) else {JSON: answer}

        def declare(view: Declared) -> Declared:
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
