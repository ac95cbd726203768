"""None of these: the threshold behind which an image is like no known class, and how well that works."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.trust.measures import auroc
from finetune.trust.novelty import BY_DISTANCE, KINDS, Arrays, Kind, Space, score, score_nodes
from models.errors import InputError, NumericsError
from models.runtime import Array

if TYPE_CHECKING:
    from models.nodes import Nodes

ROUNDS = 10
_FITTED = 20_000  # training images that are looked at in the end, at most
_MEASURED = 2_000  # and in each round
_DRAWS, _MILLIONTH = 4, 1e-6  # of rounding


@dataclass(frozen=True)
class Rejector:
    """A score and its threshold: an image that scores above it is none of the classes.

    `auroc` is the probability that an unknown image scores above a known one (0.5 is chance), None where it could
    not be measured; `measured` says in words how it was. `kept` is the share of validation images below the
    threshold; `candidates` the AUROC of each kind of score that was tried.
    """

    kind: Kind
    arrays: Arrays = field(repr=False)
    threshold: float
    auroc: float | None
    measured: str
    kept: float
    candidates: Mapping[str, float] = field(default_factory=dict)

    def score(self, embedding: Array, logits: Array) -> NDArray[np.float64]:
        """How little images are like anything known, (N,), from (N, D) and logits (N, classes) without temperature."""
        return score(self.kind, self.arrays, embedding, logits)

    def rounding(self, embedding: Array, logits: Array) -> float:
        """By how much the scores change, at most, when embeddings and logits change by a millionth.

        Networks in float32 are no more exact than that; of embeddings that hardly differ it is much of the score.
        """
        dice, before = np.random.default_rng(0), self.score(embedding, logits)
        changes = []
        for _ in range(_DRAWS):
            near = (x * (1 + _MILLIONTH * dice.standard_normal(np.shape(x))) for x in (embedding, logits))
            changes.append(float(np.abs(self.score(*near) - before).max()))
        return max(changes)

    def nodes(self, embedding: str, logits: str, output: str) -> Nodes:
        """The same as ONNX nodes of opset 18; they make `output`, float32 (N,)."""
        return score_nodes(self.kind, self.arrays, embedding, logits, output)


def fit_rejector(
    embeddings_train: Array,
    y_train: NDArray[np.int64],
    embeddings_val: Array,
    logits_val: Array,
    y_val: NDArray[np.int64],
    *,
    unknown: tuple[Array, Array] | None = None,
    keep: float = 0.95,
    seed: int = 0,
) -> Rejector:
    """Choose a score, measure it, and set the threshold so that `keep` of known images pass.

    Without `unknown`, (embeddings, logits) of images that are none of the classes, the score is measured by holding
    out classes: in up to `ROUNDS` rounds some classes are taken away, everything is fitted to the others - for energy
    and confidence a linear discriminant - and the validation images of the missing classes have to score above those
    of the others. With two classes one remains, which no classifier can be fitted to: then distances alone are
    measured and chosen from. Embeddings that were themselves trained have seen the missing classes; for them the
    figure is an upper bound.

    The first of `KINDS` is taken unless another beats it by more than twice the standard error of their differences
    over the rounds: missing classes of the same kind of things are the hard case, and what is best at those may fail
    with images of something else altogether. The threshold stands between two validation scores, the lower one at
    rank ceil((n + 1) keep), so that new images of the classes pass with probability `keep` (conformal prediction).

    Raises:
        InputError: no training or validation image, shapes that do not go together, or `keep` not within 0 to 1.
        NumericsError: embeddings or logits hold NaN or infinity.
    """
    _check(embeddings_train, y_train, embeddings_val, logits_val, y_val, unknown, keep)
    space = _fit(embeddings_train, y_train, _FITTED, seed)
    known = {kind: score(kind, space.arrays(kind), embeddings_val, logits_val) for kind in KINDS}
    if unknown is not None:
        areas = {k: [auroc(known[k], score(k, space.arrays(k), *unknown))] for k in KINDS}
        measured = f"on {len(unknown[0]):,} images that are none of the classes"
    else:
        areas, measured = _held_out(embeddings_train, y_train, embeddings_val, y_val, seed)
    # A random forest's logits are logarithms of probabilities: their energy is always 0.
    useful = {k: rounds for k, rounds in areas.items() if rounds and np.ptp(known[k]) > 1e-6}
    kind = _best(useful)
    threshold, kept = _threshold(known[kind], keep)
    return Rejector(
        kind,
        space.arrays(kind),
        threshold,
        float(np.mean(useful[kind])) if useful else None,
        measured,
        kept,
        {k: float(np.mean(rounds)) for k, rounds in useful.items()},
    )


def _fit(embeddings: Array, y: NDArray[np.int64], most: int, seed: int) -> Space:
    if len(y) > most:
        kept = np.sort(np.random.default_rng(seed).permutation(len(y))[:most])
        embeddings, y = embeddings[kept], y[kept]
    return Space.fit(embeddings, y, seed)


def _held_out(
    embeddings_train: Array,
    y_train: NDArray[np.int64],
    embeddings_val: Array,
    y_val: NDArray[np.int64],
    seed: int,
) -> tuple[dict[Kind, list[float]], str]:
    """AUROC of each kind in each round."""
    classes = np.unique(y_train)
    kinds = KINDS if len(classes) > 2 else BY_DISTANCE
    areas: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    if len(classes) < 2:
        return areas, "not measured: there is one class only"
    mixed = np.random.default_rng(seed).permutation(classes)
    for away in np.array_split(mixed, min(ROUNDS, len(classes))):
        learned, inside = ~np.isin(y_train, away), ~np.isin(y_val, away)
        if inside.all() or not inside.any():
            continue
        space = _fit(embeddings_train[learned], y_train[learned], _MEASURED, seed)
        logits = space.discriminant(embeddings_val)
        for kind in kinds:
            scores = score(kind, space.arrays(kind), embeddings_val, logits)
            areas[kind].append(auroc(scores[inside], scores[~inside]))
    rounds = len(areas[kinds[0]])
    if not rounds:
        return areas, "not measured: the validation images are all of one class"
    text = f"by holding out {'one class' if len(classes) <= ROUNDS else 'some classes'} at a time, {rounds} rounds"
    return areas, text if len(classes) > 2 else f"{text}, distances only since one class remains"


def _best(areas: Mapping[Kind, list[float]]) -> Kind:
    """The first kind, unless another beats it clearly."""
    if not areas:
        return KINDS[0]
    first = next(kind for kind in KINDS if kind in areas)
    best = max(areas, key=lambda kind: (float(np.mean(areas[kind])), -KINDS.index(kind)))
    gains = np.subtract(areas[best], areas[first])
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return best if gains.mean() > 2 * error else first


def _threshold(known: NDArray[np.float64], keep: float) -> tuple[float, float]:
    """A threshold between two known scores, and the share of them below it."""
    scores = np.sort(known)
    rank = min(math.ceil((len(scores) + 1) * keep), len(scores))  # images to keep
    below = scores[rank - 1]
    above = (
        scores[rank] if rank < len(scores) else below + max(0.01 * float(np.ptp(scores)), 1e-6 * abs(below))
    )
    threshold = float(np.float32((below + above) / 2))
    return threshold, float((scores <= threshold).mean())


def _check(
    embeddings_train: Array,
    y_train: NDArray[np.int64],
    embeddings_val: Array,
    logits_val: Array,
    y_val: NDArray[np.int64],
    unknown: tuple[Array, Array] | None,
    keep: float,
) -> None:
    if not 0 < keep < 1:
        raise InputError(
            f"keep is {keep:g}; expected the share of known images that pass, above 0 and below 1."
        )
    lengths = [
        (len(embeddings_train), len(y_train)),
        (len(embeddings_val), len(y_val)),
        (len(logits_val), len(y_val)),
    ]
    tables = [embeddings_train, embeddings_val, logits_val, *(unknown or ())]
    if any(a != b or not a for a, b in lengths) or any(table.ndim != 2 or not len(table) for table in tables):
        shapes = ", ".join(str(list(table.shape)) for table in tables)
        raise InputError(
            f"embeddings and logits {shapes} for {len(y_train)} training and {len(y_val)} validation images; expected "
            "(images, values) with a row for each image, and one image at least of each."
        )
    if len({table.shape[1] for table in (embeddings_train, embeddings_val, *(unknown or ())[:1])}) > 1:
        raise InputError("embeddings of different widths; expected those of one network, cut at one place.")
    if not all(np.isfinite(table).all() for table in tables):
        raise NumericsError("embeddings or logits hold NaN or infinity. Check the training, or the images.")
