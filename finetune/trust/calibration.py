"""Whether probabilities mean what they say: temperature scaling, calibration error, reliability curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.trust.measures import softmax, wilson_interval
from models.errors import InputError, NumericsError

TEMPERATURES = (0.05, 20.0)  # never less, never more
BINS = 15
_PARTS = 5  # of a cross-fitting
_PLENTY = 2_000  # images whose temperature fits others as well
_SAMPLES = 1_000  # of images whose probabilities are true
_SURE = 1.6448536269514722  # standard errors that a gain has to be above 0: 95 %, one-sided
_STEPS = 60  # of bisection: the width of log T shrinks to 1e-17


@dataclass(frozen=True)
class Reliability:
    """A reliability curve: what was said and what was true, in bins of the highest probability of an image."""

    confidence: NDArray[np.float64]  # (bins,) mean highest probability; NaN where a bin is empty
    accuracy: NDArray[np.float64]  # (bins,) share of right answers; NaN where a bin is empty
    count: NDArray[np.int64]  # (bins,) images


def fit_temperature(logits: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The temperature T for which softmax(logits / T) is likeliest on held-out images.

    `logits` (N, classes), `y` (N,) indices of the true classes. Minimises the mean negative log-likelihood, which is
    convex in 1 / T and has one minimum in log T, by bisection of its derivative, within `TEMPERATURES`. Source:
    Guo et al. 2017, "On calibration of modern neural networks".

    Two ends are kept from running away. Where (almost) every answer is right, the likelihood wants certainty, however
    few the images are: T stays so large that the mean highest probability is at most (N + 1) / (N + 2), which is what
    Laplace's rule of succession grants after N right answers in a row. Where answers are worse than chance, or the
    logits of each image are all equal, T is the upper bound or 1.

    Raises:
        InputError: no image, or shapes and classes that do not go together.
        NumericsError: the logits hold NaN or infinity.
    """
    scores, truth = _checked(logits, y, "logits")
    n, classes = len(scores), scores.shape[1]
    scores = scores - scores.max(axis=1, keepdims=True)  # (N, classes), the best is 0
    if classes < 2 or not scores.any():
        return 1.0
    wanted = scores[np.arange(n), truth]

    def slope(temperature: float) -> float:  # of the likelihood by 1 / T: above 0 means too sure
        return float(((softmax(scores, temperature) * scores).sum(axis=1) - wanted).mean())

    def excess(temperature: float) -> float:
        return float(softmax(scores, temperature).max(axis=1).mean()) - (n + 1) / (n + 2)

    return float(max(_lowest(slope), _lowest(excess)))


