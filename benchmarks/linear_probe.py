"""How good features are: standardise, logistic regression, C by cross-validation on the training images.

    GRAFT_DATA=... GRAFT_MODELS=... python -m benchmarks.linear_probe [--models mobilenet_v2 builtin] [--enlarge [SIDE]]

`--enlarge` scales every test photo up (by itself to 12 megapixels), puts noise on each pixel, and compares draft
decoding with decoding in full: the proof that draft decoding costs no accuracy. It takes ten minutes and more.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.large_photos import ExactWorker
from benchmarks.timing import table
from feature_extraction.extraction import extract_vectors
from feature_extraction.items import ImageItem, read_item
from feature_extraction.worker import Worker
from finetune.dataset.opening import open_split
from finetune.trust.measures import wilson_interval
from models.agreement import cosine
from models.features import FeatureOptions, open_features
from models.files import sha256, write_atomically
from models.importing import as_graft_model
from models.locating import locate
from models.model import Model
from models.quantization import quantize
from models.runtime import RuntimeConfig
from models.store import cache_folder

CPU = RuntimeConfig("cpu")
CALIBRATION = 64
LARGE = 3000  # pixels of the shorter side when photos are enlarged: 12 megapixels at 4 : 3
NOISE = 8.0  # standard deviation of the noise on enlarged photos, of 255


def models(wanted: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Row of the table -> (model, cut), for the models in whose path one of `wanted` stands."""
    folder = Path(os.environ["GRAFT_MODELS"])
    known = {
        "InceptionV3 (2015), mixed_7a": (str(folder / "inception_v3_2015_trunk.onnx"), "mixed_7a"),
        "MobileNetV2, pool": (str(folder / "mobilenet_v2_1.0_224.onnx"), "pool"),
        "graft-mini, pool": ("builtin", "pool"),
    }
    return {row: place for row, place in known.items() if any(part in place[0] for part in wanted)}


def split(name: str) -> tuple[list[ImageItem], list[str]]:
    examples = open_split(os.path.join(os.environ["GRAFT_DATA"], "clothing_10"), name).examples
    return [example.item for example in examples], [example.label for example in examples]


def int8(model: str, items: Sequence[ImageItem]) -> str:
    """The file of an int8 version, calibrated on training images."""
    content = sha256(locate(model))[:12]  # of the built-in network there may be other weights than before
    target = cache_folder() / "benchmarks" / f"{Path(model).stem}.{content}.probe.int8.onnx"
    if not target.exists():
        some = random.Random(0).sample(items, CALIBRATION)
        original = Model.open(model, CPU)
        proto, _ = as_graft_model(locate(model))
        pixels = (original.decode(read_item(item)) for item in some)
        write_atomically(target, quantize(proto, pixels).SerializeToString())
    return str(target)


def vectors(model: str, cut: str, items: Sequence[ImageItem]) -> NDArray[np.float32]:
    features = open_features(model, FeatureOptions((cut,)), CPU)
    return np.concatenate(
        [batch.arrays[cut] for batch in extract_vectors(features, items, features.model.batch_size)]
    )


def search(train: NDArray[np.float32], labels: list[str]) -> GridSearchCV:
    """Standardisation and logistic regression, with the C that is best in cross-validation."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    grid = GridSearchCV(probe, {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1.0]}, cv=5)
    return grid.fit(train, labels)


def accuracy(
    train: NDArray[np.float32], test: NDArray[np.float32], labels: tuple[list[str], list[str]]
) -> list[str]:
    """Columns: C, accuracy in cross-validation, accuracy on the test images with its interval."""
    probe = search(train, labels[0])
    right = int((probe.predict(test) == np.array(labels[1])).sum())
    low, high = wilson_interval(right, len(test))
    chosen = probe.best_params_["logisticregression__C"]
    return [
        f"{chosen:g}",
        f"{probe.best_score_:.3f}",
        f"{right / len(test):.3f}",
        f"{low:.3f} to {high:.3f}",
    ]


def enlarged(item: ImageItem, side: int, seed: int) -> bytes:
    """A photo as a large JPEG with noise on every pixel: scaling alone makes no fine structure. `side`: the shorter."""
    image = Image.open(io.BytesIO(read_item(item))).convert("RGB")  # type: ignore[arg-type]
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).astype(np.float32)  # (H, W, 3)
    pixels += NOISE * np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def draft_or_full(models: dict[str, tuple[str, str]], side: int) -> list[list[str]]:
    """For each model: trained on the photos as they are, tested on enlarged ones, draft-decoded and decoded in full."""
    (train, train_labels), (test, test_labels) = split("train"), split("test")
    workers: dict[str, dict[str, Worker]] = {}
    found: dict[str, dict[str, list[NDArray[np.float32]]]] = {}
    for name, (model, cut) in models.items():
        features = open_features(model, FeatureOptions((cut,)), CPU)
        workers[name] = {"draft": Worker(features), "in full": ExactWorker(features)}
        found[name] = {way: [] for way in workers[name]}
    for seed, item in enumerate(test):
        large = enlarged(item, side, seed)
        for name, ways in workers.items():
            for way, worker in ways.items():
                (vector,) = worker([ImageItem(item.id, lambda data=large: data)]).arrays.values()
                found[name][way].append(vector)
    rows = []
    for name, (model, cut) in models.items():
        probe = search(vectors(model, cut, train), train_labels)
        both = [np.concatenate(batches) for batches in found[name].values()]
        draft, full = (probe.predict(batch) for batch in both)
        near = cosine(*both)
        rows.append(
            [
                name,
                *(f"{(answers == np.array(test_labels)).mean():.3f}" for answers in (draft, full)),
                f"{(draft != full).sum()} of {len(test)}",
                f"{near.mean():.5f}, {near.min():.5f}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--enlarge", nargs="?", type=int, const=LARGE, metavar="SIDE", help="shorter side, pixels"
    )
    parser.add_argument(
        "--models", nargs="+", default=[""], help="parts of the models' names; without it all"
    )
    args = parser.parse_args()
    chosen = models(args.models)
    columns = ["C", "cross-validation", "test accuracy", "95 % interval"]
    if args.enlarge:
        header = ["features", "draft", "in full", "other answer", "cosine: mean, least"]
        print(table(header, draft_or_full(chosen, args.enlarge)))
        return
    (train, train_labels), (test, test_labels) = split("train"), split("test")
    rows = []
    for name, (model, cut) in chosen.items():
        for precision, path in (("float32", model), ("int8", int8(model, train))):
            began = time.perf_counter()
            both = vectors(path, cut, train), vectors(path, cut, test)
            speed = (len(train) + len(test)) / (time.perf_counter() - began)
            rows.append([name, precision, *accuracy(*both, (train_labels, test_labels)), f"{speed:.0f}"])
    print(table(["features", "precision", *columns, "images/s"], rows))


if __name__ == "__main__":
    main()
