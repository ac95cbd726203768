"""The learning-rate finder: rates rise until the loss blows up; a good one lies well before that.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3.
"""

from __future__ import annotations

from finetune.training.data import Array, TrainingData
from finetune.training.interrupt import Interrupt
from finetune.training.learner import Learner
from finetune.training.settings import Settings
from models.errors import NumericsError

LOW, HIGH = 1e-6, 10.0
STEPS = 100
_SMOOTH = 0.9  # weight of the past in the smoothed loss
_BLOWN = 4.0  # times the lowest loss: it has blown up
_PART = 30.0  # of the rate at the lowest loss
_FALLBACK = 1e-4  # where the very first loss is not finite
_SEED = 0x5EED  # the order of the images is another one than in training

Curve = list[tuple[float, float]]  # of (rate, smoothed loss)


def find_rate(
    learner: Learner, data: TrainingData, settings: Settings, interrupt: Interrupt
) -> tuple[float, Curve]:
    """The learning rate to train with, and the curve of (rate, smoothed loss); the variables of `learner` are spoilt.

    Its network was built with the schedule `rates.Sweep(LOW, HIGH, STEPS)`.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    learner.share()
    curve: Curve = []
    smoothed = 0.0
    epoch = 0
    batches: list[tuple[Array, Array]] = []
    for step in range(STEPS):
        interrupt.check()
        if not batches:
            rows = data.view_rows(settings.seed, epoch)
            batches = [(rows[b], b) for b in data.batches(settings.seed + _SEED, epoch, settings.batch_size)]
            epoch += 1
        chosen, batch = batches.pop()
        try:
            loss, _, rate, interrupted = learner.step(data.rows[chosen], data.y[batch])
        except NumericsError:
            break
        interrupt.asked |= interrupted
        smoothed = _SMOOTH * smoothed + (1 - _SMOOTH) * loss
        curve.append((rate, smoothed / (1 - _SMOOTH ** (step + 1))))
        if curve[-1][1] > _BLOWN * min(value for _, value in curve):
            break
    return choose(curve), curve


def choose(curve: Curve) -> float:
    """A thirtieth of the rate at which the smoothed loss is lowest, to two digits.

    A tenth is more usual. Held for epochs, that over-fits the features of a thousand images in the first of them.
    """
    if not curve:
        return _FALLBACK
    lowest = min(curve, key=lambda point: point[1])[0]
    return float(f"{max(lowest / _PART, LOW):.1e}")
