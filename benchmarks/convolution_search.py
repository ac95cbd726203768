"""What a size of batch costs when it first comes on CUDA, and what it runs at then, by how cuDNN's way is looked for.

onnxruntime looks for the best way to compute each convolution when it meets a shape for the first time: EXHAUSTIVE
tries all of them, HEURISTIC asks cuDNN, DEFAULT takes the one that it always takes. A service meets many sizes. The
last columns compare the answers with the CPU's: the largest difference of a number, and how often the first class is
the same.

    python -m benchmarks.convolution_search [--model inception_v3.random] [--sizes 1 2 3 4 5 6 7 8 16]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.timing import table
from models.model import Model
from models.runtime import RuntimeConfig

WAYS = {
    "as it is": {},
    "EXHAUSTIVE": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "HEURISTIC": {"cudnn_conv_algo_search": "HEURISTIC"},
    "DEFAULT": {"cudnn_conv_algo_search": "DEFAULT"},
    "HEURISTIC, no TF32": {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    "HEURISTIC, NHWC": {"cudnn_conv_algo_search": "HEURISTIC", "prefer_nhwc": "1"},
    "EXHAUSTIVE, NHWC": {"cudnn_conv_algo_search": "EXHAUSTIVE", "prefer_nhwc": "1"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="inception_v3.random")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6, 7, 8, 16])
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    on_cpu = Model.open(args.model, RuntimeConfig("cpu"))
    height, width = on_cpu.card.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (max(args.sizes), height, width, 3), np.uint8)
    expected = on_cpu.run(images[: min(16, len(images))])[0]
    rows = []
    for name, options in WAYS.items():
        began = time.perf_counter()
        model = Model.open(args.model, RuntimeConfig("cuda", provider_options=options))
        opening = time.perf_counter() - began
        firsts, rates = [], []
        for size in args.sizes:
            batch = images[:size]
            began = time.perf_counter()
            model.run(batch)
            firsts.append(time.perf_counter() - began)
            times = []
            for _ in range(args.runs):
                began = time.perf_counter()
                model.run(batch)
                times.append(time.perf_counter() - began)
            rates.append(size / sorted(times)[len(times) // 2])
        computed = model.run(images[: len(expected)])[0]
        same = (computed.argmax(1) == expected.argmax(1)).mean()
        rows.append([
            name, f"{opening:.2f}", " ".join(f"{1e3 * first:.0f}" for first in firsts),
            " ".join(f"{rate:.0f}" for rate in rates), f"{np.abs(computed - expected).max():.1e}", f"{same:.0%}",
        ])  # fmt: skip
    sizes = " ".join(str(size) for size in args.sizes)
    print(f"{args.model}, batches of {sizes}")
    print(table(["way", "opening, s", "first run, ms", "images/s then", "difference", "same class"], rows))


if __name__ == "__main__":
    main()
