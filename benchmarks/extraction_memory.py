"""Peak memory of an extraction with files, by the number of images: each in a process of its own.

python -m benchmarks.extraction_memory [--counts 1000 10000 100000]
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import table
from feature_extraction.extraction import extract_to
from feature_extraction.items import ImageItem
from models.features import FeatureOptions, open_features
from models.runtime import RuntimeConfig

BYTES_OF_PEAK = 1024  # Linux counts ru_maxrss in kilobytes


def generated(count: int) -> Iterator[ImageItem]:
    """Small JPEGs, each with another content, made when they are asked for."""
    for i in range(count):
        yield ImageItem(f"generated/{i:08}.jpg", lambda i=i: _jpeg(i))


def _jpeg(i: int) -> bytes:
    pixels = np.full((32, 32, 3), (i % 256, i // 256 % 256, i // 65536), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def measure(count: int, model: str, cut: str, answer: multiprocessing.Queue[tuple[float, float]]) -> None:
    import resource

    features = open_features(model, FeatureOptions((cut,)), RuntimeConfig("cpu"))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        extract_to(Path(folder), generated(count), features, "npy")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_OF_PEAK
    answer.put((peak, time.perf_counter() - began))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    parser.add_argument("--model", default="builtin")
    parser.add_argument(
        "--cut", default="stem", help="an early one makes it quick; memory is what is measured"
    )
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows, first = [], 0.0
    for count in args.counts:
        answer: multiprocessing.Queue[tuple[float, float]] = context.Queue()
        process = context.Process(target=measure, args=(count, args.model, args.cut, answer))
        process.start()
        peak, seconds = answer.get()
        process.join()
        first = first or peak
        rows.append([f"{count:,}", f"{peak / 1e6:.1f}", f"{peak / first:.3f}", f"{count / seconds:.0f}"])
    print(f"{os.cpu_count()} cores, {args.model} at {args.cut}")
    print(table(["images", "peak MB", "of the first", "images/s"], rows))


if __name__ == "__main__":
    main()
