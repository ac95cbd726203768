"""An inspection as plain values, for JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from finetune.dataset.inspection import Inspection


def as_json(inspection: Inspection) -> dict[str, Any]:
    """Everything that was found, with the names of all images concerned."""
    dataset, facts = inspection.dataset, inspection.facts
    names = [example.key for example in dataset.examples]
    readable = [one for one in facts if one.error is None]
    widths, heights = sorted(one.width for one in readable), sorted(one.height for one in readable)

    def members(indices: tuple[int, ...]) -> list[dict[str, Any]]:
        chosen = (dataset.examples[i] for i in indices)
        return [{"image": one.key, "label": one.label, "split": one.split} for one in chosen]

    return {
        "source": dataset.source,
        "task": dataset.task,
        "images": len(facts),
        "classes": inspection.counts,
        "splits": {split: dict(counted) for split, counted in inspection.split_counts.items()},
        "imbalance": inspection.imbalance,
        "effective_classes": inspection.effective_classes if dataset.classes else None,
        "warnings": list(dataset.warnings()),
        "other_files": dataset.ignored,
        "other_endings": dict(dataset.endings),
        "outside_classes": list(dataset.stray),
        "empty_classes": list(dataset.empty),
        "width": quartiles(widths),
        "height": quartiles(heights),
        "modes": dict(Counter(one.mode for one in readable).most_common()),
        "formats": dict(Counter(one.format for one in readable).most_common()),
        "bytes": sum(one.bytes for one in facts),
        "unreadable": [{"image": names[i], "error": facts[i].error} for i in inspection.unreadable],
        "duplicates": [{"kind": group.kind, "images": members(group.indices)} for group in inspection.groups],
        "across_splits": [[names[i] for i in group.indices] for group in inspection.across],
        "different_labels": [[names[i] for i in group.indices] for group in inspection.conflicts],
        "flaws": [
            {"image": names[flaw.index], "flaw": flaw.defect, "detail": flaw.detail}
            for flaw in inspection.flaws
        ],
        "model": inspection.model,
        "out_of_fold_accuracy": inspection.accuracy,
        "suspected_labels": [
            {
                "image": names[one.index],
                "label": dataset.examples[one.index].label,
                "confidence": one.confidence,
                "predicted": one.predicted,
                "predicted_confidence": one.predicted_confidence,
            }
            for one in inspection.suspects
        ],
        "outliers": [
            {
                "image": names[one.index],
                "label": dataset.examples[one.index].label,
                "distance": one.distance,
                "typical": one.typical,
            }
            for one in inspection.outliers
        ],
    }


def quartiles(values: list[int]) -> dict[str, int]:
    """Least, median and greatest of ascending values."""
    return {"least": values[0], "median": values[len(values) // 2], "greatest": values[-1]} if values else {}
