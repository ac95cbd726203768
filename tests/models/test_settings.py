"""Settings that are said once: bounds that hold, texts that are read, values that become plain."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from models.errors import InputError
from models.settings import fresh_setting, setting, settings, settings_of, updated


@settings
class Oven:
    seed: int = setting(1, "Of the oven.")
    heat: float | None = setting(None, "Degrees.", unset="what the dish needs", above=0, most=300)


@settings
class Meal:
    """What is cooked."""

    dish: Literal["soup", "stew"] = setting("soup", "Kind of dish.", heading="Food")
    seed: int = setting(0, "Of the cook.", least=0)
    salt: float = setting(0.5, "Part of salt.", least=0, below=1)
    guests: tuple[int, ...] = setting((), "At each table.", unset="nobody", least=1)
    names: tuple[str, ...] = setting((), "Who comes.")
    hours: float = setting(1.0, "Of cooking.", least=0)
    warm: bool = setting(True, "Serve it warm.")
    note: object = None  # not a setting
    oven: Oven = fresh_setting(Oven, "What heats.", "Oven")


REFUSED: list[tuple[str, Any, str]] = [
    ("dish", "cake", "dish is 'cake'; expected one of soup, stew."),
    ("dish", None, "dish is None; expected one of soup, stew."),
    ("seed", -1, "seed is -1; expected a whole number from 0."),
    ("seed", 1.5, "seed is 1.5; expected a whole number from 0."),
    ("seed", True, "seed is True; expected a whole number from 0."),
    ("seed", "1", "seed is '1'; expected a whole number from 0."),
    ("salt", 1, "salt is 1; expected a number from 0 to below 1."),
    ("salt", float("nan"), "salt is nan; expected a number from 0 to below 1."),
    ("salt", 10**400, "salt is 1000"),
    ("hours", float("inf"), "hours is inf; expected a number from 0."),
    ("guests", (2, 0), r"guests is \(2, 0\); expected whole numbers from 1, with commas between them."),
    ("guests", 3, "guests is 3; expected whole numbers"),
    ("names", "Ann", "names is 'Ann'; expected names, with commas between them."),
    ("warm", "no", "warm is 'no'; expected true or false."),
]


@pytest.mark.parametrize(("name", "value", "sentence"), REFUSED)
def test_what_cannot_be_is_refused(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Meal(**{name: value})


@pytest.mark.parametrize(("heat", "good"), [(0, False), (1, True), (300, True), (301, False), (None, True)])
def test_ends_of_a_range(heat: float | None, good: bool) -> None:
    known = settings_of(Oven)["heat"]
    if good:
        assert known.checked(heat) == heat
    else:
        with pytest.raises(InputError, match="expected a number above 0 to 300"):
            known.checked(heat)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("dish", "stew", "stew"), ("seed", "7", 7), ("salt", "1e-1", 0.1), ("heat", "20", 20.0),
        ("guests", "2, 3", (2, 3)), ("guests", "", ()), ("names", "Ann,Ben", ("Ann", "Ben")), ("warm", "false", False),
    ],
)  # fmt: skip
def test_texts_are_read(name: str, text: str, value: Any) -> None:
    assert settings_of(Meal)[name].parse(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("seed", "many"), ("seed", "-1"), ("salt", "inf"), ("guests", "2,x"), ("warm", "no"), ("dish", "")]
)  # fmt: skip
def test_texts_that_say_nothing_are_refused(name: str, text: str) -> None:
    with pytest.raises(InputError, match=f"^{name} is .*; expected "):
        settings_of(Meal)[name].parse(text)


def test_values_become_plain() -> None:
    meal = Meal(seed=np.int64(3), salt=np.float32(0), guests=[np.int16(2)], warm=np.True_)  # type: ignore[arg-type]
    assert [type(value) for value in (meal.seed, meal.salt, *meal.guests, meal.warm)] == [
        int,
        float,
        int,
        bool,
    ]
    assert meal.guests == (2,)


def test_settings_inside_settings() -> None:
    known = settings_of(Meal)
    assert list(known) == ["dish", "seed", "salt", "guests", "names", "hours", "warm", "heat"]
    assert (known["dish"].heading, known["heat"].heading) == ("Food", "Oven")
    assert known["seed"].help == "Of the cook."
    meal = updated(Meal(), {"heat": 180, "seed": 5, "dish": "stew"})
    assert meal == Meal("stew", 5, oven=Oven(5, 180.0))
    with pytest.raises(
        InputError, match=r"no setting is called 'guest'; expected one of .* Did you mean guests\?"
    ):
        updated(Meal(), {"guest": 1})
    with pytest.raises(InputError, match="salt is 2"):
        updated(Meal(), {"salt": 2})


def test_help_tells_default_and_range() -> None:
    told = {name: known.described for name, known in settings_of(Meal).items()}
    assert told["seed"] == "Of the cook.  [default: 0; from 0]"
    assert told["heat"] == "Degrees.  [default: what the dish needs; above 0 to 300]"
    assert told["guests"] == "At each table.  [default: nobody; from 1]"
    assert told["names"] == "Who comes."
    assert told["warm"] == "Serve it warm.  [default: on]"
    assert Meal.__doc__ is not None
    assert "What is cooked." in Meal.__doc__
    assert "`dish` (soup|stew): Kind of dish.  [default: soup]" in Meal.__doc__
