"""Parameters in an address become a dataclass of settings, or an error that says what was expected."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import MultiDict

from models.errors import InputError
from models.settings import setting, settings
from service.openapi.parameters import parse_parameters


@settings
class Wanted:
    """For these tests."""

    name: str = setting("", "In the path.")
    class_: str | None = setting(None, "A word of Python.")
    count: int = setting(1, "How many.", least=1, most=9)
    among: tuple[str, ...] = setting((), "Some.")


def parsed(*query: tuple[str, str]) -> Wanted:
    return parse_parameters(Wanted, MultiDict(query), {"name": "x"})


def test_values_in_the_path_are_parsed_too() -> None:
    assert parse_parameters(Wanted, MultiDict(), {"count": "3"}).count == 3
    with pytest.raises(InputError, match="count is 'x'; expected a whole number"):
        parse_parameters(Wanted, MultiDict(), {"count": "x"})


def test_values_come_from_path_and_query() -> None:
    assert parsed(("class", "cat"), ("count", "3")) == Wanted("x", "cat", 3)
    assert parsed() == Wanted("x", None, 1)


def test_one_of_many_has_a_parameter_of_its_own_and_may_have_a_comma() -> None:
    assert parsed(("among", "tiger, tabby")).among == ("tiger, tabby",)
    assert parsed(("among", "a"), ("count", "2"), ("among", "b")).among == ("a", "b")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ([("name", "y")], "parameter 'name' is not known; expected class, count, among"),
        ([("class_", "y")], "parameter 'class_' is not known; expected class, count, among"),
        ([("x" * 99, "y")], f"parameter '{'x' * 40}' is not known"),
        ([("count", "2"), ("count", "3")], "count is given 2 times; expected it once"),
        ([("count", "10")], "count is 10; expected a whole number from 1 to 9"),
        ([("count", "1_0")], "count is '1_0'; expected a whole number"),
        ([("count", " 2")], "count is ' 2'; expected a whole number"),
        ([("count", "٣")], "count is '٣'; expected a whole number"),
    ],
)
def test_refusals(query: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parsed(*query)
