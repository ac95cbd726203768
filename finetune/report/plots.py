"""The plots of the report, each with the sentence that is read instead of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from finetune.dataset.task import Task
from finetune.report.calibrating import Calibration
from finetune.report.drawing import BLUE, GREEN, GROUND, INK, ORANGE, RULE, SOFT, TALL, Axes, draw
from finetune.report.findings import Floats, History, Interval, LearningPoint, RateSearch, Rejection
from finetune.report.judging import decimate
from finetune.trust.measures import wilson_interval

MOST_DOTS = 1500
_SCORES: dict[Task, str] = {
    "classification": "accuracy (%)", "multilabel": "mean average precision (%)", "regression": "R²",
}  # fmt: skip


def curves(history: History, what: str) -> Markup | None:
    """Training against validation over the epochs; `what` is "loss" or "accuracy". None: there is no such number."""
    train = history.train_loss if what == "loss" else history.train_accuracy
    val = history.deciding if what == "loss" else history.val_accuracy
    if train is None or not np.isfinite(train).any():
        return None
    scale = 1 if what == "loss" else 100

    def paint(axes: Axes) -> None:
        for curve, name, colour, style in ((train, "training", BLUE, "-"), (val, "validation", ORANGE, "--")):
            if curve is not None and np.isfinite(curve).any():
                rows, points = decimate(np.where(np.isfinite(curve), curve, np.nan))
                marker = len(rows) == 1
                axes.plot(
                    rows + history.first,
                    points * scale,
                    color=colour,
                    label=name,
                    linestyle=style,
                    marker=marker,
                )
        if len(train) > 1:
            axes.axvline(
                history.best + history.first, color=SOFT, linewidth=1, linestyle=":", label="kept epoch"
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss" if what == "loss" else "accuracy (%)")
        axes.set_xticks(whole=True)

    last = f"{train[history.best] * scale:.3g}"
    other = f" and {val[history.best] * scale:.3g} on validation images" if val is not None else ""
    alt = f"{what} over {len(train) - 1 + history.first} epochs; in the kept epoch {last} on training images{other}."
    return draw(f"curves-{what}", alt.capitalize(), paint)


def rate_search(search: RateSearch) -> Markup | None:
    """The loss as the learning rate was raised."""
    usable = np.isfinite(search.losses) & (search.rates > 0)
    if usable.sum() < 2:
        return None
    rates, losses = search.rates[usable], search.losses[usable]

    def paint(axes: Axes) -> None:
        rows, points = decimate(losses)
        axes.plot(rates[rows], points, color=BLUE)
        axes.axvline(
            search.chosen, color=ORANGE, linestyle="--", linewidth=1.5, label=f"taken: {search.chosen:.2g}"
        )
        axes.set_xscale("log")
        axes.set_ylim(top=min(losses.max(), losses[0] + 3 * (losses[0] - losses.min()) + 1e-6))
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")

    return draw("rates", f"Loss over the learning rate; {search.chosen:.2g} was taken.", paint)


def reliability(before: Calibration | None, after: Calibration) -> Markup:
    """What was said against what was true, before and after temperature."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle=":", label="perfect")
        for calibration, name, colour, marker in (
            (before, "before", ORANGE, "s"),
            (after, "after temperature" if before else "the model", BLUE, "o"),
        ):
            if calibration:
                seen = calibration.curve.count > 0
                x, y = 100 * calibration.curve.confidence[seen], 100 * calibration.curve.accuracy[seen]
                style = "-" if calibration is after else "--"
                axes.plot(x, y, color=colour, label=name, linestyle=style, linewidth=1.5)
                sizes = 12 + 90 * np.sqrt(calibration.curve.count[seen] / calibration.curve.count.sum())
                axes.scatter(x, y, sizes=sizes, color=colour, marker=marker)
        axes.set_xlim(0, 102)
        axes.set_ylim(0, 102)
        axes.set_xlabel("probability of the answer (%)")
        axes.set_ylabel("of these, right (%)")

    was = f", {100 * before.error:.1f} % before" if before else ""
    return draw(
        "reliability",
        f"Reliability curve: calibration error {100 * after.error:.1f} %{was}.",
        paint,
        TALL,
    )


def confidences(after: Calibration) -> Markup:
    """How many images got an answer of which probability."""

    def paint(axes: Axes) -> None:
        bins = len(after.curve.count)
        left = 100 * np.arange(bins) / bins
        right = np.where(after.curve.count > 0, np.nan_to_num(after.curve.accuracy) * after.curve.count, 0)
        width = 100 / bins * 0.9
        axes.bar(left, right, width, color=BLUE, label="right")
        axes.bar(left, after.curve.count - right, width, right, color=ORANGE, label="wrong")
        axes.set_xlim(0, 102)
        axes.set_xlabel("probability of the answer (%)")
        axes.set_ylabel("images")
        axes.grid(False, axis="x")

    return draw(
        "confidences",
        "How many images were answered with which probability, right and wrong.",
        paint,
        TALL,
    )


