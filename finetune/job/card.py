"""What the finished file says about itself."""

from __future__ import annotations

import numpy as np

from finetune.backbone.trunk import Trunk
from finetune.dataset.examples import SPLITS, Dataset
from finetune.dataset.naming import source_name
from finetune.job.assessment import COVERAGE, Assessment
from finetune.job.learned import Learned
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.report.regression import measure_regression
from finetune.trust import measures
from finetune.trust.multilabel import measure_multilabel
from models.card import Accuracy, Label, ModelCard, Regression, Splits, Target
from models.wording import counted


def title(dataset: Dataset) -> str:
    """What a model of these images is called: the name of the folder, archive or list."""
    return source_name(dataset.source)


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
    training = settings.pop("training")
    if recipe.method != "sklearn":
        settings["training"] = training
    truth = prepared.targets[assessment.rows]
    accuracy: tuple[Accuracy, ...] = ()
    errors: tuple[Regression, ...] = ()
    target = None
    if prepared.task == "multilabel":
        measured = measure_multilabel(
            truth, assessment.probabilities(calibrated=True), assessment.thresholds, prepared.classes
        )
        every = measured.all_right
        accuracy = (Accuracy(name, assessment.measured, len(truth), every.value, interval=every.interval),)
        subject = counted(len(prepared.classes), "label")
    elif prepared.classes:
        right = measures.accuracy(truth, assessment.outputs.logits.argmax(axis=1))
        accuracy = (Accuracy(name, assessment.measured, len(truth), right.value, interval=right.interval),)
        subject = f"{len(prepared.classes)} classes"
    else:
        error = measure_regression(truth, assessment.outputs.logits)
        explained = error.r2 if np.isfinite(error.r2) else None
        errors = (Regression(name, assessment.measured, len(truth), error.mse, error.mae, explained),)
        target = Target(
            half_width=assessment.half_width, coverage=COVERAGE if assessment.half_width else None
        )
        subject = "a number"
    return ModelCard(
        name=name,
        task=prepared.task,
        preprocessing=trunk.card.preprocessing,  # the trunk's, like all that happens to images
        labels=tuple(Label(label, label) for label in prepared.classes),
        licence=trunk.card.licence,
        source=trunk.card.source,
        description=f"{subject} learned from {name} on {backbone(trunk)}",
        accuracy=accuracy,
        regression=errors,
        target=target,
        thresholds=assessment.thresholds,
        splits=Splits(*(len(prepared.rows[split]) for split in SPLITS)),
        training={"settings": settings, "chosen": dict(learned.top.chosen), "images": digest},
    )


def backbone(trunk: Trunk) -> str:
    """The frozen part in words."""
    return f"{trunk.card.name} up to {trunk.cut}{', in int8' if trunk.quantized else ''}"
