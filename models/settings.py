"""Settings that are said once: help, bounds and heading stand with the field of a dataclass.

    @settings
    class Recipe:
        views: int | None = setting(None, "Versions of each image.", least=1, most=64, unset="4")

The check, the options of the command line, defaults of estimators and their docstrings are read from there.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from models.errors import InputError

Value = TypeVar("Value")
Class = TypeVar("Class", bound=type)
_SETTING = "setting"  # key in a field's metadata
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_MANY = {int: "whole numbers", float: "numbers", str: "names"}


@dataclass(frozen=True)
class Setting:
    """What is known of a setting.

    `help`: a sentence. `unset`: what None, or a default that is empty, stands for. `least` and `most` belong to the
    range, `above` and `below` bound it. `heading`: of the group that help shows it in; `metavar`: what help calls the
    value. The rest comes from the field and its type.
    """

    help: str
    unset: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    heading: str = ""
    metavar: str = ""
    name: str = ""
    default: Any = None
    kind: type = object  # bool, int, float or str; object is not checked
    choices: tuple[str, ...] = ()
    optional: bool = False
    many: bool = False

    @property
    def range(self) -> str:
        """The bounds in words: `from 0 to below 1`."""
        bounds = (("from", self.least), ("above", self.above), ("to", self.most), ("to below", self.below))
        return " ".join(f"{word} {_plain(bound)}" for word, bound in bounds if bound is not None)

    @property
    def expected(self) -> str:
        """What a value must be, for an error."""
        if self.choices:
            return f"one of {', '.join(self.choices)}" if len(self.choices) > 1 else self.choices[0]
        words = f"{(_MANY if self.many else _WORDS)[self.kind]} {self.range}".rstrip()
        return f"{words}, with commas between them" if self.many else words

    @property
    def described(self) -> str:
        """The help with default and range."""
        default = self.unset if self.unset and not self.default else _plain(self.default)
        if self.kind is bool:
            default = "on" if self.default else "off"
        facts = [f"default: {default}" if default else "", self.range]
        return f"{self.help}  [{'; '.join(filter(None, facts))}]" if any(facts) else self.help

    @property
    def placeholder(self) -> str:
        """What help calls the value."""
        kinds = {bool: "BOOLEAN", int: "INTEGER", float: "FLOAT", str: "TEXT"}
        return self.metavar or "|".join(self.choices) or kinds.get(self.kind, "")

    def parse(self, text: str) -> Any:
        """The value that a text stands for, of an option, a file or an environment variable.

        Raises:
            InputError: it stands for none, or for one out of range.
        """
        try:
            if self.many:
                return self.checked(
                    tuple(self.kind(part.strip()) for part in text.split(",") if part.strip())
                )
            value = {"true": True, "false": False}.get(text, text) if self.kind is bool else self.kind(text)
        except ValueError:
            raise self._refused(text) from None
        return self.checked(value)

    def checked(self, value: Any) -> Any:
        """The value as a plain one of Python: bool, int, float, str, a tuple of them, or None.

        Raises:
            InputError: it is of another kind or out of range.
        """
        if self.kind is object or (value is None and self.optional):
            return value
        try:
            if not self.many:
                return self._one(value)
            if isinstance(value, str):  # is iterable too
                raise TypeError
            return tuple(self._one(part) for part in value)
        except (TypeError, ValueError, OverflowError):
            raise self._refused(value) from None

    def _one(self, value: Any) -> Any:
        if hasattr(value, "item"):  # a scalar of NumPy
            value = value.item()
        if not isinstance(value, (int, float) if self.kind is float else self.kind):
            raise TypeError
        if isinstance(value, bool) and self.kind is not bool:  # is an int too
            raise TypeError
        value = self.kind(value)
        if self.choices and value not in self.choices:
            raise ValueError
        if self.kind in (int, float) and not (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        ):
            raise ValueError
        return value

    def _refused(self, value: Any) -> InputError:
        shown = _plain(value) if isinstance(value, float) else repr(value)
        return InputError(f"{self.name} is {shown[:60]}; expected {self.expected}.")


def _plain(value: Any) -> str:
    """A value as people write it: 1 for 1.0, nothing for None."""
    if isinstance(value, tuple | list):
        return ",".join(map(_plain, value))
    return "" if value is None else repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def setting(default: Value, help: str, **known: Any) -> Value:  # noqa: A002 (what it is called everywhere)
    """A field of a dataclass with its default, and what is known of it: attributes of `Setting`."""
    field: Value = dataclasses.field(default=default, metadata={_SETTING: Setting(help, **known)})
    return field


def fresh_setting(factory: Callable[[], Value], help: str, heading: str = "") -> Value:  # noqa: A002
    """A field whose default is made anew each time; settings inside it stand under `heading`."""
    known = Setting(help, heading=heading)
    field: Value = dataclasses.field(default_factory=factory, metadata={_SETTING: known})
    return field


def settings_of(kind: Any) -> dict[str, Setting]:
    """All settings of a dataclass by name, those of a dataclass inside it too; where both have one, the outer one."""
    hints, by_name = get_type_hints(kind), dict[str, Setting]()
    for field in dataclasses.fields(kind):
        known, hint = field.metadata.get(_SETTING), hints[field.name]
        if dataclasses.is_dataclass(hint):
            for name, one in settings_of(hint).items():
                heading = (known.heading if known else "") or one.heading
                by_name.setdefault(name, dataclasses.replace(one, heading=heading))
        elif known:
            default = None if field.default is dataclasses.MISSING else field.default
            by_name[field.name] = dataclasses.replace(known, name=field.name, default=default, **_type(hint))
    return by_name


def _type(hint: Any) -> dict[str, Any]:
    """`kind`, `choices`, `optional` and `many` of a type such as `int | None` or `tuple[str, ...]`."""
    arguments, optional = get_args(hint), False
    if get_origin(hint) in (Union, types.UnionType):
        optional, kinds = type(None) in arguments, [a for a in arguments if a is not type(None)]
        hint = kinds[0] if len(kinds) == 1 else object
    many = get_origin(hint) is tuple
    hint = get_args(hint)[0] if many else hint
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    kind = str if choices else hint if hint in _WORDS else object
    return {"kind": kind, "choices": choices, "optional": optional, "many": many}


@dataclass_transform(frozen_default=True)
def settings(kind: type[Value]) -> type[Value]:
    """Makes a class a frozen dataclass that refuses values out of range, with its settings in its docstring.

    Other values become plain ones of Python; then comes the class's own `__post_init__`, for what goes together.
    """
    own = kind.__dict__.get("__post_init__")

    def check(made: Any) -> None:
        for name, one in known.items():
            if name in vars(made):  # others are those of a dataclass inside it, which has checked them
                object.__setattr__(made, name, one.checked(getattr(made, name)))
        if own:
            own(made)

    kind.__post_init__ = check  # type: ignore[attr-defined]
    made = documented()(dataclass(frozen=True)(kind))
    known = settings_of(made)
    return made


def updated(given: Value, values: Mapping[str, Any]) -> Value:
    """The settings with these values, by name, in dataclasses inside them too.

    Raises:
        InputError: a name that is none, or a value out of range.
    """
    known = settings_of(type(given))
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise InputError(
                f"no setting is called {name!r}; expected one of {', '.join(known)}."
                + (f" Did you mean {close[0]}?" if close else "")
            )
    result: Value = _updated(given, values)
    return result


def _updated(given: Any, values: Mapping[str, Any]) -> Any:
    fields = vars(given).items()
    nested = {name: _updated(value, values) for name, value in fields if dataclasses.is_dataclass(value)}
    return dataclasses.replace(
        given, **nested, **{name: values[name] for name, _ in fields if name in values}
    )


def documented(*kinds: type) -> Callable[[Class], Class]:
    """A decorator that lists in the docstring of a dataclass what `kinds`, or it itself, know of its fields."""

    def decorate(made: Class) -> Class:
        known = {name: one for kind in kinds or (made,) for name, one in settings_of(kind).items()}
        own = [known[field.name] for field in dataclasses.fields(made) if field.name in known]
        lines = [f"    `{one.name}` ({one.placeholder or 'any'}): {one.described}" for one in own]
        made.__doc__ = "\n".join([(made.__doc__ or "").rstrip(), "", *lines, "    "])
        return made

    return decorate
