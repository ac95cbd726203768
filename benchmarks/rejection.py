"""How well scores tell images that are none of the classes: held-out classes, and images of something else.

    GRAFT_DATA=... GRAFT_MODELS=... python -m benchmarks.rejection

Classes: clothing_10, all of its training images, and its test images as the known ones. Something else: 500
validation images of Tiny ImageNet and 300 glyphs of notMNIST. Energy and confidence are those of the linear
discriminant.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import table
from feature_extraction import FeatureExtractor
from finetune.dataset.opening import open_split
from finetune.trust.measures import auroc
from finetune.trust.novelty import KINDS, Kind, Space, scaling, score
from finetune.trust.rejection import HeldPart, fit_rejector
from models.runtime import Array

GLYPHS, PHOTOS = 300, 500


def main() -> None:
    data = Path(os.environ["GRAFT_DATA"])
    trunk = Path(os.environ["GRAFT_MODELS"]) / "inception_v3_2015_trunk.onnx"
    header = ["network", "score", "held-out classes", "Tiny ImageNet", "notMNIST", "chosen"]
    rows: list[list[str]] = []
    for name, model in (("graft-mini", "builtin"), ("InceptionV3 (2015)", str(trunk))):
        extract = FeatureExtractor(model).transform
        (train, y), (test, y_test) = (known(data, split, extract) for split in ("train", "test"))
        photos, glyphs = extract(tiny_imagenet(data)), extract(notmnist(data))
        space = Space.fit(train, y)
        chosen = fit_rejector(train, y, [HeldPart(train, y, test, space.discriminant(test), y_test)])
        for kind in KINDS:

            def scores(x: Array, kind: Kind = kind, space: Space = space, test: Array = test) -> Array:
                return score(kind, space.arrays(kind, scaling(space.parts(test))), x, space.discriminant(x))

            far = (auroc(scores(test), scores(x)) for x in (photos, glyphs))
            mark = "*" if kind == chosen.kind else ""
            rows.append(
                [name, kind, f"{chosen.candidates[kind]:.3f}", *(f"{value:.3f}" for value in far), mark]
            )
        for what, x in (("test images", test), ("Tiny ImageNet", photos), ("notMNIST", glyphs)):
            rejected = (chosen.score(x, space.discriminant(x)) > chosen.threshold).mean()
            print(f"{name}: {100 * rejected:.1f} % of {what} rejected")
    print(table(header, rows))


def known(data: Path, split: str, extract: Callable[[list[bytes]], Array]) -> tuple[Array, Array]:
    dataset = open_split(data / "clothing_10", split)
    return extract([example.item.read() for example in dataset.examples]), dataset.labels


def tiny_imagenet(data: Path) -> list[Image.Image]:
    with zipfile.ZipFile(data / "tiny_imagenet_200.zip") as archive:
        names = sorted(
            name for name in archive.namelist() if name.startswith("val/") and name.endswith(".webp")
        )
        random.Random(0).shuffle(names)
        return [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names[:PHOTOS]]


def notmnist(data: Path) -> list[Image.Image]:
    raw = gzip.decompress((data / "notmnist_10k" / "t10k-images-idx3-ubyte.gz").read_bytes())
    glyphs = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    chosen = np.random.default_rng(0).choice(len(glyphs), GLYPHS, replace=False)
    return [Image.fromarray(glyphs[i]).convert("RGB") for i in chosen]


if __name__ == "__main__":
    main()
