"""Fine-tuning on 1,000 photos of clothes: accuracy and time against PyTorch and scikit-learn.

    python -m benchmarks.finetuning --compare [--views 4] [--seeds 1] [--quick]
    python -m benchmarks.finetuning --wall [--rounds 3] [--views 1] [--quick]

GRAFT_DATA holds clothing_10, GRAFT_MODELS the networks. `--compare` gives both sides the same features, the same
validation images, and the learning rates that Graft finds. `--wall` runs `graft finetune` and a script in PyTorch
(`benchmarks.finetuning_torch`) in turn, as a user would, with nothing cached, and then `graft finetune` once more.
`--quick` takes a tenth of the photos, to see whether it runs. `--graft` names the command where it is not on the path.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import table
from feature_extraction.byte_store import open_store
from finetune.backbone.trunk import Trunk, features_of, open_trunk
from finetune.dataset.examples import Example
from finetune.dataset.opening import open_split
from finetune.training.data import TrainingData
from finetune.training.settings import Settings
from models.features import default_cuts
from models.runtime import OnnxSession, RuntimeConfig

CPU = RuntimeConfig("cpu")
VALIDATION = 0.15
QUICK = 10  # one photo of so many


@dataclass(frozen=True)
class Subject:
    """A network: where its features are taken, and behind which cut blocks are trained."""

    name: str
    file: str
    cut: str
    unfreeze: str

    @property
    def path(self) -> Path:
        return Path(os.environ["GRAFT_MODELS"]) / self.file


SUBJECTS = (
    Subject("MobileNetV2, pool", "mobilenet_v2_1.0_224.onnx", "pool", "t153"),
    Subject("InceptionV3 (2015), mixed_7a", "inception_v3_2015_trunk.onnx", "mixed_7a", "mixed_6e"),
)


@dataclass(frozen=True)
class Photos:
    """Labelled photos with their classes as numbers; `val` tells which of those to train on are held out."""

    train: list[Example]
    test: list[Example]
    y: np.ndarray
    y_test: np.ndarray
    val: np.ndarray
    classes: list[str]


def photos(quick: bool) -> Photos:
    step = QUICK if quick else 1
    parts = [list(open_split(source(), split).examples)[::step] for split in ("train", "test")]
    classes = sorted({example.label for example in parts[0]})
    y, y_test = (np.array([classes.index(example.label) for example in part]) for part in parts)
    val, rng = np.zeros(len(y), bool), np.random.default_rng(0)
    for number in range(len(classes)):
        places = rng.permutation(np.flatnonzero(y == number))
        val[places[: max(1, round(VALIDATION * len(places)))]] = True
    return Photos(parts[0], parts[1], y, y_test, val, classes)


def source() -> Path:
    return Path(os.environ["GRAFT_DATA"]) / "clothing_10"


@dataclass(frozen=True)
class Features:
    """What a trunk gives for the photos: for training and validation, and for the test."""

    data: TrainingData
    x_test: np.ndarray
    seconds: float


def extracted(trunk: Trunk, some: Photos, views: int, work: Path) -> Features:
    store = open_store()
    began = time.perf_counter()
    x, bad = features_of(trunk, some.train, views, seed=0, store=store, out=work)
    x_test, worse = features_of(trunk, some.test, 1, seed=0, store=store, out=work)
    seconds = time.perf_counter() - began
    store.close()
    assert not bad + worse, "every photo of the set can be read"
    data = TrainingData(
        x[~some.val], some.y[~some.val], x[some.val][:, 0], some.y[some.val], len(some.classes)
    )
    return Features(data, x_test[:, 0], seconds)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = run()
    return result, time.perf_counter() - began


def answers(top: Any, x: np.ndarray) -> np.ndarray:
    """Classes that a trained top gives, through onnxruntime."""
    session = OnnxSession(top.model.SerializeToString(), CPU)
    parts = [session.run({"features": np.array(x[i : i + 64])}, ["logits"])[0] for i in range(0, len(x), 64)]
    return np.concatenate(parts).argmax(1)


Result = tuple[np.ndarray, float]  # answers for the test photos, seconds of training


def sklearn_pair(found: Features, some: Photos) -> tuple[Result, Result]:
    """Logistic regression with C by cross-validation, on all photos to train on as they are."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from finetune.classifiers.fitting import fit_classifier

    x = np.empty((len(some.y), *found.data.shape), np.float32)
    x[~some.val], x[some.val] = found.data.x[:, 0], found.data.val_x
    ours, seconds = timed(lambda: fit_classifier("logistic", x, some.y, some.classes))
    search = LogisticRegressionCV(
        Cs=np.logspace(-4, 1, 6), cv=5, max_iter=2000, scoring="neg_log_loss", l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )  # fmt: skip
    theirs, other = timed(lambda: make_pipeline(StandardScaler(), search).fit(x, some.y))
    return (ours.predict(found.x_test), seconds), (theirs.predict(found.x_test), other)


def head_pair(found: Features, settings: Settings, work: Path) -> tuple[Result, Result]:
    from benchmarks import finetuning_torch as other
    from finetune.training.head import train_head

    ours, seconds = timed(lambda: train_head(found.data, settings, work, device="cpu"))
    rate = ours.history[0].learning_rate
    theirs, others = timed(lambda: other.head(found.data, settings, rate))
    return (answers(ours.top, found.x_test), seconds), (
        other.outputs(theirs, found.x_test).argmax(1),
        others,
    )


