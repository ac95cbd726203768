"""How a head or blocks are trained."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

from models.settings import setting, settings

OptimizerName = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "adagrad_da", "adadelta", "rmsprop", "adam", "adamw", "ftrl"
]
ScheduleName = Literal["cosine", "one_cycle", "constant", "exponential"]
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
# These compute weights anew from sums of gradients: weights that are there already would be lost in the first step.
FORGETFUL: tuple[OptimizerName, ...] = ("adagrad_da", "ftrl")
BLOCK_RATE = 1e-3  # of head and blocks together, where no other is tried
BLOCK_RATES = (BLOCK_RATE, 3e-3, 3e-4)  # the first is tried, then a higher or a lower one
_DECAY, _ADAMW_DECAY = 0.01, 1.0  # adamw multiplies it with the rate


@settings
class Settings:
    """What decides about training besides the data. All values are plain, `to_json` gives them.

    Learning rates are the highest of the schedule: "cosine" goes down to 0, "one_cycle" up and down (its warm-up is
    its own), "exponential" down to a hundredth. Weight decay is of weights, never of biases; beside the step in
    "adamw", else L2 in the gradient: both defaults shrink about as much as a logistic regression does. An image of a
    class of n images counts as images / (classes n) where classes are "balanced". For label smoothing see
    `losses.softmax_cross_entropy`. Blocks between the uppermost and the lowest learn slower by powers between.
    """

    optimizer: OptimizerName = setting(
        "adamw", f"How weights are updated: {', '.join(OPTIMIZERS)}.", metavar="NAME"
    )
    learning_rate: float | None = setting(
        None, "Highest rate of the head.", unset="found by a sweep", above=0
    )
    schedule: ScheduleName = setting("cosine", "How the rate changes over the steps.")
    warmup: float = setting(
        0.05, "Part of the steps in which the rate rises in a line first.", least=0, below=1
    )
    epochs: int = setting(50, "Passes over the images that train the head, at most.", least=1)
    batch_size: int = setting(32, "Images in a step.", least=1)
    hidden: tuple[int, ...] = setting(
        (), "Units of each hidden layer, such as 256.", unset="none", least=1, metavar="N,N"
    )
    dropout: float = setting(
        0.0, "Part dropped before the last layer and after hidden ones.", least=0, below=1
    )
    weight_decay: float | None = setting(
        None, "How much weights shrink.", unset=f"{_ADAMW_DECAY:g} with adamw, else {_DECAY:g}", least=0
    )
    label_smoothing: float = setting(0.0, "Part of the target spread over all classes.", least=0, below=1)
    class_weights: Literal["balanced"] | None = setting(None, "Let rare classes count more.", unset="none")
    patience: int | None = setting(10, "End after so many epochs without gain.", least=1)
    clip_norm: float | None = setting(
        None, "Longest gradient of all variables together.", unset="any", above=0
    )
    seed: int = setting(0, "Of everything drawn at random.", least=0)
    block_epochs: int = setting(8, "Passes that train head and blocks together, at most.", least=1)
    block_learning_rate: float | None = setting(
        None, "Highest rate of head and blocks together.", above=0,
        unset=f"{', '.join(f'{rate:g}' for rate in sorted(BLOCK_RATES))}, by a short trial",
    )  # fmt: skip
    rate_factor: float = setting(
        1.0, "How much slower the uppermost block learns than the head; the lowest, squared.", above=0, most=1
    )

    @property
    def decay(self) -> float:
        """`weight_decay`, or what None stands for."""
        if self.weight_decay is None:
            return _ADAMW_DECAY if self.optimizer == "adamw" else _DECAY
        return self.weight_decay

    def to_json(self) -> dict[str, Any]:
        """All settings as plain values: `Settings(**values)` makes them again."""
        return {**dataclasses.asdict(self), "hidden": list(self.hidden)}
