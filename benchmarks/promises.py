"""Whether "none of these" keeps what it promises: the AUROC of a model's card against classes that it has not seen.

    GRAFT_DATA=... GRAFT_MODELS=... python -m benchmarks.promises --cache FOLDER

As `benchmarks.learning`, whose sets, backbones and cache of features these are, but of the threshold alone, which goes
by embeddings: so many more draws can be had. In each a third of the classes is missing, or half of them. Two figures
for each interval: whether it holds the AUROC of all that are missing together, and how many of them it holds one by
one, for "one more class" is what it is of.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.labelled_sets import labelled_sets
from benchmarks.learning import SIZES, Bench, Drawn, backbones, draw
from benchmarks.timing import table
from feature_extraction.byte_store import open_store
from finetune.backbone.trunk import open_trunk
from finetune.classifiers.folds import make_folds
from finetune.trust.measures import auroc
from finetune.trust.rejection import HeldPart, fit_rejector

SETS = ("clothing", "glyphs", "digits")  # of ten classes: fewer known ones make wider intervals
SHARES = (3, 2)  # one in so many classes is missing


@dataclass(frozen=True)
class Promise:
    """What was promised and what came, as AUROC: of all missing classes together, and of each."""

    promised: float
    interval: tuple[float, float]
    measured: float
    each: list[float]

    def holds(self, area: float) -> bool:
        return self.interval[0] <= area <= self.interval[1]


def promise(bench: Bench, drawn: Drawn) -> Promise:
    """Fit the threshold to what is known, and ask it about what is missing."""
    x, classes = bench.features(drawn.images), len(drawn.classes)

    def scores(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return rejector.score(rows, np.zeros((len(rows), classes), np.float32))

    held = [
        HeldPart(x[one], drawn.y[one], x[other], np.zeros((len(other), classes), np.float32), drawn.y[other])
        for one, other in make_folds(drawn.y, np.arange(len(drawn.y)), 0)
    ]
    rejector = fit_rejector(x, drawn.y, held)
    assert rejector.auroc is not None
    assert rejector.interval is not None
    known = scores(bench.features(drawn.test))
    missing = [scores(bench.features(items)) for items in drawn.near_by_class]
    return Promise(
        rejector.auroc,
        rejector.interval,
        auroc(known, np.concatenate(missing)),
        [auroc(known, rows) for rows in missing],
    )


def row(size: int, share: str, promises: list[Promise]) -> list[str]:
    holding = sum(one.holds(one.measured) for one in promises)
    of_each = [one.holds(area) for one in promises for area in one.each]
    widths = [one.interval[1] - one.interval[0] for one in promises]
    return [
        str(size),
        share,
        f"{holding} of {len(promises)}",
        f"{sum(of_each)} of {len(of_each)} ({100 * statistics.fmean(of_each):.0f} %)",
        f"{statistics.fmean(one.promised - one.measured for one in promises):+.3f}",
        f"{statistics.fmean(widths):.2f} ({statistics.median(widths):.2f})",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--backbones", nargs="+", default=list(backbones()), choices=list(backbones()))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="images a class")
    parser.add_argument("--draws", type=int, default=10)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    os.environ["GRAFT_CACHE"] = str(args.cache)
    opened = {name: labelled_sets()[name]() for name in SETS}
    promises: dict[tuple[int, int], list[Promise]] = {}
    with closing(open_store()) as store:
        for backbone in args.backbones:
            bench = Bench(store, open_trunk(backbones()[backbone]), [])
            for name, images in opened.items():
                for size in args.sizes:
                    for share in SHARES:
                        some = promises.setdefault((size, share), [])
                        some += [
                            promise(bench, draw(images, size, number, share)) for number in range(args.draws)
                        ]
                print(backbone, name, "done", file=sys.stderr, flush=True)
    words = {3: "a third", 2: "half"}
    header = ["a class", "missing", "held", "held, each class", "promised - measured", "width: mean (median)"]
    print(table(header, [row(size, words[share], some) for (size, share), some in sorted(promises.items())]))


if __name__ == "__main__":
    main()