def rejection(rejection: Rejection) -> Markup | None:
    """Histogram of the reject scores with the threshold."""
    known = rejection.known[np.isfinite(rejection.known)]
    unknown = (
        rejection.unknown[np.isfinite(rejection.unknown)] if rejection.unknown is not None else known[:0]
    )
    every = np.concatenate([known, unknown, [rejection.threshold]])
    if not len(known) or not np.isfinite(rejection.threshold):
        return None

    def paint(axes: Axes) -> None:
        low, high = np.percentile(every, [0.5, 99.5])  # one far outlier would leave a single bar
        low, high = min(low, rejection.threshold), max(high, rejection.threshold)
        edges = np.linspace(low, high, 31) if high > low else np.linspace(low - 0.5, low + 0.5, 4)
        middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
        for scores, name, colour, offset in (
            (known, "known classes", GREEN, -0.22),
            (unknown, "none of these", ORANGE, 0.22),
        ):
            if len(scores):
                share = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
                left = middle + (offset - 0.22) * width
                axes.bar(left, 100 * share, 0.44 * width, color=colour, label=name)
        axes.axvline(rejection.threshold, color=INK, linestyle="--", linewidth=1.5, label="threshold")
        axes.set_xlabel("reject score (larger: less like anything known)")
        axes.set_ylabel("images of each kind (%)")
        axes.grid(False, axis="x")

    alt = f"Histogram of reject scores of known{' and unknown' if len(unknown) else ''} images with the threshold."
    return draw("rejection", alt, paint)


def learning(points: tuple[LearningPoint, ...], images: dict[str, int], task: Task) -> Markup:
    """Score over the number of training samples, with 95 % intervals of accuracies whose number of images is known."""
    scale = 1 if task == "regression" else 100

    def paint(axes: Axes) -> None:
        samples = np.array([point.samples for point in points])
        lines: tuple[tuple[str, str, str, str], ...] = (
            ("train", "on these samples", SOFT, ":"),
            ("val", "validation", ORANGE, "--"),
            ("test", "test", BLUE, "-"),
        )
        for key, name, colour, style in lines:
            values: list[Any] = [getattr(point, key) for point in points]
            scores = np.array([np.nan if value is None else value for value in values], np.float64)
            if np.isfinite(scores).any():
                axes.plot(
                    samples,
                    scores * scale,
                    color=colour,
                    linestyle=style,
                    marker=True,
                    label=name,
                )
                if key == "test" and images.get(key) and task == "classification":
                    ends = np.array(
                        [wilson_interval(round(s * images[key]), images[key]) for s in np.nan_to_num(scores)]
                    )
                    axes.fill_between(samples, *(100 * ends.T), color=colour, alpha=0.14)
        _sample_axis(axes, samples)
        axes.set_ylabel(_SCORES[task])

    scores = ", ".join(f"{point.samples}: {_score(point) * scale:.3g}" for point in points)
    return draw("learning", f"Learning curve; score by number of training samples: {scores}.", paint)


def fit_times(points: tuple[LearningPoint, ...]) -> Markup:
    """Fit time over the number of training samples."""

    def paint(axes: Axes) -> None:
        samples = np.array([point.samples for point in points])
        axes.plot(samples, [point.seconds for point in points], color=GREEN, marker=True)
        _sample_axis(axes, samples)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("fit time (s)")

    return draw("fit-times", "Time to fit by number of training samples.", paint)


def scatter(truth: Floats, values: Floats, interval: Interval | None, unit: str) -> Markup:
    """Predicted against true values of a regression."""
    rows, _ = decimate(truth, MOST_DOTS)

    def paint(axes: Axes) -> None:
        ends = [min(truth.min(), values.min()), max(truth.max(), values.max())]
        axes.plot(ends, ends, color=SOFT, linewidth=1, linestyle=":", label="perfect")
        if interval:
            axes.errorbar(truth[rows], interval.low[rows], interval.high[rows], color=BLUE, alpha=0.2)
        axes.scatter(truth[rows], values[rows], sizes=12, color=BLUE, outline=GROUND)
        axes.set_xlabel(_with("true value", unit))
        axes.set_ylabel(_with("the model's answer", unit))

    return draw("scatter", f"Predicted against true values of {len(truth)} images.", paint, TALL)


def residuals(truth: Floats, values: Floats, unit: str) -> Markup:
    """Histogram of predicted minus true."""
    errors = values.astype(np.float64) - truth

    def paint(axes: Axes) -> None:
        counts, edges = np.histogram(errors, min(40, max(5, int(np.sqrt(len(errors))))))
        axes.bar(edges[:-1], counts, edges[1] - edges[0], color=BLUE, outline=RULE)
        axes.axvline(0, color=INK, linewidth=1, linestyle="--")
        axes.set_xlabel(_with("answer minus true value", unit))
        axes.set_ylabel("images")
        axes.grid(False, axis="x")

    return draw("residuals", "Histogram of the errors.", paint, TALL)


def _sample_axis(axes: Axes, samples: np.ndarray[Any, Any]) -> None:
    axes.set_xscale("log")
    apart = [n for i, n in enumerate(samples) if i == len(samples) - 1 or samples[i + 1] / n > 1.25]
    axes.set_xticks(apart)
    axes.set_xlabel("training samples")


def _score(point: LearningPoint) -> float:
    score = point.test if point.test is not None else point.val
    return float("nan") if score is None else score


def _with(label: str, unit: str) -> str:
    """An axis label with its unit; one that a plot could not write well is left to the text."""
    writable = unit.isprintable() and all(ord(letter) < 0x250 and letter != "$" for letter in unit)
    return f"{label} ({unit})" if unit and len(unit) <= 20 and writable else label
