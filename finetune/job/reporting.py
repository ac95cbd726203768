"""What goes into the report of a run: its findings, small pictures, and embeddings for TensorBoard."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune import tensorboard
from finetune.dataset.examples import SPLITS, Dataset, Split
from finetune.heads.running import TopOutputs
from finetune.job.assessment import COVERAGE, Assessment
from finetune.job.card import backbone, title
from finetune.job.learned import Learned
from finetune.job.preparation import Prepared, pooled
from finetune.job.recipe import Recipe
from finetune.report.findings import (
    Candidates,
    Findings,
    Interval,
    Ints,
    Previous,
    ProofResult,
    Rejection,
    Traits,
)
from finetune.report.page import Drawn, draw
from finetune.report.pictures import pictures_of
from finetune.report.shown import Shown
from finetune.single_thread import one_blas_thread
from finetune.trust.class_curve import Slope, class_slopes
from finetune.trust.proof import Proof
from models.card import CROSS_FITTING

Slopes = Mapping[int, Slope]  # of classes, by their places

MOST_PROJECTED = 2_000  # images in the projector, which slows down with more


def collect_findings(
    dataset: Dataset,
    recipe: Recipe,
    prepared: Prepared,
    learned: Learned,
    assessment: Assessment,
    *,
    path: Path,
    previous: Previous | None = None,
    strangers: TopOutputs | None = None,
    candidates: Candidates | None = None,
    shown: tuple[Shown, ...] = (),
    slopes: Slopes,
) -> Findings:
    """Everything that the report shows but what `proven` adds, when the file `path` is there.

    `strangers`: outputs for images that the user calls none of the classes; `shown`: what the model says to those that
    come with the package; `slopes`: see `slopes_of`.
    """
    rows = assessment.rows
    truth = prepared.targets[rows]
    classes = prepared.classes
    rejector, outputs = assessment.rejector, assessment.outputs
    rejection = None
    if rejector is not None and assessment.reject_scores is not None:
        rejection = Rejection(
            rejector.kind,
            rejector.threshold,
            assessment.reject_scores,
            None if strangers is None else rejector.score(strangers.embedding, strangers.logits),
            rejector.auroc,
            rejector.measured,
            rejector.interval,
        )
    interval, half_width = None, assessment.half_width
    if half_width is not None:
        interval = Interval(COVERAGE, outputs.logits - half_width, outputs.logits + half_width)
    place = {int(row): i for i, row in enumerate(rows)}
    quoted = shlex.quote(str(path))
    settings = recipe.to_json()
    if candidates is not None:
        settings["model"] = candidates.rows[candidates.taken].name
    training = settings.pop("training")
    if recipe.method != "sklearn":
        settings |= training
    return Findings(
        title=title(dataset),
        model=prepared.trunk.card.name,
        method=recipe.method,
        task=prepared.task,
        classes=classes,
        counts={split: _counted(prepared, split) for split in SPLITS},
        images={split: len(prepared.rows[split]) for split in SPLITS}
        if prepared.task == "multilabel"
        else {},
        settings={**settings, **learned.top.chosen},
        backbone=backbone(prepared.trunk),
        file=path.name,
        measured_on=assessment.measured,
        procedure=prepared.procedure,
        ids=tuple(prepared.examples[row].key for row in rows),
        truth=truth > 0 if prepared.task == "multilabel" else truth,
        before=assessment.probabilities(calibrated=False) if classes else None,
        after=assessment.probabilities(calibrated=True) if classes else None,
        temperature=assessment.temperature,
        thresholds=assessment.thresholds,
        values=None if classes else outputs.logits.astype(np.float64),
        interval=interval,
        history=learned.history,
        learning_curve=assessment.curve,
        class_slopes=slopes,
        rejection=rejection,
        strangers=shown,
        leaks=np.array(sorted(place[leak] for leak in prepared.leaks.tolist() if leak in place), np.int64),
        traits=_traits(prepared, rows),
        previous=previous,
        failed=prepared.failed,
        warnings=(*prepared.warnings, *learned.notes, *_doubts(previous, assessment)),
        candidates=candidates,
        commands=(
            f"graft classify --model {quoted} photo.jpg",
            f"graft serve {quoted}",
            f"graft evaluate --model {quoted} more_photos",
            f"graft explain --model {quoted} photo.jpg",
        ),
    )


def proven(findings: Findings, path: Path, proof: Proof, timings: Mapping[str, float]) -> Findings:
    """The findings with those of the finished file, and how long each stage took in seconds."""
    return dataclasses.replace(
        findings,
        file_bytes=path.stat().st_size,
        timings=timings,
        proof=ProofResult(proof.images, proof.difference, proof.tolerance),
    )


def slopes_of(prepared: Prepared, seed: int) -> Slopes:
    """How the error of classes falls with their images, by what the frozen part gives for all but test images."""
    if prepared.task != "classification":
        return {}
    rows = np.sort(np.concatenate([prepared.rows["train"], prepared.rows["val"]]))
    vectors = pooled(prepared.features[rows], prepared.trunk)
    with one_blas_thread():
        return class_slopes(vectors, prepared.targets[rows], prepared.groups[rows], seed)


def _traits(prepared: Prepared, rows: NDArray[np.int64]) -> Traits:
    """What images at `rows` have in common."""
    facts = [prepared.facts[row] for row in rows]
    images = np.bincount(prepared.groups, minlength=len(prepared.examples))  # of each group
    groups = np.where(images[prepared.groups[rows]] > 1, prepared.groups[rows], -1)
    return Traits(
        np.array([min(fact.width, fact.height) for fact in facts], np.int64),
        np.array([0.0 if fact.pixels is None else float(fact.pixels.mean()) for fact in facts]),
        groups,
        {group: prepared.examples[group].key for group in np.unique(groups[groups >= 0]).tolist()},
    )


def _counted(prepared: Prepared, split: Split) -> Ints:
    """How many images of a split have each class or label; in a regression how many there are."""
    targets = prepared.targets[prepared.rows[split]]
    if prepared.task == "multilabel":
        return np.asarray(targets.sum(axis=0), np.int64)
    if prepared.task == "regression":
        return np.array([len(targets)])
    return np.bincount(targets, minlength=len(prepared.classes))


def _doubts(previous: Previous | None, assessment: Assessment) -> Iterator[str]:
    # An earlier run's own report (`rows`) has answers of models that had not learned from the images.
    if previous is not None and previous.rows is None and assessment.measured == CROSS_FITTING:
        yield (
            f"{previous.name} may have learned from the images that both were asked about, and these answers are "
            "of models that had not: only a test folder that neither has learned from tells which is better."
        )


def write_projector(folder: Path, prepared: Prepared, assessment: Assessment) -> None:
    """Lay the measured images' embeddings, with their labels and photos, beside the event files for TensorBoard.

    Nothing is written where there are no event files: the extra `tensorboard` is not installed.
    """
    if not folder.is_dir():
        return
    rows = assessment.rows[:MOST_PROJECTED]
    small = [prepared.facts[row].pixels for row in rows]
    # (N, 32, 32, 3); all that are here have some.
    photos = np.stack([pixels for pixels in small if pixels is not None])
    labels = [
        example.label if prepared.classes else str(target)
        for example, target in zip(
            (prepared.examples[row] for row in rows), prepared.targets[rows].tolist(), strict=True
        )
    ]
    with tensorboard.Writer(folder) as writer:
        writer.embedding(assessment.measured, assessment.outputs.embedding[: len(rows)], labels, photos)


def draw_run(events: Path, findings: Findings, prepared: Prepared, assessment: Assessment) -> Drawn:
    """What takes time of a page, and the embeddings beside the event files: neither needs the finished file."""
    write_projector(events, prepared, assessment)
    return draw(findings, thumbnails(prepared, assessment))


def thumbnails(prepared: Prepared, assessment: Assessment) -> Callable[[int], bytes | None]:
    """A function from places among the measured images to small JPEGs of them."""
    return pictures_of([prepared.examples[row].item for row in assessment.rows])
