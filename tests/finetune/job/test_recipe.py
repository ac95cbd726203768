"""Recipes whose settings do not go together."""

from __future__ import annotations

import pytest

from finetune.job.recipe import Recipe
from models.errors import InputError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "expected one of sklearn, head, blocks"),
        ({"unfreeze": "pool"}, "for --method blocks"),
        ({"classifier": "logistic"}, "for --method sklearn"),
        ({"method": "sklearn", "classifier": "oracle"}, "expected one of logistic"),
        ({"views": 0}, "views is 0; expected a whole number from 1 to 64"),
        ({"val": 0.0}, "val is 0; expected a number above 0"),
        ({"val": 0.6, "test": 0.5}, "something left to train on"),
        ({"keep": 1.0}, "keep is 1"),
    ],
)
def test_recipes_that_do_not_go_together(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe(**options)  # type: ignore[arg-type]
