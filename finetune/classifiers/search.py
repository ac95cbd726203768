"""Chooses the settings of a method by what it says of images that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.classifiers.families import MARGINS, PROBABILITIES, Family, Hyperparameters
from finetune.classifiers.softmax_regression import SoftmaxRegression
from finetune.trust.measures import r2, softmax
from models.cores import cores

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
Starts = tuple[dict[float, SoftmaxRegression], ...]
_ENOUGH = 10_000  # images that settings are chosen on
_ENOUGH_FOR_KERNELS = 2_000
_FEW_TREES = 100  # for the comparison of settings
_ROUGH = 1e-2  # tolerance of the linear SVM there: its last digits take most of the time and change no choice
_ROUGHLY = 1e-3  # and of the regression: in half the time, with the same choice
_SPREAD = 0.01  # of the probability goes to all classes alike: one sure error must not outweigh all else
_NUMBERS = 1_000_000  # margins that a scale is fitted to
_WORSE = 1.02  # a loss so many times the best ends a path
# A loss so many times the best is as good, and the strongest penalty is taken of those. Where classes can be parted
# without an error, losses hardly differ above some C; one that is a thousandth lower was up to ten points less right.
_AS_GOOD = 1.01
_AT_ONCE = 4  # folds beside each other, at most: each has a copy of its rows
_FURTHER = 4  # steps beyond the edge of a grid


class Choice:
    """What each setting gave for held-out rows, and which is best.

    `held` (M,): places among the rows that settings are chosen on; `number` (M,): by which of the `folds`. `default`:
    what is taken where nothing can be held out. `starts`: of a logistic regression the fits without each of the
    folds, by their C; fits to the same rows may begin there.
    """

    def __init__(
        self,
        search: Search,
        held: NDArray[np.int64],
        number: NDArray[np.int64],
        folds: int,
        default: tuple[Hyperparameters, dict[str, Any]] | None = None,
    ) -> None:
        self.search, self._truth, self._number, self._folds = search, search.y[held], number, folds
        self._default = default
        self._tried: list[tuple[Hyperparameters, NDArray[np.float64]]] = []
        self.starts: Starts = ()

    def add(self, settings: Hyperparameters, answers: NDArray[np.float64]) -> float:
        """Take note of answers (M, ...), and give their loss."""
        self._tried.append((settings, answers))
        return self.search.judge(answers, self._truth)[0]

    def start(self, without: int | None) -> SoftmaxRegression | None:
        """Where a fit to all rows, or to those without a fold, may begin."""
        settings, _ = self.best(without)
        return self.starts[without or 0][settings["C"]] if self.starts else None

    def best(self, without: int | None = None) -> tuple[Hyperparameters, dict[str, Any]]:
        """The settings with the lowest loss, and figures of the choice; `without`: a fold that has no say in it.

        Of logistic regressions whose losses are within a hundredth of it, the one with the strongest penalty.
        """
        if self._default is not None:
            return self._default
        asked = self._number != without if without is not None else np.ones(len(self._number), bool)
        if not asked.any():
            asked = ~asked
        judged = [
            (settings, *self.search.judge(answers[asked], self._truth[asked]))
            for settings, answers in self._tried
        ]
        least = min(loss for _, loss, _ in judged)
        if self.search.kind == "logistic":
            judged = [min((one for one in judged if one[1] <= _AS_GOOD * least), key=lambda one: one[0]["C"])]
        settings, _, figures = min(judged, key=lambda one: one[1])
        return settings, {**self.search.scaled(settings), "folds": self._folds, **figures}


class Search:
    """The fits of one method to scaled features z (N, D) and targets y (N,)."""

    def __init__(
        self,
        kind: str,
        family: Family,
        z: NDArray[Any],
        y: NDArray[Any],
        classes: int | None,
        groups: NDArray[np.int64] | None,
        seed: int,
    ) -> None:
        self.kind, self.family, self.classes, self.seed = kind, family, classes, seed
        self.width, self.count = z.shape[1], len(z)
        self.rows = rows = self._sample(y)
        self.z, self.y = z[rows], y[rows]
        self.groups = None if groups is None else np.asarray(groups)[rows]
        self._kernels: dict[float, NDArray[np.float64]] = {}

    def run(self, make: Callable[..., Folds], given: Folds | None = None) -> Choice:
        """Try the settings of the family; `given`: folds of all rows, in place of those that `make` would deal."""
        folds = make(self.y, self.groups, self.seed) if given is None else self._within(given)
        if not folds:
            scale = {"scale": 1.0} if self.family.gives == MARGINS else {}
            figures = {**self.scaled(self.family.default), "folds": 0, **scale}
            nothing = np.empty(0, np.int64)
            return Choice(self, nothing, nothing, 0, (self.family.default, figures))
        held = np.concatenate([out for _, out in folds])
        number = np.repeat(np.arange(len(folds)), [len(out) for _, out in folds])
        choice = Choice(self, held, number, len(folds))
        starts: Starts = tuple({} for _ in folds)
        grid, losses = list(self.family.grid), dict[int, float]()

        # Folds are fitted beside each other; what has threads or tables of its own is not.
        threads = 1 if self.kind in ("forest", "rbf-svm") else min(cores(), _AT_ONCE)
        with ThreadPoolExecutor(threads, "graft-folds") as pool:

            def loss_of(settings: Hyperparameters) -> float:
                answers = pool.map(lambda i: self._answers(settings, starts, i, *folds[i]), range(len(folds)))
                return choice.add(settings, np.concatenate(list(answers)))

            for place, settings in enumerate(grid):
                losses[place] = loss_of(settings)
                if self.family.stops and losses[place] > _WORSE * min(losses.values()):
                    break
            if self.family.stops:
                self._beyond(list(losses.values()), loss_of)
        # A fold that none of the rows here belong to has no fit, and others would stand in its place.
        if self.kind == "logistic" and (given is None or len(given) == len(folds)):
            choice.starts = starts
        return choice

    def _beyond(self, losses: list[float], loss_of: Callable[[Hyperparameters], float]) -> None:
        """Go on where the best of the grid stands on its edge, as long as that is better."""
        (name,) = self.family.grid[0]
        values = [settings[name] for settings in self.family.grid[: len(losses)]]
        best = int(np.argmin(losses))
        for edge, inner in ((0, 1), (len(values) - 1, len(values) - 2)):
            if best != edge or len(values) < 2:
                continue
            value, lowest, factor = values[edge], losses[edge], values[edge] / values[inner]
            for _ in range(_FURTHER):
                value = float(f"{value * factor:.6g}")
                loss = loss_of({name: value})
                if loss >= lowest / (_AS_GOOD if self.kind == "logistic" else 1):
                    break
                lowest = loss

    def _within(self, folds: Folds) -> Folds:
        """Folds of all rows as places among those that settings are chosen on."""
        place = np.full(self.count, -1)
        place[self.rows] = np.arange(len(self.rows))
        kept = [tuple(places[places >= 0] for places in (place[a], place[b])) for a, b in folds]
        return [(learned, held) for learned, held in kept if len(learned) and len(held)]

    def build(self, settings: Hyperparameters) -> Any:
        """An estimator with these settings, not fitted yet."""
        return self.family.estimator(self.scaled(settings), self.seed)

    def _sample(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Rows to choose the settings on: all, or as many of each class as its share, two at least."""
        enough = _ENOUGH_FOR_KERNELS if self.kind == "rbf-svm" else _ENOUGH
        if self.count <= enough:
            return np.arange(self.count)
        order = np.random.default_rng(self.seed).permutation(self.count)
        if self.classes is None:
            return np.sort(order[:enough])
        share = enough / self.count
        by_class = order[np.argsort(y[order], kind="stable")]
        counts = np.bincount(y, minlength=self.classes)
        place = np.arange(self.count) - np.repeat(np.cumsum(counts) - counts, counts)  # within its class
        wanted = np.maximum(2, np.ceil(share * counts)).repeat(counts)
        return np.sort(by_class[place < wanted])

    def scaled(self, settings: Hyperparameters) -> dict[str, Any]:
        """Hyperparameters for this many images and features."""
        scaled = dict(settings)
        if "gamma" in scaled:
            scaled["gamma"] /= self.width
        if "k" in scaled:
            scaled["k"] = min(scaled["k"], self.count)
        return scaled

    def _answers(
        self,
        settings: Hyperparameters,
        starts: Starts,
        number: int,
        train: NDArray[Any],
        held: NDArray[Any],
    ) -> NDArray[np.float64]:
        """Margins, probabilities or values of the held-out rows."""
        if self.kind == "logistic" and self.classes:
            return self._regression_answers(settings["C"], starts[number], train, held)
        estimator = self.build(settings)
        inputs, questions = self.z, self.z
        if self.kind == "linear-svm":
            estimator.set_params(tol=_ROUGH)
        elif self.kind == "rbf-svm":
            inputs = self._kernel(estimator.get_params())[:, train]
            questions = inputs
            name = "kernel" if self.classes is None else "estimator__kernel"
            estimator.set_params(**{name: "precomputed"})
        elif self.kind == "knn":
            estimator.set_params(n_neighbors=min(estimator.n_neighbors, len(train)))
        elif self.kind == "forest":
            estimator.set_params(n_estimators=_FEW_TREES, n_jobs=-1)
        estimator.fit(inputs[train], self.y[train])
        if self.family.gives == MARGINS:
            from finetune.classifiers.estimators import both_sides

            return both_sides(np.asarray(estimator.decision_function(questions[held])))
        answer = estimator.predict_proba if self.family.gives == PROBABILITIES else estimator.predict
        return np.asarray(answer(questions[held]))

    def _regression_answers(
        self,
        strength: float,
        fits: dict[float, SoftmaxRegression],
        train: NDArray[Any],
        held: NDArray[Any],
    ) -> NDArray[np.float64]:
        """Probabilities of the held-out rows; `fits` to these rows by their C, of which this one becomes one.

        It begins at the one with the next smaller C. How far others went, which held-out rows have a say in, changes
        nothing.
        """
        smaller = [one for one in fits if one < strength]
        begun = fits[max(smaller)] if smaller else None
        fits[strength] = SoftmaxRegression.fit(
            self.z[train], self.y[train], self.classes or 0, strength, begun, _ROUGHLY
        )
        return fits[strength].probabilities(self.z[held])

    def _kernel(self, parameters: dict[str, Any]) -> NDArray[np.float64]:
        """exp(-gamma |a - b|^2) between all rows; distances are computed once for all settings."""
        from sklearn.metrics.pairwise import euclidean_distances

        gamma = float(parameters["gamma"] if "gamma" in parameters else parameters["estimator__gamma"])
        if gamma not in self._kernels:
            if not self._kernels:
                self._kernels[0.0] = euclidean_distances(self.z, squared=True)
            self._kernels[gamma] = np.exp(-gamma * self._kernels[0.0])
        return self._kernels[gamma]

    def judge(self, answers: NDArray[np.float64], truth: NDArray[Any]) -> tuple[float, dict[str, Any]]:
        """Loss of held-out answers, and figures for the card."""
        if self.classes is None:
            explained = r2(truth, answers)
            error = float(np.mean((answers - truth) ** 2))
            return error, {"r2": round(explained, 4) if np.isfinite(explained) else None}
        figures: dict[str, Any] = {}
        if self.family.gives == MARGINS:
            figures["scale"] = best_scale(answers, truth)
            answers = softmax(figures["scale"] * answers)
        loss = _log_loss(answers, truth)
        accuracy = float((answers.argmax(axis=1) == truth).mean())
        return loss, figures | {"log_loss": round(loss, 4), "accuracy": round(accuracy, 4)}


def best_scale(margins: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The scale at which softmax(scale x margins) says best how sure one may be; three digits."""
    from scipy.optimize import minimize_scalar

    order = np.random.default_rng(0).permutation(len(truth))
    rows = np.sort(order[: max(200, _NUMBERS // margins.shape[1])])
    margins, truth = margins[rows], truth[rows]
    spread = float(np.abs(margins - margins.mean(axis=1, keepdims=True)).mean())
    if spread < 1e-12:
        return 1.0
    optimum = minimize_scalar(
        lambda s: _log_loss(softmax(np.exp(s) / spread * margins), truth),
        bounds=(np.log(1e-2), np.log(1e2)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(f"{np.exp(optimum.x) / spread:.4g}")


def _log_loss(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    right = probabilities[np.arange(len(truth)), truth]
    return float(-np.log((1 - _SPREAD) * right + _SPREAD / probabilities.shape[1]).mean())
