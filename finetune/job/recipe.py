"""Everything that decides about a fine-tuned model besides the images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from finetune.classifiers import CLASSIFIERS, REGRESSORS
from finetune.dataset.examples import Task
from finetune.training.settings import Settings
from models.errors import InputError

Method = Literal["sklearn", "head", "blocks"]
METHODS: tuple[Method, ...] = get_args(Method)
MAX_VIEWS = 64
VIEWS = {"sklearn": 1, "head": 4, "blocks": 4}  # where the recipe does not say


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned.

    `model`: a name of the zoo or an ONNX file. `method`: a scikit-learn classifier on features, a head trained on
    features, or a head and the blocks behind `unfreeze` trained together. `cut`: where features are taken, None for
    the model's own place; `unfreeze`: where the trained blocks begin, None for the last map before the pooled one.
    `classifier`: which one, for "sklearn". `views`: how many versions of each training image are learned from, the
    image itself among them; None is what suits the method. `val` and `test`: parts of the images, where the folders
    do not say which are for what. `keep`: part of known images that the "none of these" threshold lets pass.
    """

    model: str = "builtin"
    method: Method = "head"
    task: Task = "classification"
    classifier: str = ""
    cut: str | None = None
    unfreeze: str | None = None
    views: int | None = None
    flip: bool = True
    quantize: bool = False
    val: float = 0.15
    test: float = 0.15
    keep: float = 0.95
    seed: int = 0
    training: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: a setting out of its range, or one that the method has no use for.
        """
        if self.method not in METHODS:
            raise InputError(f"method {self.method!r}; expected one of {', '.join(METHODS)}.")
        if self.unfreeze is not None and self.method != "blocks":
            raise InputError(
                f"unfreeze {self.unfreeze!r} is for --method blocks; the method is {self.method}."
            )
        if self.classifier and self.method != "sklearn":
            raise InputError(
                f"classifier {self.classifier!r} is for --method sklearn; the method is {self.method}."
            )
        if self.classifier and self.classifier not in self.classifiers:
            raise InputError(
                f"no {'classifier' if self.task == 'classification' else 'regression'} is called {self.classifier!r}; "
                f"expected one of {', '.join(self.classifiers)}."
            )
        if self.views is not None and not 1 <= self.views <= MAX_VIEWS:
            raise InputError(f"views is {self.views}; expected 1 to {MAX_VIEWS} versions of an image.")
        if min(self.val, self.test) < 0 or self.val + self.test >= 1 or not self.val:
            raise InputError(
                f"val is {self.val:g} and test {self.test:g}; expected parts of the images, val above 0 and "
                "something left to train on."
            )
        if not 0.5 <= self.keep < 1:
            raise InputError(
                f"keep is {self.keep:g}; expected the part of known images to accept, 0.5 to below 1."
            )

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The scikit-learn methods for the task; the first is the default."""
        return CLASSIFIERS if self.task == "classification" else REGRESSORS

    @property
    def view_count(self) -> int:
        """Versions of each training image."""
        return self.views or VIEWS[self.method]

    def to_json(self) -> dict[str, Any]:
        """All settings as plain values."""
        return dataclasses.asdict(self)
