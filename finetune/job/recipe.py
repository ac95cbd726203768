"""Everything that decides about a fine-tuned model besides the images."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from finetune.classifiers.families import CLASSIFIERS, REGRESSORS
from finetune.dataset.task import Task
from finetune.training.settings import Settings
from models.config import DEFAULT_MODEL, MODEL_HELP
from models.errors import InputError
from models.settings import fresh_setting, setting, settings, settings_of, updated

Method = Literal["sklearn", "head", "blocks"]
# "auto": cross-fitting, unless parts are asked for by `val` and `test`, or there are very many images.
Measure = Literal["auto", "cross-fitting", "split"]
Preset = Literal["fast", "good", "best"]
# What a preset says where nobody else does. "best" tries several ways to learn, see `finetune.job.presets`.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {"method": "sklearn", "quantize": True},
    "good": {},
    "best": {},
}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
METHODS: tuple[Method, ...] = get_args(Method)
VIEWS = {"sklearn": 1, "head": 1, "blocks": 4}  # where the recipe does not say
_VIEWS_OF_BEST = 2  # which tries one of them too
_LEARNS, _IMAGES, _TRUST = "What learns", "Images", "Trust"  # headings


@settings
class Recipe:
    """How a model is fine-tuned; `training` says how a head and blocks are trained.

    Where the folders do not say which images are for what, images are held out in turn and all learned from in the
    end; of many images, or where `val` or `test` is not as it is here, one part is held out for good.
    """

    preset: Preset = setting(
        "good", "Least time; the settings below; or several networks, methods and views, and their mean.",
        heading=_LEARNS,
    )  # fmt: skip
    time_limit: str = setting(
        "", "Of preset best: when nothing more is begun, such as 90s, 10m, 1.5h.", unset="none", heading=_LEARNS,
        metavar="TIME",
    )  # fmt: skip
    model: str = setting(DEFAULT_MODEL, MODEL_HELP, heading=_LEARNS, metavar="MODEL")
    candidates: tuple[str, ...] = setting(
        (), "Networks to compare first; the best is fine-tuned.", heading=_LEARNS, metavar="MODEL,MODEL"
    )
    method: Method = setting(
        "head", "A scikit-learn classifier, a head, or a head and the network's top blocks.", heading=_LEARNS
    )
    task: Task = setting(
        "classification",
        "A class of each image, labels of which several may hold, or a number (a list's `target`).",
        heading=_IMAGES,
    )
    classifier: str = setting(
        "", f"For sklearn: {', '.join(CLASSIFIERS)}; of a regression {', '.join(REGRESSORS)}.",
        unset=f"{CLASSIFIERS[0]}; of a regression {REGRESSORS[0]}", heading=_LEARNS, metavar="NAME",
    )  # fmt: skip
    cut: str | None = setting(
        None, "Where features are taken.", unset="the model's own place", heading=_LEARNS, metavar="NAME"
    )
    unfreeze: str | None = setting(
        None, "For blocks: train what lies behind it.", unset="the last map before the pooled one",
        heading=_LEARNS, metavar="CUT",
    )  # fmt: skip
    views: int | None = setting(
        None, "Versions of each training image, itself among them.", least=1, most=64, heading=_LEARNS,
        unset=f"{VIEWS['head']}; blocks: {VIEWS['blocks']}",
    )  # fmt: skip
    flip: bool = setting(True, "Mirror some of the versions.", heading=_LEARNS)
    quantize: bool = setting(
        False, "Run the frozen part in int8: faster, slightly less exact.", heading=_LEARNS
    )
    measure: Measure = setting(
        "auto", "Hold out parts in turn and learn from all images in the end, or hold out one part for good (split).",
        heading=_IMAGES,
    )  # fmt: skip
    val: float = setting(
        0.15, "Of one split: part of the images for validation.", above=0, below=1, heading=_IMAGES
    )
    test: float = setting(
        0.15, "Of one split: part of the images for the test.", least=0, below=1, heading=_IMAGES
    )
    keep: float = setting(
        0.95, 'Part of known images that the threshold for "none of these" lets pass.', least=0.5, below=1,
        heading=_TRUST,
    )  # fmt: skip
    seed: int = setting(0, "Of everything drawn at random.", least=0, heading=_LEARNS)
    training: Settings = fresh_setting(
        Settings, "How a head and blocks are trained.", "Training (head and blocks)"
    )

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: a setting out of its range, or one that the method has no use for.
        """
        if self.candidates:
            self._check_candidates()
        self._check_preset()
        if self.task == "multilabel" and self.measure == "cross-fitting":
            raise InputError(
                "measure is 'cross-fitting', which is for classes and numbers; of several labels one split chooses "
                "temperature and thresholds. Leave it out."
            )
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
                f"no {'regression' if self.task == 'regression' else 'classifier'} is called {self.classifier!r}; "
                f"expected one of {', '.join(self.classifiers)}."
            )
        if self.val + self.test >= 1:
            raise InputError(
                f"val is {self.val:g} and test {self.test:g}; expected parts with something left to train on."
            )

    def _check_preset(self) -> None:
        if self.preset == "best" and (self.method != "head" or self.task == "multilabel"):
            raise InputError(
                f"preset best tries methods itself, for classes and numbers; the method is {self.method}, the task "
                f"{self.task}. Leave the preset or that out."
            )
        if self.time_limit and _TIME.fullmatch(self.time_limit) is None:
            raise InputError(
                f"time_limit is {self.time_limit!r}; expected seconds, minutes or hours: 90s, 10m, 1.5h."
            )
        if self.time_limit and self.preset != "best":
            raise InputError(
                f"time_limit {self.time_limit!r} is for --preset best; the preset is {self.preset}. Leave it out."
            )

    def _check_candidates(self) -> None:
        if len(set(self.candidates)) < max(2, len(self.candidates)):
            raise InputError(
                f"candidates (--try) are {', '.join(self.candidates)}; expected two networks or more, each once, with "
                "commas between them."
            )
        if self.model != DEFAULT_MODEL:
            raise InputError(
                f"model {self.model!r} and candidates (--try) both say which network to take. Leave one of them out."
            )
        for name, place in (("cut", self.cut), ("unfreeze", self.unfreeze)):
            if place is not None:
                raise InputError(
                    f"{name} {place!r} is a place in one network, and candidates (--try) names several. Leave one of "
                    "them out."
                )

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The scikit-learn methods for the task; the first is the default."""
        return REGRESSORS if self.task == "regression" else CLASSIFIERS

    @property
    def seconds(self) -> float | None:
        """The time limit; None where there is none."""
        match = _TIME.fullmatch(self.time_limit)
        return float(match[1]) * _SECONDS[match[2]] if match else None

    @property
    def view_count(self) -> int:
        """Versions of each training image."""
        return self.views or (_VIEWS_OF_BEST if self.preset == "best" else VIEWS[self.method])

    def to_json(self) -> dict[str, Any]:
        """All settings as plain values."""
        values = dataclasses.asdict(self)
        if not self.candidates:  # as runs were written down before there were any
            del values["candidates"]
        for name in ("preset", "time_limit"):  # and before there were these
            if values[name] == getattr(Recipe, name):
                del values[name]
        return values


def chosen(values: Mapping[str, Any]) -> Recipe:
    """The recipe with the settings that somebody has chosen, by name; the others have their defaults.

    Raises:
        InputError: a name that is none, a value out of range, or settings that do not go together.
    """
    values = {**PRESETS.get(str(values.get("preset")), {}), **values}
    of_training = [
        f"--{name.replace('_', '-')}" for name in settings_of(Settings) if name != "seed" and name in values
    ]
    if of_training and values.get("method") == "sklearn":
        raise InputError(
            f"{', '.join(of_training)}: for --method head or blocks; scikit-learn's classifiers choose their "
            "settings by cross-validation."
        )
    return updated(Recipe(), values)