def blocks_pair(found: Features, trunk: Trunk, settings: Settings, work: Path) -> tuple[Result, Result]:
    from benchmarks import finetuning_torch as other
    from finetune.training.blocks import train_blocks

    model, cut = trunk.original_model(), trunk.cut
    ours, seconds = timed(lambda: train_blocks(found.data, model, cut, settings, work, device="cpu"))
    rates = ours.history[0].learning_rate, ours.history[1].learning_rate
    (embedding,) = default_cuts(model)
    theirs, others = timed(lambda: other.blocks(found.data, model, cut, embedding, settings, rates))
    return (answers(ours.top, found.x_test), seconds), (
        other.outputs(theirs, found.x_test).argmax(1),
        others,
    )


def compare(args: argparse.Namespace) -> None:
    """One table: accuracy and seconds of three methods, Graft beside PyTorch and scikit-learn."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    some = photos(args.quick)
    short: dict[str, Any] = (
        {"epochs": 3, "block_epochs": 1} if args.quick else {"block_epochs": args.block_epochs}
    )
    rows: list[list[str]] = []
    for subject in SUBJECTS:
        if args.only not in subject.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            pooled = open_trunk(subject.path, subject.cut, config=CPU)
            maps = open_trunk(subject.path, subject.unfreeze, "none", config=CPU)
            for method in args.methods.split(","):
                trunk = maps if method == "blocks" else pooled
                found = extracted(trunk, some, 1 if method == "sklearn" else args.views, work)
                results = []
                for seed in range(1 if method == "sklearn" else args.seeds):
                    settings = Settings(seed=seed, **short)
                    place = work / f"{method}-{seed}"
                    if method == "sklearn":
                        results.append(sklearn_pair(found, some))
                    elif method == "head":
                        results.append(head_pair(found, settings, place))
                    else:
                        results.append(blocks_pair(found, trunk, settings, place))
                rows.append(row(subject, method, trunk.cut, found.seconds, results, some.y_test))
                print("; ".join(rows[-1]), file=sys.stderr, flush=True)
    header = [
        "features",
        "method",
        "Graft",
        "PyTorch, scikit-learn",
        "difference",
        "same answer",
        "seconds",
        "theirs",
    ]
    print(f"{len(some.train)} photos to train on, {len(some.test)} for the test, {args.views} views\n")
    print(table(header, rows))


def row(
    subject: Subject,
    method: str,
    cut: str,
    extraction: float,
    results: list[tuple[Result, Result]],
    y: np.ndarray,
) -> list[str]:
    ours = statistics.mean(float((a[0] == y).mean()) for a, _ in results)
    theirs = statistics.mean(float((b[0] == y).mean()) for _, b in results)
    same = statistics.mean(float((a[0] == b[0]).mean()) for a, b in results)
    return [
        subject.name,
        f"{method} behind {cut}" if method == "blocks" else method,
        f"{100 * ours:.1f} %",
        f"{100 * theirs:.1f} %",
        f"{100 * (ours - theirs):+.1f}",
        f"{100 * same:.1f} %",
        f"{statistics.median(a[1] for a, _ in results):.1f}",
        f"{statistics.median(b[1] for _, b in results):.1f}",
    ]


def wall(args: argparse.Namespace) -> None:
    """Wall time of whole commands, in turn; nothing is cached but in the last."""
    subject = next(s for s in SUBJECTS if s.name.startswith("MobileNet" if args.quick else "Inception"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "photos"
        for i, file in enumerate(sorted((source() / "train").glob("*/*"))):
            if not args.quick or i % QUICK == 0:
                (images / file.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, images / file.parent.name / file.name)
        epochs = "3" if args.quick else str(args.epochs)
        common = ["--views", str(args.views), "--epochs", epochs]
        graft = [
            *shlex.split(args.graft), "finetune", str(images), "--model", str(subject.path), "--method", "head",
            "--cut", subject.cut, "--device", "cpu", *common,
        ]  # fmt: skip
        torch = [
            sys.executable, "-m", "benchmarks.finetuning_torch", str(images), str(subject.path), subject.cut, *common,
        ]  # fmt: skip
        commands = {"PyTorch": torch, "graft": graft, "graft --quantize": [*graft, "--quantize"]}
        times: dict[str, list[float]] = {}
        for number in range(1 if args.quick else args.rounds):
            for label, command in commands.items():
                cache = folder / f"cache-{number}-{label.rpartition('-')[2]}"
                runs = [label] if label == "PyTorch" else [label, f"{label}, cached"]
                for run in runs:
                    out = (
                        []
                        if label == "PyTorch"
                        else ["--out", str(folder / f"{number}-{len(times)}-{len(run)}")]
                    )
                    seconds = one([*command, *out], cache, folder)
                    times.setdefault(run, []).append(seconds)
                    print(f"{run}: {seconds:.1f} s", file=sys.stderr, flush=True)
                shutil.rmtree(cache, ignore_errors=True)
    base = times["PyTorch"]
    rows = [
        [
            label,
            f"{statistics.median(seconds):.1f}",
            f"{statistics.median(b / s for b, s in zip(base, seconds, strict=True)):.2f}",
        ]
        for label, seconds in times.items()
    ]
    print(f"{subject.name}, head, {args.views} views, {epochs} epochs\n")
    print(table(["run", "seconds", "times as fast as PyTorch"], rows))


def one(command: list[str], cache: Path, folder: Path) -> float:
    """Seconds of a command in a process of its own, with a cache folder of its own."""
    environment = {**os.environ, "GRAFT_CACHE": str(cache)}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--views", type=int, help="default: 4 to compare, 1 for wall time")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--block-epochs", type=int, default=8)
    parser.add_argument("--methods", default="sklearn,head,blocks")
    parser.add_argument("--only", default="", help="part of a network's name")
    parser.add_argument("--graft", default="graft")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.compare == args.wall:
        parser.error("choose --compare or --wall")
    args.views = args.views or (4 if args.compare else 1)
    (compare if args.compare else wall)(args)


if __name__ == "__main__":
    main()
