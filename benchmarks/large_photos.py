"""Photos of 12 megapixels: with the JPEG decoder's own reduction (draft), and decoded in full.

    python -m benchmarks.large_photos [--count 24] [--model builtin]

The proof that draft decoding does not cost accuracy is `benchmarks.linear_probe --enlarge`.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from benchmarks.timing import table
from feature_extraction.items import ImageItem
from feature_extraction.pipeline import Allocation, run_pipeline
from feature_extraction.worker import Worker
from models.agreement import cosine
from models.cores import cores
from models.features import FeatureOptions, open_features
from models.preprocessing import Preprocessing
from models.runtime import RuntimeConfig

SIZE = (4000, 3000)


def photo(seed: int) -> bytes:
    """A JPEG of 12 megapixels with structure of all sizes: layers of noise, the finer the fainter."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", SIZE, "grey")
    for octave in range(2, 9):
        noise = Image.fromarray(rng.integers(0, 256, (3 << octave, 4 << octave, 3), np.uint8))
        image = Image.blend(image, noise.resize(SIZE, Image.Resampling.BILINEAR), 1 / octave)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92)
    return stream.getvalue()


class ExactWorker(Worker):
    """Decodes in full."""

    def decode(self, item: ImageItem, content: object) -> np.ndarray:
        preprocessing: Preprocessing = self.features.model.card.preprocessing
        return preprocessing.load(content, exact=True, name=item.id)  # type: ignore[arg-type]


def rate(worker: Worker, items: Sequence[ImageItem]) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    allocation = Allocation(cores(), 1, cores())
    vectors = np.concatenate(
        [b.arrays["pool"] for b in run_pipeline(worker, items, batch_size=8, allocation=allocation)]
    )
    return len(items) / (time.perf_counter() - began), vectors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--model", default="builtin")
    args = parser.parse_args()
    files = [photo(seed) for seed in range(min(args.count, 4))]
    items = [ImageItem(str(i), lambda i=i: files[i % len(files)]) for i in range(args.count)]
    features = open_features(args.model, FeatureOptions(), RuntimeConfig("cpu", cores()))
    draft, full = Worker(features), ExactWorker(features)
    rate(draft, items[:8])
    fast, with_draft = rate(draft, items)
    slow, without = rate(full, items)
    again, _ = rate(draft, items)
    near = cosine(with_draft, without)
    print(
        f"{SIZE[0]} x {SIZE[1]} pixels, {np.mean([len(file) for file in files]) / 1e6:.1f} MB each, {args.model}"
    )
    rows = [
        ["draft", f"{fast:.2f}, {again:.2f}", f"{(fast + again) / 2 / slow:.2f}"],
        ["in full", f"{slow:.2f}", "1"],
    ]
    print(table(["decoded", "images/s end to end", "times as fast"], rows))
    print(f"cosine of the features with and without: mean {near.mean():.5f}, least {near.min():.5f}")


if __name__ == "__main__":
    main()
