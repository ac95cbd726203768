"""The two or three sentences at the top: how good, whether to trust it, what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from finetune.pages.formatting import number, percent, quoted
from finetune.report.comparing import Leaks
from finetune.report.findings import Findings
from finetune.report.multilabel import Multilabel
from finetune.report.summary import Classification, Summary

FEW_IMAGES = 100  # measured images below which the interval is wide
LARGE_ECE = 0.10
LOW_RECALL = 0.5
FEWEST_OF_A_CLASS = 10  # measured images of a class below which its recall says nothing
MANY_FAILED = 0.05
MANY_LEAKS = 0.01  # of the measured images
LEAK_EFFECT = 0.005  # on the accuracy
LARGE_IMBALANCE = 10.0  # largest class over smallest
MANY_ACCEPTED = 0.1  # of images that are none of the classes
MANY_REJECTED = 2.0  # times as many known images rejected as asked for


@dataclass(frozen=True)
class Concern:
    """A reason not to take the figure at face value, and what to do about it."""

    words: str
    advice: str


@dataclass(frozen=True)
class Verdict:
    """What the report comes to."""

    trusted: bool
    figure: str
    trust: str
    advice: str
    concerns: tuple[Concern, ...]


def judge(findings: Findings, summary: Summary) -> Verdict:
    """Say how good the model is, whether the figure can be trusted, and what to do next."""
    concerns = tuple(_concerns(findings, summary))
    if not findings.measured:
        trust = "Without them nothing can be said about its mistakes, nor about how far to trust it."
    elif concerns:
        reasons = [concerns[0].words, *(_upper(concern.words) for concern in concerns[1:2])]
        trust = "Take this with care: " + " ".join(reasons)
        rest = len(concerns) - 2
        if rest > 0:
            further = "One more reason is" if rest == 1 else f"{rest} more reasons are"
            trust += f" {further} in the report, under Reasons for care."
    else:
        reasons = list(_reasons(findings, summary))
        trust = "Nothing was found that speaks against this figure" + (
            f": {_join(reasons)}." if reasons else "."
        )
    return Verdict(
        not concerns, _figure(findings, summary), trust, _advice(findings, summary, concerns), concerns
    )


def _figure(findings: Findings, summary: Summary) -> str:
    where = "test" if findings.measured_on == "test" else "validation"
    if summary.classification:
        right = summary.classification.accuracy
        low, high = right.interval
        if findings.evaluation:
            return (
                f"{quoted(findings.model)} is right on {percent(right.value)} of {right.images} image"
                f"{_s(right.images)}; on other images of the same kind, expect {percent(low)} to {percent(high)} "
                "(95 % confidence), unless it has learned from these."
            )
        if findings.cross_fitted:
            return (
                f"Models like this one are right on {percent(right.value)} of {right.images} image{_s(right.images)}, "
                f"each asked of one that had not learned from it; of the model itself, which has learned from all, "
                f"expect {percent(low)} to {percent(high)} on other images of the same kind (95 % confidence)."
            )
        return (
            f"The model is right on {percent(right.value)} of {right.images} {where} image{_s(right.images)} that it "
            f"did not learn from; on other images of the same kind, expect {percent(low)} to {percent(high)} "
            "(95 % confidence)."
        )
    if summary.multilabel:
        return _label_figure(findings, summary.multilabel, where)
    if summary.regression:
        errors = summary.regression.errors
        unit = f" {findings.unit}" if findings.unit else ""
        explained = ""
        if math.isfinite(errors.r2):
            explained = (
                f" It explains {percent(errors.r2)} of the differences (R²)."
                if errors.r2 > 0
                else f" Always answering the mean would be closer (R² {number(errors.r2)})."
            )
        if findings.cross_fitted:
            return (
                f"Models like this one are off by {errors.mae:.3g}{unit} on average of {errors.images} "
                f"image{_s(errors.images)}, each asked of one that had not learned from it; the model itself has "
                f"learned from all.{explained}"
            )
        return (
            f"On {errors.images} {where} image{_s(errors.images)} that it did not learn from, the model is off by "
            f"{errors.mae:.3g}{unit} on average.{explained}"
        )
    return "It is not known how good this model is: there were no test images."


def _label_figure(findings: Findings, labels: Multilabel, where: str) -> str:
    measure, right = labels.measure, labels.measure.all_right
    low, high = right.interval
    images = f"{right.images} image{_s(right.images)}"
    subject = f"{quoted(findings.model)} gives" if findings.evaluation else "The model gives"
    which = (
        images
        if findings.evaluation
        else f"{right.images} {where} image{_s(right.images)} that it did not learn from"
    )
    named = (
        f"Of the labels that it names {percent(measure.precision)} hold, and "
        if measure.precision >= 0
        else ""
    )
    unless = ", unless it has learned from these" if findings.evaluation else ""
    return (
        f"{subject} all labels right on {percent(right.value)} of {which}; on other images of the same kind, expect "
        f"{percent(low)} to {percent(high)} (95 % confidence){unless}. "
        f"{named}{'it' if named else 'It'} finds {percent(measure.recall)} of those that hold (mean average precision "
        f"{percent(measure.mean_average_precision)})."
    )


def _concerns(findings: Findings, summary: Summary) -> Iterator[Concern]:
    """What speaks against the figure, the gravest first."""
    if not findings.measured:
        yield Concern(
            "nothing was measured.",
            "Put some labelled images aside: a test/ folder, or a part for testing above 0.",
        )
    proof = findings.proof
    if proof and not proof.largest <= proof.tolerance:  # NaN too
        yield Concern(
            f"the finished file, loaded afresh, differs from the training session by {proof.largest:.1g}.",
            "Do not use the file before that is understood: run the training again, and report it if it stays.",
        )
    if findings.measured and findings.measured_on == "val":
        yield Concern(
            "these images also chose the settings, so the figure is too good.",
            "Put some images aside for testing.",
        )
    if summary.classification:
        yield from _classification_concerns(findings, summary.classification)
    if summary.multilabel:
        yield from _label_concerns(summary.multilabel)
    errors = summary.regression.errors if summary.regression else None
    if errors and errors.mae >= errors.baseline_mae:
        yield Concern(
            "always answering the median would be as good.", "Check the targets, or try a stronger backbone."
        )
    images = len(findings.ids) if findings.measured else 0
    if 0 < images < FEW_IMAGES:
        yield Concern(
            f"{images} image{_s(images)} {'is' if images == 1 else 'are'} few to judge by, and the range is wide.",
            "Measure it on a few hundred labelled images: graft evaluate.",
        )
    if summary.fit and summary.fit.concern and summary.fit.kind != "unknown":
        yield Concern(_lower(summary.fit.words), summary.fit.advice)
    everything = sum(findings.split_images.values()) + len(findings.failed)
    if len(findings.failed) > MANY_FAILED * everything:
        yield Concern(
            f"{len(findings.failed)} of {everything} images could not be read.",
            "Look at the reasons below, and replace those files.",
        )


def _classification_concerns(findings: Findings, classification: Classification) -> Iterator[Concern]:
    right = classification.accuracy
    if classification.broken:
        yield Concern(
            f"{classification.broken} answer{_s(classification.broken)} held no numbers.",
            "Train again with a lower learning rate.",
        )
    if classification.leaks and _matter(classification.leaks):
        count = len(classification.leaks.rows)
        without = classification.leaks.without
        rest = f"; without them it is {percent(without.value)}" if without.images else ""
        yield Concern(
            f"{count} of the measured images {'has a duplicate' if count == 1 else 'have duplicates'} among the "
            f"training images{rest}.",
            "Go by the accuracy without them, and remove them: graft dataset clean writes a list without duplicates.",
        )
    if len(classification.classes) > 1 and right.interval[0] <= classification.baseline.value:
        yield Concern(
            f"always answering the most frequent class would be right on {percent(classification.baseline.value)}.",
            _against_the_baseline(findings, right.images),
        )
    ratio, most, least = _imbalance(findings)
    if ratio >= LARGE_IMBALANCE:
        yield Concern(
            f"there are {ratio:,.0f} times as many training images of {quoted(most)} as of {quoted(least)}, and "
            "accuracy speaks mostly of the large classes.",
            f"Go by the numbers of each class, and add images of {quoted(least)}, or weigh the classes "
            "(--class-weights).",
        )
    after = classification.after
    if after and after.error > LARGE_ECE and after.beyond_chance:
        yield Concern(
            f"its probabilities are off by {100 * after.error:.1f} points on average, where true ones would seem off "
            f"by {100 * after.chance.mean:.1f} on {right.images} images by chance.",
            "Use the class that it names, not the percentage beside it.",
        )
    yield from _rejection_concerns(findings, classification)
    weak = [
        one for one in classification.classes if one.images >= FEWEST_OF_A_CLASS and one.recall < LOW_RECALL
    ]
    if weak and right.value >= LOW_RECALL:
        worst = min(weak, key=lambda one: one.recall)
        others = (
            f", and of {len(weak) - 1} other class{'es' if len(weak) > 2 else ''} less than half"
            if weak[1:]
            else ""
        )
        yield Concern(
            f"it finds only {percent(worst.recall)} of {quoted(worst.name)}{others}.",
            f"Add training images of {quoted(worst.name)}, and look at its confusions below.",
        )


def _label_concerns(labels: Multilabel) -> Iterator[Concern]:
    measure, right = labels.measure, labels.measure.all_right
    if labels.broken:
        yield Concern(
            f"{labels.broken} answer{_s(labels.broken)} held no numbers.",
            "Train again with a lower learning rate.",
        )
    if labels.leaks and _matter(labels.leaks):
        count, without = len(labels.leaks.rows), labels.leaks.without
        rest = f"; without them it is {percent(without.value)}" if without.images else ""
        yield Concern(
            f"{count} of the measured images {'has a duplicate' if count == 1 else 'have duplicates'} among the "
            f"training images{rest}.",
            "Go by the figure without them, and remove them: graft dataset clean writes a list without duplicates.",
        )
    if measure.none.count and right.interval[0] <= measure.none.value:
        yield Concern(
            f"answering no label at all would be right on {percent(measure.none.value)}.",
            "Go by the numbers of each label, check the labels, or try a stronger backbone (--try).",
        )
    if right.images >= 2 * FEW_IMAGES and measure.calibration > LARGE_ECE:
        yield Concern(
            f"its probabilities are off by {100 * measure.calibration:.1f} points on average.",
            "Use the labels that it names, not the percentages beside them.",
        )
    weak = [one for one in measure.labels if one.images >= FEWEST_OF_A_CLASS and one.recall < LOW_RECALL]
    if weak:
        worst = min(weak, key=lambda one: one.recall)
        others = f", and of {len(weak) - 1} other label{_s(len(weak) - 1)} less than half" if weak[1:] else ""
        yield Concern(
            f"it finds only {percent(worst.recall)} of the images with {quoted(worst.name)}{others}.",
            f"Add training images with {quoted(worst.name)}, and look at what it is mixed up with below.",
        )


def _rejection_concerns(findings: Findings, classification: Classification) -> Iterator[Concern]:
    accepted = sum(one.accepted for one in findings.strangers)
    images = sum(one.images for one in findings.strangers)
    if accepted > MANY_ACCEPTED * images:
        most = max(findings.strangers, key=lambda one: one.accepted)
        yield Concern(
            f"it would take {accepted} of {images} images that are none of its classes for one of them, such as "
            f"{most.words()}.",
            "Show it images of what else may come, with --unknown, or take a stronger backbone (--try).",
        )
    keep, rejection = findings.settings.get("keep"), classification.rejection
    if rejection is None or not isinstance(keep, float):
        return
    asked, rejected = 1 - keep, rejection.known_rejected
    if rejected.interval[0] > asked and rejected.value > MANY_REJECTED * asked:
        yield Concern(
            f"{percent(rejected.value)} of the images of known classes are taken for none of these, where "
            f"{percent(asked, 0)} was asked for.",
            "Add validation images, on which the threshold is set, or raise --keep; until then go by the class and not "
            "by the threshold.",
        )


def _against_the_baseline(findings: Findings, images: int) -> str:
    """What may show whether a model is better than naming the most frequent class."""
    if images < FEW_IMAGES:
        return f"Measure it on more images before anything else: {images} cannot tell the two apart (graft evaluate)."
    ratio, _, least = _imbalance(findings)
    if ratio >= LARGE_IMBALANCE:
        return (
            f"Weigh the classes (--class-weights), and add images of the small ones, such as {quoted(least)}."
        )
    return "Check the labels (graft dataset inspect), or try a stronger backbone (--try)."


def _imbalance(findings: Findings) -> tuple[float, str, str]:
    """How many times as many training images the largest class has as the smallest, and both names."""
    counts = findings.counts.get("train")
    if counts is None or len(counts) < 2 or not counts.min():
        return 1.0, "", ""
    return counts.max() / counts.min(), findings.classes[counts.argmax()], findings.classes[counts.argmin()]


def _matter(leaks: Leaks) -> bool:
    """Whether so many images leaked, or the accuracy depends on them so much, that the figure is in doubt."""
    many = len(leaks.rows) >= MANY_LEAKS * leaks.everything.images
    return bool(leaks.rows) and not (
        abs(leaks.everything.value - leaks.without.value) <= LEAK_EFFECT and not many
    )


def _reasons(findings: Findings, summary: Summary) -> Iterator[str]:
    """What was checked and is well."""
    classification = summary.classification
    labels = summary.multilabel
    leaks = classification.leaks if classification else labels.leaks if labels else None
    if leaks and not leaks.rows:
        yield "no measured image has a duplicate among the training images"
    if summary.fit and summary.fit.kind in ("good", "late", "unfinished"):
        yield "the model that was kept is not over-fitted"
    after = classification.after if classification else None
    if after and after.error - after.chance.mean <= LARGE_ECE / 2 and after.chance.most <= LARGE_ECE:
        yield "its probabilities mean what they say"
    if (
        labels
        and labels.measure.all_right.images >= 2 * FEW_IMAGES
        and labels.measure.calibration <= LARGE_ECE / 2
    ):
        yield "its probabilities mean what they say"
    if findings.proof:
        yield "the finished file gives the same answers in a fresh process"


def _advice(findings: Findings, summary: Summary, concerns: tuple[Concern, ...]) -> str:
    if concerns:
        return f"Next: {_lower(concerns[0].advice)}"
    if summary.fit and summary.fit.kind == "unfinished":
        return "Next: train for more epochs; the validation loss was still falling."
    classification = summary.classification
    growths = classification.growths if classification else ()
    if summary.growth and summary.growth.rising:
        return (
            "Next: collect more training images, because the learning curve still rises: twice as many would bring "
            f"about {summary.growth.words()}."
            + (f" Of a single class: {growths[0].words()}." if growths else "")
        )
    if growths:
        return f"Next: collect images of single classes: {growths[0].words()}."
    if classification and classification.confusions and classification.accuracy.value < 0.995:
        worst = classification.confusions[0]
        truth, answer = quoted(findings.classes[worst.truth]), quoted(findings.classes[worst.predicted])
        wrong = classification.accuracy.images - classification.accuracy.count
        return (
            f"Next: look at {truth} taken for {answer}, which is {len(worst.rows)} of the {wrong} mistake{_s(wrong)}; "
            "clearer labels or more images of these two help most."
        )
    return "Next: use it, and test it on images from the place where it will work."


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _join(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if parts[1:] else "") + parts[-1]