def checked_temperature(logits: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The temperature that fits, or 1 where nothing shows that it makes other images likelier (`temperature_helps`).

    Where not one answer is wrong, no image can tell, and it is never below 1, so that few images make nothing certain.
    One below 1 makes answers surer, which the likelihood may want of those that are wrong as well (classes that look
    alike by the handful): it goes no further than to where the mean highest probability is as much as the share of
    right answers may be, by its 95 % interval. See `fit_temperature` for the rest.
    """
    temperature = fit_temperature(logits, y)
    right = int((np.asarray(logits).argmax(axis=1) == y).sum())
    if temperature_helps(logits, y):
        return max(temperature, min(1.0, _as_sure(logits, wilson_interval(right, len(y))[1])))
    return max(1.0, temperature) if right == len(y) else 1.0


def _as_sure(logits: NDArray[Any], confidence: float) -> float:
    """The lowest temperature at which the mean highest probability of (N, classes) is at most this."""
    return _lowest(lambda temperature: float(softmax(logits, temperature).max(axis=1).mean()) - confidence)


def temperature_helps(logits: NDArray[Any], y: NDArray[np.int64]) -> bool:
    """Whether a temperature makes held-out images likelier that it was not fitted on, by more than chance explains.

    `logits` (N, classes), `y` (N,). Each of up to five parts is judged with the temperature of the others
    (cross-fitting): of few images it says more about these images than about others. The gain in log-likelihood, image
    by image, has to be above 0 with 95 % confidence, or the temperature is better left out. Of more than 2,000 images
    one temperature fits all parts.

    Raises:
        InputError: no image, or shapes and classes that do not go together.
        NumericsError: the logits hold NaN or infinity.
    """
    scores, truth = _checked(logits, y, "logits")
    parts = min(_PARTS, len(scores))
    if parts < 2:
        return False
    if len(scores) > _PLENTY:
        gains = _gains(scores, truth, fit_temperature(scores, truth))
    else:
        # Dealt out class by class, so that each part has its share.
        part = np.empty(len(truth), np.int64)
        part[np.argsort(truth, kind="stable")] = np.arange(len(truth)) % parts
        gains = np.empty(len(truth))
        for number in range(parts):
            held = part == number
            temperature = fit_temperature(scores[~held], truth[~held])
            gains[held] = _gains(scores[held], truth[held], temperature)
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return bool(gains.mean() > _SURE * error)


def _gains(scores: NDArray[np.float64], truth: NDArray[np.int64], temperature: float) -> NDArray[np.float64]:
    """How much likelier, in nats, each image (N,) is with a temperature than without."""
    return _log_likelihoods(scores, truth, temperature) - _log_likelihoods(scores, truth, 1.0)


def _log_likelihoods(
    scores: NDArray[np.float64], truth: NDArray[np.int64], temperature: float
) -> NDArray[np.float64]:
    scaled = (scores - scores.max(axis=1, keepdims=True)) / temperature
    return np.asarray(scaled[np.arange(len(truth)), truth] - np.log(np.exp(scaled).sum(axis=1)))


def calibration_error(probabilities: NDArray[Any], y: NDArray[np.int64], bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1: the mean gap between confidence and accuracy, over bins by their images.

    `probabilities` (N, classes), `y` (N,). Source: Naeini et al. 2015, with equally wide bins of the highest
    probability, as Guo et al. 2017 use them.

    Raises:
        InputError: no image, or shapes and classes that do not go together.
        NumericsError: the probabilities hold NaN or infinity.
    """
    curve = reliability(probabilities, y, bins)
    filled = curve.count > 0
    gaps = np.abs(curve.confidence[filled] - curve.accuracy[filled])
    return float((gaps * curve.count[filled]).sum() / curve.count.sum())


@dataclass(frozen=True)
class ChanceError:
    """The calibration error that a model shows of so many images whose probabilities are all true."""

    mean: float
    most: float  # in 95 of 100 samples it is at most this


def chance_error(curve: Reliability, seed: int = 0) -> ChanceError:
    """What the calibration error would be by chance alone, if the probabilities of a reliability curve were all true.

    Of some images in a bin, more or fewer are right than the probabilities say, and the error counts either. Right
    answers are drawn a thousand times as often as the bins promise. Source: Bröcker and Smith 2007, "Increasing the
    reliability of reliability diagrams" (consistency resampling).
    """
    filled = curve.count > 0
    count, confidence = curve.count[filled], np.clip(curve.confidence[filled], 0, 1)
    right = np.random.default_rng(seed).binomial(count, confidence, (_SAMPLES, len(count)))
    errors = np.abs(right - count * confidence).sum(axis=1) / max(int(count.sum()), 1)
    return ChanceError(float(errors.mean()), float(np.quantile(errors, 0.95)))


def reliability(probabilities: NDArray[Any], y: NDArray[np.int64], bins: int = BINS) -> Reliability:
    """Confidence and accuracy in `bins` equally wide bins of the highest probability; a bin owns its upper edge.

    Raises:
        InputError: no image, no bin, or shapes and classes that do not go together.
        NumericsError: the probabilities hold NaN or infinity.
    """
    values, truth = _checked(probabilities, y, "probabilities")
    if bins < 1:
        raise InputError(f"{bins} bins; expected at least 1.")
    best = values.max(axis=1)
    right = values.argmax(axis=1) == truth
    place = np.clip(np.ceil(best * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of an empty bin
        confidence = np.bincount(place, best, bins) / count
        accuracy = np.bincount(place, right, bins) / count
    return Reliability(confidence, accuracy, count)


def _lowest(rises: Callable[[float], float]) -> float:
    """The lowest T at which a function that falls with T is no longer above 0."""
    low, high = np.log(TEMPERATURES)
    if rises(float(np.exp(low))) <= 0:
        return TEMPERATURES[0]
    if rises(float(np.exp(high))) > 0:
        return TEMPERATURES[1]
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(float(np.exp(middle))) > 0 else (low, middle)
    return float(np.exp(high))


def _checked(
    values: NDArray[Any], y: NDArray[np.int64], what: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    table, truth = np.asarray(values, np.float64), np.asarray(y)
    if table.ndim != 2 or truth.shape != table.shape[:1] or not table.size:
        raise InputError(
            f"{what} {list(table.shape)} for {list(truth.shape)} classes; expected (images, classes) and one class "
            "for each image, one image at least."
        )
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= table.shape[1]:
        raise InputError(
            f"classes {truth.min()} to {truth.max()}; expected whole numbers below {table.shape[1]}."
        )
    if not np.isfinite(table).all():
        raise NumericsError(
            f"the {what} hold NaN or infinity. Train with a lower rate, or check the features."
        )
    return table, truth.astype(np.int64)
