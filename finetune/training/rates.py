"""Settings made into schedules and optimizers of the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from finetune.autodiff.clipping import by_global_norm
from finetune.autodiff.ops.elementwise import where
from finetune.autodiff.optimizers import (
    FTRL,
    SGD,
    Adadelta,
    Adagrad,
    AdagradDA,
    Adam,
    AdamW,
    Momentum,
    Optimizer,
    RMSProp,
)
from finetune.autodiff.schedules import Schedule, constant, cosine, exponential, one_cycle
from finetune.autodiff.tensor import Tensor, Variable
from finetune.training.settings import Settings

_CLASSES: Mapping[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Momentum,
    "adagrad": Adagrad,
    "adagrad_da": AdagradDA,
    "adadelta": Adadelta,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
    "ftrl": FTRL,
}
_LAST = 0.01  # to which part of the rate "exponential" falls
_SHORTEST = 10  # steps; one_cycle divides by its parts


@dataclass(frozen=True)
class Scheduled:
    """The schedule of `settings`, see `schedule`, by what it is made of: unlike one that is made, it pickles."""

    settings: Settings
    rate: float
    steps: int

    def __call__(self, step: Tensor) -> Tensor:
        """The rate at `step`."""
        return schedule(self.settings, self.rate, self.steps)(step)


@dataclass(frozen=True)
class Sweep:
    """From `low` to `high` in equal factors, over `steps` steps."""

    low: float
    high: float
    steps: int

    def __call__(self, step: Tensor) -> Tensor:
        """The rate at `step`."""
        return exponential(self.low, self.steps - 1, self.high / self.low)(step)


def schedule(settings: Settings, rate: float, steps: int) -> Schedule:
    """The schedule of `settings` with `rate` as its highest, over `steps` steps."""
    steps = max(steps, _SHORTEST)
    if settings.schedule == "one_cycle":
        return one_cycle(rate, steps)
    warmup = round(settings.warmup * steps)
    if settings.schedule == "cosine":
        return cosine(rate, steps, warmup=warmup)
    if settings.schedule == "exponential":
        return _warmed(exponential(rate, max(steps - warmup, 1), _LAST), rate, warmup)
    return _warmed(constant(rate), rate, warmup)


def optimizer(
    settings: Settings, rate: Schedule, rates: Mapping[Variable, float], undecayed: Collection[Variable]
) -> Optimizer:
    """The optimizer of `settings`. `rates`: factors for single variables."""
    common: dict[str, Any] = {"rates": rates, "undecayed": undecayed}
    if settings.clip_norm is not None:
        common["clip"] = by_global_norm(settings.clip_norm)
    common["decay" if settings.optimizer == "adamw" else "weight_decay"] = settings.decay
    if settings.optimizer == "nesterov":
        common["nesterov"] = True
    return _CLASSES[settings.optimizer](rate, **common)


def depth_factors(variables: list[Variable], factor: float) -> dict[Variable, float]:
    """Rates of pretrained variables, which stand from the lowest to the uppermost: factor^2 rising to factor."""
    last = max(len(variables) - 1, 1)
    return {v: factor ** (2.0 - i / last) for i, v in enumerate(variables)}


def _warmed(after: Schedule, rate: float, warmup: int) -> Schedule:
    if not warmup:
        return after

    def at(step: Tensor) -> Tensor:
        return where(step < warmup, rate * (step + 1.0) / warmup, after(step - warmup))

    return at
