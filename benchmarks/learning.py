"""What `graft finetune` makes of few images: accuracy, probabilities and "none of these", against textbook methods.

    GRAFT_DATA=... GRAFT_MODELS=... python -m benchmarks.learning --cache FOLDER

Five public sets (`benchmarks/labelled_sets.py`), three backbones, 5, 20 and 100 images a class, several draws. In each
draw a third of the classes is missing: their images are the near unknown ones, those of the other sets the far ones.
Accuracy is compared with scikit-learn's logistic regression on all images that Graft was given, standardised, its C by
cross-validation; scores are compared with those of textbooks on the same embeddings and logits. Nothing that is
measured on was given to anybody. Features are computed once and kept in FOLDER, and so are the results of each run
under the `--label` given, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.labelled_sets import LabelledSet, labelled_sets
from benchmarks.timing import table
from feature_extraction.byte_store import ByteStore, open_store
from feature_extraction.items import ImageItem
from finetune.backbone.trunk import Trunk, features_of, open_trunk
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.scanning import scan
from finetune.heads.running import TopOutputs, run_top
from finetune.job.assessment import assess
from finetune.job.folder import RunFolder
from finetune.job.methods import learn
from finetune.job.observing import Observer, Stages
from finetune.job.preparation import prepare
from finetune.job.recipe import Recipe, chosen
from finetune.trust.calibration import calibration_error
from finetune.trust.measures import auroc, softmax

SIZES = (5, 20, 100)
FAR = 60  # images of each other set
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """What one run is given, and what it is measured on. `y` and `test_y` are places in `classes`."""

    classes: list[str]
    images: list[ImageItem]
    y: NDArray[np.int64]
    test: list[ImageItem]
    test_y: NDArray[np.int64]
    near_by_class: list[list[ImageItem]]

    @property
    def near(self) -> list[ImageItem]:
        """Images of all classes that are missing."""
        return [item for items in self.near_by_class for item in items]


def backbones() -> dict[str, str]:
    folder = Path(os.environ["GRAFT_MODELS"])
    return {
        "built-in": "builtin",
        "MobileNetV2": str(folder / "mobilenet_v2_1.0_224.onnx"),
        "InceptionV3": str(folder / "inception_v3_2015_trunk.onnx"),
    }


def draw(images: LabelledSet, size: int, number: int, share: int = 3) -> Drawn:
    """`size` images of each class, but for one in `share` classes, which are missing."""
    dice = np.random.default_rng([number, size])
    mixed = dice.permutation(images.classes).tolist()
    missing = sorted(mixed[: len(mixed) // share])
    classes = sorted(mixed[len(mixed) // share :])
    learned = [
        [images.learned[name][i] for i in dice.permutation(len(images.learned[name]))[:size]]
        for name in classes
    ]
    test = [list(images.measured[name]) for name in classes]
    return Drawn(
        classes,
        [item for items in learned for item in items],
        np.repeat(np.arange(len(classes)), [len(items) for items in learned]),
        [item for items in test for item in items],
        np.repeat(np.arange(len(classes)), [len(items) for items in test]),
        [list(images.measured[name]) for name in missing],
    )


class Bench:
    """Runs one after the other, with what they share."""

    def __init__(self, store: ByteStore, trunk: Trunk, strangers: Sequence[ImageItem]) -> None:
        self.store, self.trunk = store, trunk
        self.far = self.features(strangers)

    def features(self, images: Sequence[ImageItem]) -> NDArray[np.float32]:
        rows, failures = features_of(self.trunk, images, 1, seed=0, store=self.store)
        assert not failures
        return rows[:, 0]

    def graft(self, drawn: Drawn, recipe: Recipe) -> dict[str, Any]:
        """The figures of Graft's own procedure, from labelled images on."""
        examples = tuple(
            Example(item, drawn.classes[y]) for item, y in zip(drawn.images, drawn.y.tolist(), strict=True)
        )
        dataset = Dataset("benchmark", "classification", examples, tuple(drawn.classes))
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as out, RunFolder.open(Path(out) / "run") as folder:
            facts = scan(examples, store=self.store)
            folder.begin({})
            prepared = prepare(
                dataset, facts, recipe, self.trunk, Stages(Observer()), store=self.store, work=folder.work
            )
            learned = learn(prepared, recipe, folder)
            assessment = assess(prepared, learned, recipe)
        seconds = time.perf_counter() - began
        test, near, far = (
            run_top(learned.top, x) for x in (self.features(drawn.test), self.features(drawn.near), self.far)
        )
        rejector, temperature = assessment.rejector, assessment.temperature or 1.0
        assert rejector is not None
        own = [rejector.score(part.embedding, part.logits) for part in (test, near, far)]
        promised = assessment.probabilities(calibrated=True).argmax(axis=1)
        figures = {
            "accuracy": float((test.logits.argmax(axis=1) == drawn.test_y).mean()),
            "promised": float((promised == prepared.targets[assessment.rows]).mean()),
            "before": calibration_error(softmax(test.logits), drawn.test_y),
            "after": calibration_error(softmax(test.logits, temperature), drawn.test_y),
            "loss before": log_loss(softmax(test.logits), drawn.test_y),
            "loss after": log_loss(softmax(test.logits, temperature), drawn.test_y),
            "temperature": temperature,
            "near own": auroc(own[0], own[1]),
            "far own": auroc(own[0], own[2]),
            "promised near": rejector.auroc,
            "promised within": rejector.interval,
            "kind": rejector.kind,
            "false": float((own[0] > rejector.threshold).mean()),
            "caught near": float((own[1] > rejector.threshold).mean()),
            "caught far": float((own[2] > rejector.threshold).mean()),
            "seconds": seconds,
        }
        embedding = run_top(learned.top, self.features(drawn.images)).embedding
        for name, score in textbook(embedding, drawn.y):
            known, *others = (score(part) for part in (test, near, far))
            figures |= {
                f"{what} {name}": auroc(known, s) for what, s in zip(("near", "far"), others, strict=True)
            }
        return figures

    def regression(self, drawn: Drawn) -> dict[str, Any]:
        """scikit-learn on all the images."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        parts = min(5, int(np.bincount(drawn.y).min()))
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        grid = {"logisticregression__C": [10.0**power for power in range(-5, 2)]}
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            search = GridSearchCV(probe, grid, cv=parts, scoring="neg_log_loss")
            search.fit(self.features(drawn.images).astype(np.float64), drawn.y)
            given = search.predict_proba(self.features(drawn.test).astype(np.float64))
        return {
            "accuracy": float((given.argmax(axis=1) == drawn.test_y).mean()),
            "error": calibration_error(given, drawn.test_y),
            "loss": log_loss(given, drawn.test_y),
            "C": search.best_params_["logisticregression__C"],
        }


def textbook(
    embedding: NDArray[np.float32], y: NDArray[np.int64]
) -> Iterator[tuple[str, Callable[[TopOutputs], Floats]]]:
    """Scores of unknown images: maximum probability, energy, nearest neighbour, Mahalanobis distance."""
    from sklearn.covariance import LedoitWolf

    def directions(x: NDArray[np.float32]) -> Floats:
        values = x.astype(np.float64)
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))

    yield "maximum", lambda part: 1 - softmax(part.logits).max(axis=1)
    yield "energy", lambda part: -np.logaddexp.reduce(part.logits.astype(np.float64), axis=1)
    known = directions(embedding)
    yield "neighbour", lambda part: 1 - (directions(part.embedding) @ known.T).max(axis=1)
    means = np.stack([known[y == c].mean(axis=0) for c in range(y.max() + 1)])
    precision = LedoitWolf(assume_centered=True).fit(known - means[y]).precision_

    def distance(part: TopOutputs) -> Floats:
        x = directions(part.embedding)
        cross = x @ precision
        squares = (cross * x).sum(axis=1)[:, None] - 2 * cross @ means.T
        return np.asarray((squares + np.einsum("cd,de,ce->c", means, precision, means)).min(axis=1))

    yield "Mahalanobis", distance


def log_loss(probabilities: Floats, y: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-7)).mean())


class Results:
    """Figures of runs that are done, a JSON line each."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, {}
        if path.is_file():
            for line in path.read_text().splitlines():
                key, figures = json.loads(line)
                self.rows[tuple(key)] = figures

    def get(self, key: tuple[Any, ...], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in self.rows:
            self.rows[key] = make()
            with self.path.open("a") as stream:
                stream.write(json.dumps([key, self.rows[key]]) + "\n")
        return self.rows[key]


def interval(values: Sequence[float]) -> str:
    """The mean with its 95 % interval (Student's t)."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:+.2f}"
    half = statistics.stdev(values) / math.sqrt(len(values)) * float(stats.t.ppf(0.975, len(values) - 1))
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


SCORES = ("maximum", "energy", "neighbour", "Mahalanobis")


def report(runs: list[tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]]) -> None:
    """The table, a row for each set, backbone and size, and the differences over all runs."""
    cells: dict[tuple[Any, ...], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for key, own, theirs in runs:
        cells.setdefault(key[:3], []).append((own, theirs))
    header = [
        "set", "backbone", "a class", "Graft", "scikit-learn", "promised", "ECE before", "after",
        "near: own", "max", "energy", "nearest", "Mahal.", "far: own", "max", "energy", "nearest", "Mahal.",
        "false rej.", "caught near", "far",
    ]  # fmt: skip

    def mean(figures: Sequence[dict[str, Any]], name: str, scale: float, digits: int) -> str:
        return f"{scale * statistics.fmean(figure[name] for figure in figures):.{digits}f}"

    rows = []
    for key, pairs in cells.items():
        own, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        rows.append([
            *map(str, key),
            mean(own, "accuracy", 100, 1), mean(theirs, "accuracy", 100, 1), mean(own, "promised", 100, 1),
            mean(own, "before", 100, 1), mean(own, "after", 100, 1),
            *(mean(own, f"{what} {name}", 1, 3) for what in ("near", "far") for name in ("own", *SCORES)),
            *(mean(own, name, 100, 0) for name in ("false", "caught near", "caught far")),
        ])  # fmt: skip
    print(table(header, rows))
    lines = [["difference", "sizes", "runs", "mean (95 %)"]]

    def difference(what: str, of: Callable[[dict[str, Any], dict[str, Any]], float]) -> None:
        for sizes in (*((size,) for size in SIZES), SIZES):
            values = [of(own, theirs) for key, own, theirs in runs if key[2] in sizes]
            if values:
                lines.append([what, ", ".join(map(str, sizes)), str(len(values)), interval(values)])

    difference("accuracy - scikit-learn's, points", lambda a, b: 100 * (a["accuracy"] - b["accuracy"]))
    difference("promised - measured accuracy, points", lambda a, b: 100 * (a["promised"] - a["accuracy"]))
    difference("ECE after - before, points", lambda a, b: 100 * (a["after"] - a["before"]))
    difference("ECE after - scikit-learn's, points", lambda a, b: 100 * (a["after"] - b["error"]))
    difference("log loss after - scikit-learn's", lambda a, b: a["loss after"] - b["loss"])
    for what in ("near", "far"):
        for name in SCORES:
            difference(
                f"AUROC {what}, own - {name}, points",
                lambda a, b, what=what, name=name: 100 * (a[f"{what} own"] - a[f"{what} {name}"]),
            )
    print()
    print(table(lines[0], lines[1:]))
    # Runs that were kept before this was noted say nothing of it.
    promises = [(own["promised within"], own["near own"]) for _, own, _ in runs if own.get("promised within")]
    inside = sum(low <= measured <= high for (low, high), measured in promises)
    print(f"\nAUROC near within the interval that was promised: {inside} of {len(promises)} runs")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--label", default="now", help="of the results that are kept")
    parser.add_argument("--sets", nargs="+", default=list(labelled_sets()), choices=list(labelled_sets()))
    parser.add_argument("--backbones", nargs="+", default=list(backbones()), choices=list(backbones()))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="images a class")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--only-report", action="store_true", help="of the results that are there")
    parser.add_argument(
        "--setting", nargs="*", default=[], metavar="NAME=VALUE", help="of the recipe, such as method=sklearn"
    )
    args = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in args.setting)
    recipe = chosen(
        {
            name: json.loads(value) if value[:1] in "0123456789tf" else value
            for name, value in settings.items()
        }
    )
    args.cache.mkdir(parents=True, exist_ok=True)
    os.environ["GRAFT_CACHE"] = str(args.cache)
    ours, theirs = (Results(args.cache / f"learning-{name}.jsonl") for name in (args.label, "scikit-learn"))
    opened = {name: open_set() for name, open_set in labelled_sets().items()}
    runs = []
    with closing(open_store()) as store:
        for backbone in args.backbones:
            trunk = open_trunk(backbones()[backbone])
            for name in args.sets:
                images = opened[name]
                strangers = [
                    item
                    for other, far in opened.items()
                    if other != name
                    for item in some([item for items in far.measured.values() for item in items])
                ]
                bench = Bench(store, trunk, strangers)
                for size in args.sizes:
                    if size > 1.3 * statistics.median(map(len, images.learned.values())):
                        continue
                    for number in range(args.draws):
                        key, drawn = (name, backbone, size, number), draw(images, size, number)
                        if args.only_report and (key not in ours.rows or key not in theirs.rows):
                            continue
                        began = time.perf_counter()
                        other = theirs.get(key, lambda drawn=drawn, bench=bench: bench.regression(drawn))
                        middle = time.perf_counter()
                        own = ours.get(key, lambda drawn=drawn, bench=bench: bench.graft(drawn, recipe))
                        runs.append((key, own, other))
                        seconds = middle - began, time.perf_counter() - middle
                        both = (f"{one['accuracy']:.3f}" for one in (own, other))
                        print(*key, *both, *(f"{one:.1f} s" for one in seconds), file=sys.stderr, flush=True)
    report(runs)


def some(items: list[ImageItem]) -> list[ImageItem]:
    """As many as are taken of a set for unknown images."""
    return [items[i] for i in np.random.default_rng(0).permutation(len(items))[:FAR]]


if __name__ == "__main__":
    main()
