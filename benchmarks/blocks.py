"""What training the top blocks adds to a head, by the command line itself, on images unlike those of the network.

    GRAFT_DATA=... python -m benchmarks.blocks

notMNIST: the letters A to J in many fonts. In each draw some glyphs of each class are learned from and others are a
test folder, so that both methods are measured on the same images and nothing of the run has seen them. All settings
are defaults but `--no-flip`, as a mirrored letter is another one or none. McNemar's exact test over all draws, and the
interval of the mean difference over draws (Student's t).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from benchmarks.learning import interval
from benchmarks.timing import table

METHODS = ("head", "blocks")
_LETTERS = "ABCDEFGHIJ"


def write_glyphs(root: Path, size: int, test: int, number: int) -> None:
    """Folders `train` and `test` with so many images of each letter, of draw `number`."""
    folder = Path(os.environ["GRAFT_DATA"]) / "notmnist_10k"
    raw, labels = (
        np.frombuffer(gzip.decompress((folder / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8, offset=skip)
        for name, skip in (("images-idx3", 16), ("labels-idx1", 8))
    )
    glyphs = raw.reshape(-1, 28, 28)
    dice = np.random.default_rng(number)
    for place, letter in enumerate(_LETTERS):
        rows = dice.permutation(np.flatnonzero(labels == place))[: size + test]
        for split, some in (("train", rows[:size]), ("test", rows[size:])):
            into = root / split / letter
            into.mkdir(parents=True)
            for row in some.tolist():
                Image.fromarray(glyphs[row]).save(into / f"{row:05}.png")


def run(root: Path, method: str, out: Path, options: list[str]) -> tuple[dict[str, Any], float]:
    """The report of `graft finetune`, and the seconds it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "graft", "finetune", str(root), "--method", method, "--out", str(out)]
    done = subprocess.run(
        [*command, "--no-flip", "--no-report", *options], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"graft finetune failed:\n{done.stderr}")
    return json.loads((out / "report.json").read_text()), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=200, help="glyphs of each letter to learn from")
    parser.add_argument("--test", type=int, default=100, help="and to measure on")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--unfreeze", default="", metavar="CUT", help="train what lies behind it")
    args, options = parser.parse_known_args()
    of_blocks = ["--unfreeze", args.unfreeze] if args.unfreeze else []
    header = ["draw", "head", "blocks", "points", "rate", "seconds", "seconds"]
    rows, gains, both = [], [], [0, 0]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAFT_CACHE"] = str(Path(folder) / "cache")
        for number in range(args.draws):
            root = Path(folder) / f"glyphs-{number}"
            write_glyphs(root, args.size, args.test, number)
            outs = [Path(folder) / f"{method}-{number}" for method in METHODS]
            reports, seconds = zip(
                *(
                    run(root, method, out, ["--model", args.model, *options, *more])
                    for method, out, more in zip(METHODS, outs, ([], of_blocks), strict=True)
                ),
                strict=True,
            )
            head, blocks = (report["classification"]["accuracy"]["value"] for report in reports)
            wrong = [mistaken(out) for out in outs]
            both = [both[0] + len(wrong[0] - wrong[1]), both[1] + len(wrong[1] - wrong[0])]
            gains.append(100 * (blocks - head))
            rate = reports[1]["settings"]["block_learning_rate"] or "none"
            rows.append(
                [str(number), f"{100 * head:.1f} %", f"{100 * blocks:.1f} %", f"{gains[-1]:+.1f}", str(rate)]
                + [f"{one:.0f}" for one in seconds]
            )
            print(*rows[-1], file=sys.stderr, flush=True)
    print(table(header, rows))
    chance = stats.binomtest(both[0], sum(both)).pvalue if sum(both) else 1.0
    print(f"mean difference, points: {interval(gains)}")
    print(f"put right by blocks: {both[0]}, put wrong: {both[1]}; McNemar's exact test: p = {chance:.1e}")


def mistaken(out: Path) -> set[str]:
    """Images of the test folder that a run was wrong about."""
    with (out / "mistakes.csv").open(newline="") as stream:
        return {row["id"] for row in csv.DictReader(stream)}


if __name__ == "__main__":
    main()
