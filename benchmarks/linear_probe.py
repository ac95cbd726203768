"""How good features are: standardise, logistic regression, C by cross-validation on the training images.

    GRAFT_DATA=... GRAFT_MODELS=... python -m benchmarks.linear_probe [--enlarge]

`--enlarge` scales every photo up to 12 megapixels first and compares draft decoding with decoding in full: the
proof that draft decoding costs no accuracy.
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
from feature_extraction.extraction import run
from feature_extraction.reading import ImageItem
from feature_extraction.sources import labelled
from feature_extraction.worker import Worker, read_item
from finetune.evaluation import wilson_interval
from models.features import FeatureOptions, open_features
from models.importing import as_graft_model
from models.model import Model
from models.quantization import quantize
from models.runtime import RuntimeConfig
from models.store import cache_folder, write_atomically
from models.zoo import locate

CPU = RuntimeConfig("cpu", spinning=False)
CALIBRATION = 64
LARGE = 3000  # pixels of the shorter side when photos are enlarged


def models() -> dict[str, tuple[str, str]]:
    """Row of the table -> (model, cut)."""
    folder = Path(os.environ["GRAFT_MODELS"])
    return {
        "InceptionV3 (2015), mixed_7a": (str(folder / "inception_v3_2015_trunk.onnx"), "mixed_7a"),
        "MobileNetV2, pool": (str(folder / "mobilenet_v2_1.0_224.onnx"), "pool"),
        "graft-mini, pool": ("builtin", "pool"),
    }


def split(name: str) -> tuple[list[ImageItem], list[str]]:
    pairs = list(labelled(os.path.join(os.environ["GRAFT_DATA"], "clothing_10"), name))
    return [item for item, _ in pairs], [label for _, label in pairs]


def int8(model: str, items: Sequence[ImageItem]) -> str:
    """The file of an int8 version, calibrated on training images."""
    target = cache_folder() / "benchmarks" / f"{Path(model).stem}.probe.int8.onnx"
    if not target.exists():
        some = random.Random(0).sample(items, CALIBRATION)
        original = Model.open(model, CPU)
        proto, _ = as_graft_model(locate(model))
        pixels = (original.decode(read_item(item)) for item in some)
        write_atomically(target, quantize(proto, pixels).SerializeToString())
    return str(target)


def vectors(model: str, cut: str, items: Sequence[ImageItem]) -> NDArray[np.float32]:
    features = open_features(model, FeatureOptions((cut,)), CPU)
    return np.concatenate([batch.arrays[cut] for batch in run(features, items, features.model.batch_size)])


def accuracy(
    train: NDArray[np.float32], test: NDArray[np.float32], labels: tuple[list[str], list[str]]
) -> list[str]:
    """Columns: C, accuracy in cross-validation, accuracy on the test images with its interval."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    search = GridSearchCV(probe, {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1.0]}, cv=5)
    search.fit(train, labels[0])
    right = int((search.predict(test) == np.array(labels[1])).sum())
    low, high = wilson_interval(right, len(test))
    chosen = search.best_params_["logisticregression__C"]
    return [
        f"{chosen:g}",
        f"{search.best_score_:.3f}",
        f"{right / len(test):.3f}",
        f"{low:.3f} to {high:.3f}",
    ]


def enlarged(items: Sequence[ImageItem]) -> list[ImageItem]:
    def read(item: ImageItem) -> bytes:
        image = Image.open(io.BytesIO(read_item(item))).convert("RGB")  # type: ignore[arg-type]
        scale = LARGE / min(image.size)
        stream = io.BytesIO()
        size = (round(image.width * scale), round(image.height * scale))
        image.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
        return stream.getvalue()

    return [ImageItem(item.id, lambda item=item: read(item)) for item in items]


def draft_or_full(model: str, cut: str) -> list[list[str]]:
    """Rows: trained on draft-decoded photos, tested on draft-decoded and on fully decoded ones."""
    (train, train_labels), (test, test_labels) = split("train"), split("test")
    features = open_features(model, FeatureOptions((cut,)), CPU)
    learned = vectors(model, cut, train)
    large = enlarged(test)
    rows = []
    for name, worker in (("draft", Worker(features)), ("in full", ExactWorker(features))):
        found = np.concatenate([worker(large[i : i + 8]).arrays[cut] for i in range(0, len(large), 8)])
        rows.append([name, *accuracy(learned, found, (train_labels, test_labels))])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--enlarge", action="store_true")
    args = parser.parse_args()
    columns = ["C", "cross-validation", "test accuracy", "95 % interval"]
    if args.enlarge:
        print(table(["12-megapixel photos decoded", *columns], draft_or_full("builtin", "pool")))
        return
    (train, train_labels), (test, test_labels) = split("train"), split("test")
    rows = []
    for name, (model, cut) in models().items():
        for precision, path in (("float32", model), ("int8", int8(model, train))):
            began = time.perf_counter()
            both = vectors(path, cut, train), vectors(path, cut, test)
            speed = (len(train) + len(test)) / (time.perf_counter() - began)
            rows.append([name, precision, *accuracy(*both, (train_labels, test_labels)), f"{speed:.0f}"])
    print(table(["features", "precision", *columns, "images/s"], rows))


if __name__ == "__main__":
    main()
