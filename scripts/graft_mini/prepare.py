"""Decode Tiny ImageNet once: `train_x.npy`, `train_y.npy`, `val_x.npy`, `val_y.npy` in a working folder.

python -m scripts.graft_mini.prepare --zip tiny_imagenet_200.zip --data WORK
"""

from __future__ import annotations

import argparse
import io
import zipfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def class_ids(archive: zipfile.ZipFile) -> list[str]:
    """WordNet ids in the order of `classes.tsv`, which is the order of the labels."""
    lines = archive.read("classes.tsv").decode().splitlines()
    return [line.partition("\t")[0] for line in lines if line]


def decode(path: Path, names: list[str]) -> NDArray[np.uint8]:
    """The named members of the archive as (N, 64, 64, 3)."""
    with zipfile.ZipFile(path) as archive:
        images = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    return np.stack([np.asarray(image) for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(args.zip) as archive:
        index = {key: i for i, key in enumerate(class_ids(archive))}
        members = sorted(name for name in archive.namelist() if name.endswith(".webp"))
    for split in ("train", "val"):
        names = [name for name in members if name.startswith(f"{split}/")]
        parts = [names[i : i + 1000] for i in range(0, len(names), 1000)]
        with ProcessPoolExecutor() as pool:
            images = np.concatenate(list(pool.map(decode, repeat(args.zip), parts)))
        np.save(args.data / f"{split}_x.npy", images)
        np.save(args.data / f"{split}_y.npy", np.array([index[name.split("/")[1]] for name in names]))
        print(split, images.shape, "mean", images.mean((0, 1, 2)) / 255, "std", images.std((0, 1, 2)) / 255)


if __name__ == "__main__":
    main()
