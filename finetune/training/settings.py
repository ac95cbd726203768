"""How a head or blocks are trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from models.errors import InputError

OptimizerName = Literal[
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "adagrad_da",
    "adadelta",
    "rmsprop",
    "adam",
    "adamw",
    "ftrl",
]
ScheduleName = Literal["cosine", "one_cycle", "constant", "exponential"]
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
# These compute weights anew from sums of gradients: weights that are there already would be lost in the first step.
FORGETFUL: tuple[OptimizerName, ...] = ("adagrad_da", "ftrl")


@dataclass(frozen=True)
class Settings:
    """What decides about training besides the data. All values are plain, `to_json` gives them.

    `learning_rate`: the highest of the schedule, None lets the learning-rate finder choose. `schedule`: "cosine" down
    to 0, "one_cycle" up and down, "exponential" down to a hundredth, "constant". `warmup`: part of the steps in which
    the rate rises in a line first ("one_cycle" rises by itself). `epochs`: at most so many passes over the images;
    `patience`: training ends after this many without a better one, None never. `hidden`: units of each
    hidden layer, () for a linear head. `dropout`: in front of the last layer, and behind each hidden one.
    `weight_decay`: of weights, never of biases; beside the step in "adamw", else L2 in the gradient. None: 1 in
    "adamw", where it is multiplied with the rate, else 0.01; both shrink about as much as a logistic regression does.
    `label_smoothing`: see `losses.softmax_cross_entropy`. `class_weights`: "balanced" counts an image of a class of n
    images as images / (classes n). `clip_norm`: longest gradient of all variables together.

    For blocks: `block_epochs` and `block_learning_rate` are those of the second phase, in which the head and the
    blocks below are trained together; None is a third of the rate of the first, at most 0.001. `rate_factor`: how much
    slower the uppermost block learns than the head; the lowest learns slower by its square, what is between by powers
    in between.
    """

    optimizer: OptimizerName = "adamw"
    learning_rate: float | None = None
    schedule: ScheduleName = "cosine"
    warmup: float = 0.05
    epochs: int = 50
    batch_size: int = 32
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    class_weights: Literal["balanced"] | None = None
    patience: int | None = 10
    clip_norm: float | None = None
    seed: int = 0
    block_epochs: int = 8
    block_learning_rate: float | None = None
    rate_factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: a setting out of its range.
        """
        object.__setattr__(self, "hidden", tuple(self.hidden))  # lists come out of JSON
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        for name in ("learning_rate", "block_learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value!r}; expected a number above 0.")
        for name in (
            "epochs",
            "batch_size",
            "block_epochs",
            *(["patience"] if self.patience is not None else []),
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected a whole number from 1.")
        for name in ("warmup", "dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected a part, from 0 to below 1.")
        if self.weight_decay is not None and not 0 <= self.weight_decay < float("inf"):
            raise InputError(f"weight_decay is {self.weight_decay!r}; expected 0 or more.")
        if not 0 < self.rate_factor <= 1:
            raise InputError(f"rate_factor is {self.rate_factor!r}; expected a factor above 0, at most 1.")
        if any(units < 1 for units in self.hidden):
            raise InputError(f"hidden is {self.hidden}; expected units of each layer, like (256,) or ().")
        if self.class_weights not in (None, "balanced"):
            raise InputError(f"class_weights is {self.class_weights!r}; expected 'balanced' or None.")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed!r}; expected a whole number from 0.")

    @property
    def decay(self) -> float:
        """`weight_decay`, or what None stands for."""
        if self.weight_decay is None:
            return 1.0 if self.optimizer == "adamw" else 0.01
        return self.weight_decay

    def to_json(self) -> dict[str, Any]:
        """All settings as plain values: `Settings(**values)` makes them again."""
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
