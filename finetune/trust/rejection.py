"""None of these: the threshold behind which an image is like no known class, and how well that works."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.trust.measures import Z95, auroc, auroc_error
from finetune.trust.novelty import BY_DISTANCE, KINDS, Arrays, Kind, Space, scaling, score, score_nodes
from models.cores import cores
from models.errors import InputError, NumericsError
from models.runtime import Array

if TYPE_CHECKING:
    from models.nodes import Nodes

ROUNDS = 10
_FITTED = 20_000  # training images that are looked at in the end, at most
_MEASURED = 2_000  # and in each round
# Images up to which every part is asked in each round, and held out in `_PIECES` for the threshold.
_FEW, _PIECES = 300, 4
_AT_ONCE = 4  # spaces and rounds beside each other, at most: each has matrices of its own
_DRAWS, _MILLIONTH = 4, 1e-6  # of rounding

Scores = Mapping[Kind, NDArray[np.float64]]  # (N,) of each kind


@dataclass(frozen=True)
class Rejector:
    """A score and its threshold: an image that scores above it is none of the classes.

    `auroc` is the probability that an unknown image scores above a known one (0.5 is chance), None where it could
    not be measured; `measured` says in words how it was, and `interval` where 95 of 100 later figures are to be
    expected: of a missing class, or of more images like the unknown ones. `kept` is the share of images
    held out that are below the threshold; `candidates` the AUROC of each kind of score that was tried. `held` (M,):
    the scores that the threshold was set by, of the images of the parts one after the other, each in the space of its
    part: what is shipped knows these images where they were held out in turn, and finds them too near.
    """

    kind: Kind
    arrays: Arrays = field(repr=False)
    threshold: float
    auroc: float | None
    measured: str
    kept: float
    interval: tuple[float, float] | None = None
    candidates: Mapping[str, float] = field(default_factory=dict)
    held: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def score(self, embedding: Array, logits: Array) -> NDArray[np.float64]:
        """How little images are like anything known, (N,), from (N, D) and logits (N, classes) without temperature."""
        return score(self.kind, self.arrays, embedding, logits)

    def rounding(self, embedding: Array, logits: Array) -> float:
        """By how much the scores change, at most, when embeddings, their lengths and logits change by a millionth.

        Networks in float32 are no more exact than that, nor are the lengths that embeddings are divided by; of
        embeddings that hardly differ it is much of the score.
        """
        dice, before = np.random.default_rng(0), self.score(embedding, logits)
        changes = []
        for _ in range(_DRAWS):
            near = (x * (1 + _MILLIONTH * dice.standard_normal(np.shape(x))) for x in (embedding, logits))
            changes.append(float(np.abs(self.score(*near) - before).max()))
        for factor in (1 - _MILLIONTH, 1 + _MILLIONTH):
            longer = score(self.kind, self.arrays, embedding, logits, length=factor)
            changes.append(float(np.abs(longer - before).max()))
        return max(changes)

    def nodes(self, embedding: str, logits: str, output: str) -> Nodes:
        """The same as ONNX nodes of opset 18; they make `output`, float32 (N,)."""
        return score_nodes(self.kind, self.arrays, embedding, logits, output)


@dataclass(frozen=True)
class HeldPart:
    """What a model has learned from, and what it gives for images of the same classes that it has not.

    `known` (N, D) of classes `known_y` (N,); `embeddings` (M, D) and `logits` (M, classes) of classes `y` (M,).
    `groups` (M,): images that belong together, such as copies, have the same number.
    """

    known: Array
    known_y: NDArray[np.int64]
    embeddings: Array
    logits: Array
    y: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Spaces:
    """What a rejector needs no logits for, which is most of the work, and what it was made of.

    `whole`: the space of all images that are learned from; `asked`: those that held-out images meet, with their places;
    `rounds`: figures of missing classes, see `_held_out`, None where they were not asked for.
    """

    embeddings: Array
    y: NDArray[np.int64]
    held: Sequence[HeldPart]
    seed: int
    whole: Space
    asked: list[tuple[Space, NDArray[np.int64]]]
    rounds: tuple[dict[Kind, list[float]], list[tuple[float, float]], str] | None

    def are_of(
        self, embeddings: Array, y: NDArray[np.int64], held: Sequence[HeldPart], seed: int, rounds: bool
    ) -> bool:
        """Whether `fit_spaces` would make the same of these."""
        pairs = [(self.embeddings, embeddings), (self.y, y)]
        for own, other in zip(self.held, held, strict=False):
            names = ("known", "known_y", "embeddings", "y", "groups")
            pairs += [(getattr(own, name), getattr(other, name)) for name in names]
        return (
            (len(self.held), self.seed, self.rounds is not None) == (len(held), seed, rounds)
            and all((a is None) == (b is None) for a, b in pairs)
            and all(np.array_equal(a, b) for a, b in pairs if a is not None)
        )


def fit_spaces(
    embeddings: Array, y: NDArray[np.int64], held: Sequence[HeldPart], *, seed: int = 0, rounds: bool = True
) -> Spaces:
    """Fit the spaces of `fit_rejector`, with the same arguments, beforehand; the logits of `held` may be empty.

    `rounds`: whether classes are held out in turn, as they are without unknown images.
    """
    itself = len(held) == 1 and len(held[0].known) == len(embeddings)
    learned, places = [(embeddings, y)], [np.arange(sum(len(part.y) for part in held))]
    if not itself:
        others, places = _asked(held, len(y))
        learned += others
    with ThreadPoolExecutor(min(cores(), _AT_ONCE), "graft-spaces") as pool:
        whole, *spaces = pool.map(lambda one: _fit(one[0], one[1], _FITTED, seed), learned)
    asked = list(zip(spaces or [whole], places, strict=True))
    return Spaces(embeddings, y, held, seed, whole, asked, _held_out(y, held, seed) if rounds else None)


def fit_rejector(
    embeddings_train: Array,
    y_train: NDArray[np.int64],
    held: Sequence[HeldPart],
    *,
    unknown: tuple[Array, Array] | None = None,
    keep: float = 0.95,
    seed: int = 0,
    spaces: Spaces | None = None,
) -> Rejector:
    """Choose a score, measure it, and set the threshold so that `keep` of known images pass.

    `held`: of the model itself the validation images; or of several models like it each the part that it has not
    learned from. Their images set the threshold, each in the space of what its model knows; what is shipped knows all
    of `embeddings_train`. `spaces`: those of the same arrays, where they are there already; others are not used.

    Without `unknown`, (embeddings, logits) of images that are none of the classes, the score is `KINDS[0]`, and it is
    measured by holding out classes: in up to `ROUNDS` rounds some classes are taken away, everything is fitted to the
    others - for energy and confidence a linear discriminant - and the images of the missing classes, to which nothing
    was fitted then, have to score above the held-out images of the others. With two classes one remains, which no
    classifier can be fitted to: then distances alone are measured. Embeddings that were themselves trained have seen
    the missing classes; for them the figure is an upper bound. It does not choose another score: missing classes of the
    same kind of things are the hard case, and what is best at those may fail with images of something else altogether.

    With `unknown` another kind is chosen where it is better on those images by more than twice the standard error of
    the difference. The threshold stands between two scores of held-out images, the lower one at rank
    ceil((n + 1) keep), so that new images of the classes pass with probability `keep` (conformal prediction).

    Raises:
        InputError: no image to learn from or held out, shapes that do not go together, or `keep` not within 0 to 1.
        NumericsError: embeddings or logits hold NaN or infinity.
    """
    _check(embeddings_train, y_train, held, unknown, keep)
    if spaces is None or not spaces.are_of(embeddings_train, y_train, held, seed, unknown is None):
        spaces = fit_spaces(embeddings_train, y_train, held, seed=seed, rounds=unknown is None)
    whole, asked = spaces.whole, spaces.asked
    embeddings, logits = (
        np.concatenate([getattr(part, name) for part in held]) for name in ("embeddings", "logits")
    )
    parts = np.empty((4, len(embeddings)))
    for space, rows in asked:
        parts[:, rows] = space.parts(embeddings[rows])
    scale = scaling(parts)
    stored = {kind: whole.arrays(kind, scale) for kind in KINDS}
    known = {kind: np.empty(len(embeddings)) for kind in KINDS}
    for kind in KINDS:
        for space, rows in asked:
            known[kind][rows] = score(kind, space.arrays(kind, scale), embeddings[rows], logits[rows])
    # A random forest's logits are logarithms of probabilities: their energy is always 0.
    useful = [kind for kind in KINDS if np.ptp(known[kind]) > 1e-6]
    kind, area, interval = KINDS[0], None, None
    if unknown is not None:
        strange = {k: score(k, stored[k], *unknown) for k in KINDS}
        areas = {k: auroc(known[k], strange[k]) for k in useful}
        measured = f"on {len(unknown[0]):,} images that are none of the classes"
        kind = _best(areas, known, strange)
        if kind in areas:
            area, half = areas[kind], Z95 * auroc_error(known[kind], strange[kind])
            interval = _within(area - half, area + half)
    else:
        assert spaces.rounds is not None  # without unknown images
        rounds, single, measured = spaces.rounds
        areas = {k: float(np.mean(values)) for k, values in rounds.items() if values and k in useful}
        if kind in areas:
            area, interval = areas[kind], _of_a_class(single)
    threshold, kept = _threshold(known[kind], keep)
    return Rejector(
        kind, stored[kind], threshold, area, measured, kept, interval, dict(areas.items()), known[kind]
    )


def _asked(
    held: Sequence[HeldPart], count: int
) -> tuple[list[tuple[Array, NDArray[np.int64]]], list[NDArray[np.int64]]]:
    """What spaces are fitted to, and the places, among the images of all parts, of those that each has to meet.

    What is shipped is fitted to all `count` images. Of few, those that a part lacks are missed: in a space without a
    fifth of the images others look stranger than they are. So of few images a space has most of its part besides.
    """
    learned, places, first = [], [], 0
    for part in held:
        every = np.arange(len(part.y))
        pieces = [(every[:0], every)]
        if count <= _FEW:
            groups = every if part.groups is None else part.groups
            # Numbered as they come: the numbers that others gave them may depend on images of a test.
            _, comes, place = np.unique(groups, return_index=True, return_inverse=True)
            number = np.argsort(np.argsort(comes))[place] % _PIECES
            pieces = [(every[number != i], every[number == i]) for i in np.unique(number)]
        for besides, met in pieces:
            x = np.concatenate([part.known, part.embeddings[besides]])
            learned.append((x, np.concatenate([part.known_y, part.y[besides]])))
            places.append(first + met)
        first += len(every)
    return learned, places


def _fit(embeddings: Array, y: NDArray[np.int64], most: int, seed: int) -> Space:
    if len(y) > most:
        kept = np.sort(np.random.default_rng(seed).permutation(len(y))[:most])
        embeddings, y = embeddings[kept], y[kept]
    return Space.fit(embeddings, y, seed)


def _held_out(
    y: NDArray[np.int64], held: Sequence[HeldPart], seed: int
) -> tuple[dict[Kind, list[float]], list[tuple[float, float]], str]:
    """AUROC of each kind in each round, that of the first kind for each class by itself, and how they were measured.

    Of few images every part has its say in each round, of others one. Beside the AUROC of a class: see `_of_a_class`.
    """
    classes = np.unique(y)
    kinds = KINDS if len(classes) > 2 else (KINDS[0], *BY_DISTANCE)
    areas: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    single: list[tuple[float, float]] = []
    if len(classes) < 2:
        return areas, single, "not measured: there is one class only"
    mixed = np.random.default_rng(seed).permutation(classes)

    def without(
        away: NDArray[np.int64], asked: Sequence[HeldPart]
    ) -> tuple[dict[Kind, float], list[tuple[float, float]]] | None:
        """The figures of one round; None where no known image is left to compare with."""
        below: dict[Kind, list[NDArray[np.float64]]] = {kind: [] for kind in kinds}
        above: dict[Kind, list[NDArray[np.float64]]] = {kind: [] for kind in kinds}
        missing = []
        for part in asked:
            learned, inside = ~np.isin(part.known_y, away), ~np.isin(part.y, away)
            if not inside.any() or not learned.any():
                continue
            space = _fit(part.known[learned], part.known_y[learned], _MEASURED, seed)
            known = part.embeddings[inside]
            unknown = np.concatenate([part.known[~learned], part.embeddings[~inside]])
            missing.append(np.concatenate([part.known_y[~learned], part.y[~inside]]))
            scale = scaling(space.parts(known))
            sides = [(below, known, space.discriminant(known)), (above, unknown, space.discriminant(unknown))]
            for kind in kinds:
                arrays = space.arrays(kind, scale)
                for scores, x, logits in sides:
                    scores[kind].append(score(kind, arrays, x, logits))
        if not missing:
            return None
        truth = np.concatenate(missing)
        both = {kind: (np.concatenate(below[kind]), np.concatenate(above[kind])) for kind in kinds}
        low, high = both[KINDS[0]]
        single = []
        for c in away:
            images = (truth == c).sum() / len(missing)  # each part is asked about all of them
            single.append((auroc(low, high[truth == c]), (1 / images + 1 / len(low)) / 12))
        return {kind: auroc(*one) for kind, one in both.items()}, single

    rounds_away = np.array_split(mixed, min(ROUNDS, len(classes)))
    parts = [held if len(y) <= _FEW else [held[i % len(held)]] for i in range(len(rounds_away))]
    with ThreadPoolExecutor(min(cores(), _AT_ONCE), "graft-rounds") as pool:
        for figures in pool.map(without, rounds_away, parts):
            if figures is not None:
                for kind, area in figures[0].items():
                    areas[kind].append(area)
                single += figures[1]
    rounds = len(areas[kinds[0]])
    if not rounds:
        return areas, single, "not measured: the images that were held out are all of one class"
    text = f"by holding out {'one class' if len(classes) <= ROUNDS else 'some classes'} at a time, {rounds} rounds"
    return areas, single, text if len(classes) > 2 else f"{text}, distances only since one class remains"


def _of_a_class(single: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Where the AUROC of one more class is to be expected, with 95 % confidence, by those of classes.

    Student's t of asin(sqrt(AUROC)): the nearer shares are to 1, the less they vary, and the further they fall below
    (Anscombe 1948, "The transformation of Poisson, binomial and negative-binomial data"). Beside each AUROC stands the
    variance of that by the number of its images, (1/m + 1/n) / 12, which is that of two samples of one distribution
    (Mann and Whitney 1947); the classes are taken to vary by no less. So classes that are all told perfectly promise no
    certainty of the next.
    """
    from scipy.special import stdtrit  # scipy.stats takes a third of a second to import

    if len(single) < 2:
        return None
    areas, least = np.array(single).T
    angles = np.arcsin(np.sqrt(areas))
    deviation = math.sqrt(max(float(angles.var(ddof=1)), float(least.mean())))
    half = float(stdtrit(len(areas) - 1, 0.975)) * deviation * math.sqrt(1 + 1 / len(areas))
    middle = float(angles.mean())
    low, high = (math.sin(min(max(angle, 0.0), math.pi / 2)) ** 2 for angle in (middle - half, middle + half))
    return _within(low, high)


