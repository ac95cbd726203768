"""The page about an evaluation: confusion matrix, mistakes, each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finetune.dataset.naming import source_name
from finetune.report.findings import EVALUATION, Findings, Rejection
from finetune.report.page import write_evaluation
from finetune.report.pictures import pictures_of
from finetune.trust.evaluation import Evaluation
from finetune.trust.label_evaluation import LabelAnswers, MultilabelEvaluation
from models.card import ModelCard


def write_page(path: Path, result: Evaluation | MultilabelEvaluation, card: ModelCard, source: str) -> None:
    """Write what was measured of a classifier on a source of labelled images.

    Raises:
        OutputError: the file cannot be written.
    """
    answers = result.answers
    assert answers is not None  # they were asked for
    probabilities = answers.probabilities.astype(np.float64)
    rejection = None
    several = isinstance(answers, LabelAnswers)
    if (
        not isinstance(answers, LabelAnswers)
        and answers.reject_scores is not None
        and card.reject is not None
    ):
        scores = answers.reject_scores.astype(np.float64)
        rejection = Rejection(card.reject.kind, card.reject.threshold, scores, measured=card.reject.measured)
    findings = Findings(
        title=source_name(source),
        model=card.name,
        method=EVALUATION,
        task="multilabel" if several else "classification",
        classes=tuple(label.name for label in card.labels),
        ids=tuple(item.id for item in answers.items),
        truth=answers.truth,
        after=probabilities,
        thresholds=card.thresholds,
        rejection=rejection,
        failed=result.failed,
    )
    write_evaluation(path, findings, pictures_of(answers.items))
