"""What a run says of its model: the card inside the file, and the findings for the report."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from feature_extraction.items import read_item
from finetune import tensorboard
from finetune.backbone.trunk import Trunk
from finetune.dataset.examples import SPLITS, Dataset
from finetune.job.assessment import COVERAGE, Answers, Assessment, accuracy_of, interval_around, probabilities
from finetune.job.methods import Learned
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.report.findings import Findings, Previous, ProofResult, Rejection
from finetune.report.regression import measure_regression
from finetune.trust.proof import Proof
from models.card import Accuracy, Label, ModelCard, Regression, Splits, Target
from models.errors import GraftError
from models.preprocessing import Preprocessing

_THUMBNAIL = 160  # pixels, a square
MOST_PROJECTED = 2_000  # images in the projector, which slows down with more


def title(dataset: Dataset) -> str:
    """What a model of these images is called: the name of the folder, archive or list."""
    return Path(dataset.source).resolve().stem or "model"


def model_card(
    dataset: Dataset,
    recipe: Recipe,
    prepared: Prepared,
    learned: Learned,
    assessment: Assessment,
    digest: str,
) -> ModelCard:
    """What the file says about itself; nothing in it differs between two runs on the same images."""
    trunk, name = prepared.trunk, title(dataset)
    settings = {**recipe.to_json(), "model": trunk.card.name}
    settings.pop("training")
    if recipe.method != "sklearn":
        settings["training"] = recipe.training.to_json()
    _, truth = prepared.part(assessment.measured)
    accuracy: tuple[Accuracy, ...] = ()
    errors: tuple[Regression, ...] = ()
    target = None
    if prepared.classes:
        share, interval = accuracy_of(assessment.answers.logits, truth)
        accuracy = (Accuracy(name, assessment.measured, len(truth), share, interval=interval),)
        subject = f"{len(prepared.classes)} classes"
    else:
        found = measure_regression(truth, assessment.answers.logits)
        errors = (
            Regression(
                name,
                assessment.measured,
                len(truth),
                found.mse,
                found.mae,
                found.r2 if np.isfinite(found.r2) else None,
            ),
        )
        target = Target(
            half_width=assessment.half_width, coverage=COVERAGE if assessment.half_width else None
        )
        subject = "a number"
    return ModelCard(
        name=name,
        task=prepared_task(prepared),
        preprocessing=trunk.card.preprocessing,  # the trunk's, like all that happens to images
        labels=tuple(Label(label, label) for label in prepared.classes),
        licence=trunk.card.licence,
        source=trunk.card.source,
        description=f"{subject} learned from {name} on {backbone(trunk)}",
        accuracy=accuracy,
        regression=errors,
        target=target,
        splits=Splits(*(len(prepared.rows[split]) for split in SPLITS)),
        training={"settings": settings, "chosen": dict(learned.top.chosen), "images": digest},
    )


def prepared_task(prepared: Prepared) -> Any:
    """The task, as cards name it."""
    return "classification" if prepared.classes else "regression"


def backbone(trunk: Trunk) -> str:
    """The frozen part in words."""
    return f"{trunk.card.name} up to {trunk.cut}{', in int8' if trunk.quantized else ''}"


def findings(
    dataset: Dataset,
    recipe: Recipe,
    prepared: Prepared,
    learned: Learned,
    assessment: Assessment,
    proof: Proof,
    *,
    path: Path,
    timings: Mapping[str, float],
    previous: Previous | None = None,
    strangers: Answers | None = None,
) -> Findings:
    """Everything that the report shows. `strangers`: answers for images that are none of the classes."""
    rows = prepared.rows[assessment.measured]
    truth = prepared.targets[rows]
    classes = prepared.classes
    rejector, answers = assessment.rejector, assessment.answers
    rejection = None
    if rejector is not None:
        rejection = Rejection(
            rejector.kind,
            rejector.threshold,
            rejector.score(answers.embedding, answers.logits),
            None if strangers is None else rejector.score(strangers.embedding, strangers.logits),
            rejector.auroc,
            rejector.measured,
        )
    place = {int(row): i for i, row in enumerate(rows)}
    quoted = shlex.quote(str(path))
    settings = recipe.to_json()
    training = settings.pop("training")
    if recipe.method != "sklearn":
        settings |= training
    return Findings(
        title=title(dataset),
        model=prepared.trunk.card.name,
        method=recipe.method,
        task=prepared_task(prepared),
        classes=classes,
        counts={
            split: np.bincount(prepared.targets[prepared.rows[split]], minlength=len(classes))
            if classes
            else np.array([len(prepared.rows[split])])
            for split in SPLITS
        },
        settings={**settings, **learned.top.chosen},
        backbone=backbone(prepared.trunk),
        file=path.name,
        file_bytes=path.stat().st_size,
        measured_on=assessment.measured,
        ids=tuple(prepared.examples[row].key for row in rows),
        truth=truth,
        before=probabilities(assessment) if classes else None,
        after=probabilities(assessment, assessment.temperature or 1.0) if classes else None,
        temperature=assessment.temperature,
        values=None if classes else answers.logits.astype(np.float64),
        interval=None if classes else interval_around(answers.logits, assessment.half_width),
        history=learned.history,
        learning_curve=assessment.curve,
        rejection=rejection,
        leaks=np.array(sorted(place[leak] for leak in prepared.leaks.tolist() if leak in place), np.int64),
        previous=previous,
        timings=timings,
        failed=prepared.failed,
        warnings=(*prepared.warnings, *learned.notes),
        proof=ProofResult(proof.images, proof.difference, proof.tolerance),
        commands=(
            f"graft classify --model {quoted} photo.jpg",
            f"graft serve {quoted}",
            f"graft evaluate --model {quoted} more_photos",
            f"graft explain --model {quoted} photo.jpg",
        ),
    )


def write_projector(folder: Path, prepared: Prepared, assessment: Assessment) -> None:
    """Lay the measured images' embeddings, with their labels and photos, beside the event files for TensorBoard.

    Nothing is written where there are no event files: the extra `tensorboard` is not installed.
    """
    if not folder.is_dir():
        return
    rows = prepared.rows[assessment.measured][:MOST_PROJECTED]
    small = [prepared.facts[row].pixels for row in rows]
    photos = np.stack(
        [pixels for pixels in small if pixels is not None]
    )  # (N, 32, 32, 3); all that are here have some
    targets = prepared.targets[rows].tolist()
    said = [prepared.classes[target] if prepared.classes else str(target) for target in targets]
    with tensorboard.Writer(folder) as writer:
        writer.embedding(assessment.measured, assessment.answers.embedding[: len(rows)], said, photos)


def thumbnails(prepared: Prepared, assessment: Assessment) -> Callable[[int], bytes | None]:
    """A function from places among the measured images to small JPEGs of them."""
    rows = prepared.rows[assessment.measured]
    small = Preprocessing((_THUMBNAIL, _THUMBNAIL))

    def picture(row: int) -> bytes | None:
        item = prepared.examples[rows[row]].item
        stream = io.BytesIO()
        try:
            Image.fromarray(small.load(read_item(item), name=item.id)).save(stream, "JPEG", quality=80)
        except GraftError:  # it was there when features were computed
            return None
        return stream.getvalue()

    return picture