def _within(low: float, high: float) -> tuple[float, float] | None:
    return (max(0.0, low), min(1.0, high)) if math.isfinite(low + high) else None


def _best(areas: Mapping[Kind, float], known: Scores, unknown: Scores) -> Kind:
    """The first kind, unless another is clearly better on unknown images."""
    first = next(iter(areas), KINDS[0])
    best = max(areas, key=lambda kind: areas[kind], default=first)
    error = auroc_error(known[best], unknown[best], (known[first], unknown[first]))
    return best if areas and areas[best] - areas[first] > 2 * error else first


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
    held: Sequence[HeldPart],
    unknown: tuple[Array, Array] | None,
    keep: float,
) -> None:
    if not 0 < keep < 1:
        raise InputError(
            f"keep is {keep:g}; expected the share of known images that pass, above 0 and below 1."
        )
    lengths = [(len(embeddings_train), len(y_train))]
    tables = [embeddings_train, *(unknown or ())]
    for part in held:
        lengths += [
            (len(part.known), len(part.known_y)),
            (len(part.embeddings), len(part.y)),
            (len(part.logits), len(part.y)),
        ]
        tables += [part.known, part.embeddings, part.logits]
    if (
        not held
        or any(a != b or not a for a, b in lengths)
        or any(table.ndim != 2 or not len(table) for table in tables)
    ):
        shapes = ", ".join(str(list(table.shape)) for table in tables)
        raise InputError(
            f"embeddings and logits {shapes} for {len(y_train)} images to learn from and "
            f"{sum(len(part.y) for part in held)} held out; expected (images, values) with a row for each image, and "
            "one image at least of each."
        )
    if (
        len(
            {
                table.shape[1]
                for table in (embeddings_train, *(p.embeddings for p in held), *(unknown or ())[:1])
            }
        )
        > 1
    ):
        raise InputError("embeddings of different widths; expected those of one network, cut at one place.")
    if not all(np.isfinite(table).all() for table in tables):
        raise NumericsError("embeddings or logits hold NaN or infinity. Check the training, or the images.")
