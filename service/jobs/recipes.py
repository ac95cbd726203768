"""What a job is asked to do: the settings of `graft finetune`, by the names that they have on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune.job.recipe import Recipe, chosen
from models.errors import InputError
from models.settings import settings_of
from models.zoo import find
from service.openapi.schema import Schema, schema_of_setting

_NOT_HERE = ("task",)  # what is taught here are classes


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """The recipe that settings by name make.

    Raises:
        InputError: a name that is none, a value out of range, settings that do not go together, or a network that is
            named by a path.
    """
    given = {name.replace("-", "_"): value for name, value in values.items()}
    for name in _NOT_HERE:
        if given.get(name, getattr(Recipe, name)) != getattr(Recipe, name):
            raise InputError(
                f"{name} is {str(given[name])[:40]!r}; only {getattr(Recipe, name)} is taught here."
            )
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    recipe = chosen(plain)
    for name in (recipe.model, *recipe.candidates):
        if find(name) is not None:
            continue
        raise InputError(
            f"no network is called {name[:60]!r}; expected a name from /v1/workspace. Files of this machine "
            "are taught from the command line alone."
        )
    return recipe


def model_bytes(recipe: Recipe) -> int:
    """Bytes that the file of the model will take at least: those of the smallest network that it may be made of."""
    rows = [row for name in (recipe.candidates or (recipe.model,)) if (row := find(name)) is not None]
    return min(row.file.stat().st_size if row.file.exists() else row.octets or 0 for row in rows)


def settings_schema() -> dict[str, Schema]:
    """The schema of each setting, for the document."""
    return {
        name: {**schema_of_setting(one), "description": one.described}
        for name, one in settings_of(Recipe).items()
        if name not in _NOT_HERE
    }
