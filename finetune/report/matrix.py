"""The confusion matrix: a table of counts for a few classes, a drawing for up to a hundred, nothing above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from finetune.report.formatting import plural, short
from finetune.report.measures import confusion_matrix
from finetune.report.summary import Classification

MOST_IN_TABLE = 16
MOST_IN_DRAWING = 100
DARKEST = 60  # percent: text on the colour must stay readable
NAMED_CELLS = 300  # with a title each
_CELL, _MARGIN = 8, 118  # units of the drawing


@dataclass(frozen=True)
class Cell:
    """One number of the table; `shade` is 0 to `DARKEST` percent of colour."""

    images: int
    shade: int
    right: bool


def matrix_table(found: Classification, names: tuple[str, ...]) -> list[tuple[str, list[Cell]]] | None:
    """Rows of the table with their class; None where there are too many classes for numbers."""
    if len(names) > MOST_IN_TABLE:
        return None
    counts, shares = _matrix(found, len(names))
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


def matrix_drawing(found: Classification, names: tuple[str, ...]) -> Markup | None:
    """The matrix as a drawing, rows are the true class; None where the table serves, or where there are too many."""
    classes = len(names)
    if not MOST_IN_TABLE < classes <= MOST_IN_DRAWING:
        return None
    counts, shares = _matrix(found, classes)
    side = classes * _CELL
    parts = [
        f'<svg viewBox="0 0 {_MARGIN + side + 2} {side + 22}" role="img" '
        f'aria-label="Confusion matrix of {classes} classes: rows are the true class, '
        'columns the answer. The pairs are listed below.">',
        '<g font-size="6" style="fill: var(--soft)" text-anchor="end">',
    ]
    for i, name in enumerate(names):
        y = 20 + i * _CELL + 6
        parts.append(
            f'<text x="{_MARGIN - 3}" y="{y}">{escape(short(name, 26))} <tspan>{i + 1}</tspan></text>'
        )
    parts.append('</g><g font-size="6" style="fill: var(--soft)" text-anchor="middle">')
    step = 1 if classes <= 40 else 5
    marked = [j for j in range(classes) if step == 1 or j == 0 or (j + 1) % step == 0]
    parts += [f'<text x="{_MARGIN + (j + 0.5) * _CELL:g}" y="16">{j + 1}</text>' for j in marked]
    parts.append(
        f'</g><rect x="{_MARGIN}" y="20" width="{side}" height="{side}" style="fill: var(--raised)"/>'
    )
    for colour, diagonal in (("blue", True), ("orange", False)):
        parts.append(f'<g style="fill: var(--{colour})">')
        cells = np.argwhere((counts > 0) & (np.eye(classes, dtype=bool) == diagonal))
        named = len(cells) <= NAMED_CELLS
        for i, j in cells.tolist():
            told = f"{short(names[i], 30)} → {short(names[j], 30)}: {plural(int(counts[i, j]), 'image')}"
            title = f"><title>{escape(told)}</title></rect>" if named else "/>"
            parts.append(
                f'<rect x="{_MARGIN + j * _CELL}" y="{20 + i * _CELL}" width="{_CELL - 0.5}" height="{_CELL - 0.5}" '
                f'fill-opacity="{0.15 + 0.85 * math.sqrt(shares[i, j]):.2f}"{title}'
            )
        parts.append("</g>")
    return Markup("".join([*parts, "</svg>"]))


def _matrix(found: Classification, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts, and their shares of the true class, both (classes, classes)."""
    counts = confusion_matrix(found.truth, found.predicted, classes)
    return counts, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
