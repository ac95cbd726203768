"""report.json: every number of the report, for programs. docs/report.md describes it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from finetune.report.findings import Findings
from finetune.report.multilabel import Multilabel
from finetune.report.summary import Classification, Regression, Summary
from finetune.report.verdict import Verdict
from finetune.trust.measures import Share

SCHEMA = 1  # raised whenever a key changes its name or its meaning; new keys may appear without


def numbers(findings: Findings, summary: Summary, verdict: Verdict) -> dict[str, Any]:
    """The whole report as values that JSON knows; what was not measured is null, and so is NaN."""
    classification = summary.classification
    table: dict[str, Any] = {
        "schema": SCHEMA,
        "title": findings.title,
        "task": findings.task,
        "model": findings.model,
        "backbone": findings.backbone,
        "method": findings.method,
        "file": {"name": findings.file, "bytes": findings.file_bytes},
        "settings": findings.settings,
        "candidates": findings.candidates,
        "verdict": verdict,
        "data": {
            "classes": findings.classes,
            "images": findings.counts,
            **({"split_images": findings.images} if findings.images else {}),
            "measured_on": findings.measured_on,
            "procedure": findings.procedure,
            "balance": summary.balance,
            "failed": [{"image": image, "reason": reason} for image, reason in findings.failed],
            "warnings": findings.warnings,
        },
        "classification": _classification(findings, classification) if classification else None,
        "multilabel": _multilabel(findings, summary.multilabel) if summary.multilabel else None,
        "regression": _regression(findings, summary.regression) if summary.regression else None,
        "training": {"history": findings.history, "judgement": summary.fit} if findings.history else None,
        "learning_curve": _growth(findings, summary) if findings.learning_curve else None,
        "proof": findings.proof,
        "seconds": findings.timings,
        "commands": findings.commands,
    }
    plain: dict[str, Any] = _plain(table)
    return plain


def _classification(findings: Findings, classification: Classification) -> dict[str, Any]:
    names = findings.classes
    rejection = findings.rejection
    return {
        "accuracy": classification.accuracy,
        "top5": classification.top5,
        "baseline": classification.baseline,
        "broken": classification.broken,
        "macro": classification.macro,
        "classes": classification.classes,
        "confusions": [
            {
                "truth": names[pair.truth],
                "predicted": names[pair.predicted],
                "images": len(pair.rows),
                "share": pair.share,
                "ids": [findings.ids[row] for row in pair.rows],
            }
            for pair in classification.confusions
        ],
        "weak_spots": [
            {
                "kind": spot.kind,
                "words": spot.words(),
                "wrong": spot.wrong,
                "others": spot.others,
                "p": spot.p,
                "ids": [findings.ids[row] for row in spot.rows],
            }
            for spot in classification.weak_spots
        ],
        "growths": [{"words": one.words(), **_plain(one)} for one in classification.growths],
        "calibration": {
            "temperature": findings.temperature,
            "before": classification.before,
            "after": classification.after,
        },
        "rejection": {
            "kind": rejection.kind,
            "threshold": rejection.threshold,
            "measured": rejection.measured,
            "interval": rejection.interval,
            "strangers": findings.strangers,
        }
        | _plain(classification.rejection)
        if rejection and classification.rejection
        else None,
        "leaks": {"ids": [findings.ids[row] for row in classification.leaks.rows]}
        | _plain(classification.leaks)
        if classification.leaks
        else None,
        "comparison": {
            "name": findings.previous.name,
            "words": classification.comparison.words(),
            "changed": classification.comparison.changed,
            "significant": classification.comparison.significant,
        }
        | _plain(classification.comparison)
        if findings.previous and classification.comparison
        else None,
        "images": [
            {"id": name, "truth": int(truth), "predicted": int(predicted), "probability": float(probability)}
            for name, truth, predicted, probability in zip(
                findings.ids,
                _list(findings.truth),
                classification.predicted,
                classification.confidence,
                strict=True,
            )
        ],
    }


def _multilabel(findings: Findings, labels: Multilabel) -> dict[str, Any]:
    names = findings.classes

    def named(holding: Any) -> list[str]:
        return [name for name, holds in zip(names, holding, strict=True) if holds]

    measured = _plain(labels.measure)
    sureness = {mistake.row: mistake.sureness for mistake in labels.mistakes}
    comparison = labels.comparison
    return {
        **measured,
        "broken": labels.broken,
        "temperature": findings.temperature,
        "at_one_half": {key: _plain(getattr(labels.untuned, key)) for key in ("all_right", "f1", "mean_f1")},
        "calibration_before": None if labels.before is None else labels.before.calibration,
        "mix_ups": [
            {"missed": names[pair.missed], "answered": names[pair.added], "images": pair.images}
            for pair in labels.mix_ups
        ],
        "leaks": {"ids": [findings.ids[row] for row in labels.leaks.rows]} | _plain(labels.leaks)
        if labels.leaks
        else None,
        "comparison": {
            "name": findings.previous.name,
            "words": comparison.words(),
            "changed": comparison.changed,
            "significant": comparison.significant,
        }
        | _plain(comparison)
        if findings.previous and comparison
        else None,
        "images": [
            {
                "id": name,
                "truth": named(holds),
                "answered": named(answered),
                "sureness": sureness.get(row, 0.0),
            }
            for row, (name, holds, answered) in enumerate(
                zip(findings.ids, _list(findings.truth), labels.answered, strict=True)
            )
        ],
    }


def _regression(findings: Findings, regression: Regression) -> dict[str, Any]:
    table: dict[str, Any] = _plain(regression)
    if regression.coverage:
        table["coverage"]["words"] = regression.coverage.words()
    if findings.previous and regression.comparison:
        table["comparison"] |= {"name": findings.previous.name, "words": regression.comparison.words()}
    rows = zip(findings.ids, _list(findings.truth), _list(findings.values), strict=True)
    images = [{"id": name, "truth": float(truth), "predicted": float(value)} for name, truth, value in rows]
    return {"unit": findings.unit} | table | {"images": images}


def _growth(findings: Findings, summary: Summary) -> dict[str, Any]:
    growth = summary.growth
    return {
        "points": [dataclasses.replace(point, resampled=None) for point in findings.learning_curve or ()],
        "rising": growth and growth.rising,
        "gain_per_doubling": growth and growth.gain,
        "gain_interval": growth and growth.interval,
    }


def _list(array: Any) -> list[Any]:
    return [] if array is None else list(array)


def _plain(value: Any) -> Any:
    """What JSON can hold: dataclasses and arrays as plain values, NaN and infinities as None."""
    if isinstance(value, Share):
        low, high = value.interval
        return {
            "count": value.count,
            "images": value.images,
            "value": _plain(value.value),
            "interval": [low, high],
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
