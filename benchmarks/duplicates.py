"""Which altered copies are found, and what else is taken for a copy.

Plants altered copies of ten clothing photos, each alteration of each photo in a run of its own kind, and prints how
many are found with hashes alone and with the embeddings of a model. Groups without a planted image are printed by
name: they are copies that were there before, or false.

    python benchmarks/duplicates.py GRAFT_DATA/clothing_10
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from feature_extraction.items import ImageItem
from finetune.dataset.duplicates import duplicate_groups
from finetune.dataset.embedding import embed
from finetune.dataset.examples import Example
from finetune.dataset.hashing import Hashes
from finetune.dataset.matching import candidates_by_hash
from finetune.dataset.opening import open_dataset
from finetune.dataset.scanning import Facts, scan

PHOTOS = 10


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def resized(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)))


def cropped(image: Image.Image, share: float, left: float = 0.5, top: float = 0.5) -> Image.Image:
    """Without `share` of each side; `left` and `top` say how much of that is taken there."""
    x, y = round(image.width * share), round(image.height * share)
    return image.crop(
        (
            round(x * left),
            round(y * top),
            image.width - x + round(x * left),
            image.height - y + round(y * top),
        )
    )


ALTERATIONS: dict[str, Callable[[Image.Image], bytes]] = {
    "re-encoded, quality 70": lambda i: jpeg(i, 70),
    "re-encoded, quality 40": lambda i: jpeg(i, 40),
    "resized to 50 %": lambda i: jpeg(resized(i, 0.5)),
    "resized to 150 %": lambda i: jpeg(resized(i, 1.5)),
    "cropped by 5 %, centre kept": lambda i: jpeg(cropped(i, 0.05)),
    "cropped by 5 %, at one corner": lambda i: jpeg(cropped(i, 0.05, 0, 1)),
    "cropped by 10 %, centre kept": lambda i: jpeg(cropped(i, 0.1)),
    "cropped by 10 %, at one corner": lambda i: jpeg(cropped(i, 0.1, 0, 1)),
    "flipped": lambda i: jpeg(ImageOps.mirror(i)),
    "flipped, cropped by 5 %": lambda i: jpeg(cropped(ImageOps.mirror(i), 0.05)),
    "cropped by 5 %, 50 %, quality 40": lambda i: jpeg(resized(cropped(i, 0.05), 0.5), 40),
    "flipped, 150 %, quality 70": lambda i: jpeg(resized(ImageOps.mirror(i), 1.5), 70),
    "brighter by a tenth": lambda i: jpeg(ImageEnhance.Brightness(i).enhance(1.1)),
    "turned by 90 degrees": lambda i: jpeg(i.rotate(90, expand=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--hashes", type=int, default=100_000, help="random hashes to time the search with")
    given = parser.parse_args()

    dataset = open_dataset(given.source)
    chosen = random.Random(0).sample(dataset.examples, PHOTOS)
    planted, kinds = [], []
    for kind, alter in ALTERATIONS.items():
        for example in chosen:
            content = example.item.read()
            assert isinstance(content, bytes)
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
            data = alter(image)
            item = ImageItem(f"{kind}: {example.key}", lambda data=data: data)  # type: ignore[misc]
            planted.append(Example(item, example.label))
            kinds.append(kind)
    own = len(dataset.examples)
    everything = [*dataset.examples, *planted]
    began = time.perf_counter()
    facts = scan(everything)
    scanned = time.perf_counter() - began
    embeddings = embed(everything, given.model)
    places = {id(example): i for i, example in enumerate(dataset.examples)}

    print(f"{'alteration':34}{'hashes alone':>14}{'and embeddings':>16}   of {PHOTOS}")
    caught: dict[str, list[int]] = {}
    for number, kind in enumerate(ALTERATIONS):
        counts = []
        for vectors in (None, embeddings):
            rows = [*range(own), *(own + number * PHOTOS + i for i in range(PHOTOS))]
            groups = duplicate_groups([facts[i] for i in rows], None if vectors is None else vectors[rows])
            together = [set(group.indices) for group in groups]
            counts.append(
                sum(
                    any({places[id(example)], own + i} <= group for group in together)
                    for i, example in enumerate(chosen)
                )
            )
        caught[kind] = counts
        print(f"{kind:34}{counts[0]:>14}{counts[1]:>16}")
    for name, vectors in (("hashes alone", None), ("with embeddings", embeddings[:own])):
        began = time.perf_counter()
        groups = duplicate_groups(facts[:own], vectors)
        took = time.perf_counter() - began
        print(f"\nwithout planted copies, {name}: {len(groups)} groups in {took:.1f} s")
        for group in groups:
            print(f"  {group.kind}: " + " = ".join(dataset.examples[i].key for i in group.indices))
    print(f"\nscan: {len(everything) / scanned:,.0f} images/s")
    if given.hashes:
        numbers = np.random.default_rng(0).integers(0, 2**63, (given.hashes, 4)).tolist()
        some = [Facts(hashes=Hashes(*row)) for row in numbers]
        began = time.perf_counter()
        found = sum(map(len, candidates_by_hash(some)))
        print(
            f"{given.hashes:,} random hashes: {found:,} pairs proposed in {time.perf_counter() - began:.0f} s"
        )


if __name__ == "__main__":
    main()
