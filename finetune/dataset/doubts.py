"""What may have been meant otherwise by the labels that are given, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from finetune.dataset.examples import Example
from finetune.dataset.label_cells import several_labels
from finetune.dataset.task import Task
from models.wording import counted, listed


def label_doubts(
    source: str, task: Task, columns: Iterable[str], examples: Sequence[Example], classes: Sequence[str]
) -> Iterator[str]:
    """A sentence each; `columns` are the names of those with a 1 where a label holds, as classes are written."""
    if never := sorted(set(columns) - set(classes)):
        yield f"{source}: no image has a 1 in {listed(never)}: not learned."
    if task == "multilabel" and (bare := sum(not example.holding for example in examples)):
        yield (
            f"{source}: {counted(bare, 'image')} with no label, taken for images on which none of them holds. Take "
            "them out if they were never labelled."
        )
    if task == "classification" and (several := several_labels(classes)):
        yield (
            f"{source}: {counted(len(several), 'class')} named like several labels, such as {listed(several, 3)}, "
            "taken as one class each. If they are several labels of an image, give --task multilabel."
        )
