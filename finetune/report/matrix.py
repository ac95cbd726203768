"""The confusion matrix: a table of counts for a few classes, a drawing for up to a hundred, nothing above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from finetune.pages.formatting import plural, short
from finetune.report.classification import confusion_matrix
from finetune.report.summary import Classification

MOST_IN_TABLE = 16
MOST_IN_DRAWING = 100
DARKEST = 50  # percent: text on the colour must stay readable
MOST_NAMED = 50  # classes with their names beside the rows
MOST_NUMBERED = 20
MOST_TITLES = 2000  # cells
_CELL, _NAMES, _NUMBERS, _TOP = 8, 104, 26, 20  # units of the drawing
_SCALE = 2  # pixels of a unit at most


@dataclass(frozen=True)
class Cell:
    """One number of the table; `shade` is 0 to `DARKEST` percent of colour."""

    images: int
    shade: int
    right: bool


def matrix_table(
    classification: Classification, names: tuple[str, ...]
) -> list[tuple[str, list[Cell]]] | None:
    """Rows of the table with their class; None where there are too many classes for numbers."""
    if len(names) > MOST_IN_TABLE:
        return None
    counts, shares = _matrix(classification, len(names))
    return [
        (
            name,
            [
                Cell(int(counts[i, j]), round(DARKEST * math.sqrt(shares[i, j])), i == j)
                for j in range(len(names))
            ],
        )
        for i, name in enumerate(names)
    ]


def matrix_drawing(classification: Classification, names: tuple[str, ...]) -> Markup | None:
    """The matrix as a drawing, rows are the true class; None where the table serves, or where there are too many.

    Rows bear the names of up to `MOST_NAMED` classes, and numbers, every fifth where they are many; every cell has a
    title with both names, unless there are very many cells.
    """
    classes = len(names)
    if not MOST_IN_TABLE < classes <= MOST_IN_DRAWING:
        return None
    counts, shares = _matrix(classification, classes)
    left = _NAMES + _NUMBERS if classes <= MOST_NAMED else _NUMBERS
    side = classes * _CELL
    width, height = left + side + 8, side + _TOP + 2
    parts = [
        f'<svg viewBox="0 0 {width} {height}" style="max-width: {_SCALE * width}px" role="img" aria-label="Confusion '
        f'matrix of {classes} classes: rows are the true class, columns the answer. The pairs are listed below.">',
        f'<rect x="{left}" y="{_TOP}" width="{side}" height="{side}" style="fill: var(--raised)"/>',
        *_labels(names, left),
    ]
    for colour, diagonal in (("blue", True), ("orange", False)):
        cells = np.argwhere((counts > 0) & (np.eye(classes, dtype=bool) == diagonal)).tolist()
        parts.append(f'<g style="fill: var(--{colour})">')
        for i, j in cells:
            words = f"{short(names[i], 30)} → {short(names[j], 30)}: {plural(int(counts[i, j]), 'image')}"
            title = f"><title>{escape(words)}</title></rect>" if len(cells) <= MOST_TITLES else "/>"
            parts.append(
                f'<rect x="{left + j * _CELL}" y="{_TOP + i * _CELL}" width="{_CELL - 0.5}" height="{_CELL - 0.5}" '
                f'fill-opacity="{0.15 + 0.85 * math.sqrt(shares[i, j]):.2f}"{title}'
            )
        parts.append("</g>")
    return Markup("".join([*parts, "</svg>"]))


def _labels(names: tuple[str, ...], left: int) -> list[str]:
    """Names and numbers of the rows, numbers of the columns."""
    classes = len(names)
    step = 1 if classes <= MOST_NUMBERED else 5
    marked = [i for i in range(classes) if i == 0 or (i + 1) % step == 0]
    size = 6 if classes <= MOST_NAMED else 11
    middle = [_TOP + (i + 0.5) * _CELL + size / 3 for i in range(classes)]
    parts = [f'<g font-size="{size}" style="fill: var(--soft)" text-anchor="end">']
    parts += [f'<text x="{left - 4}" y="{middle[i]:g}">{i + 1}</text>' for i in marked]
    if classes <= MOST_NAMED:
        parts += [
            f'<text x="{_NAMES}" y="{y:g}" style="unicode-bidi: plaintext">{escape(short(name, 26))}</text>'
            for name, y in zip(names, middle, strict=True)
        ]
    parts.append("</g>")
    parts.append(f'<g font-size="{size}" style="fill: var(--soft)" text-anchor="middle">')
    parts += [f'<text x="{left + (j + 0.5) * _CELL:g}" y="{_TOP - 4}">{j + 1}</text>' for j in marked]
    return [*parts, "</g>"]


def _matrix(classification: Classification, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts, and their shares of the true class, both (classes, classes)."""
    counts = confusion_matrix(classification.truth, classification.predicted, classes)
    return counts, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
