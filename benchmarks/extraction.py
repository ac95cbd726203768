"""Feature extraction end to end: against its own parts measured alone, and against other ways to do it.

Run with a Python that also has PyTorch (the CPU build), else that part is left out. GRAFT_DATA is the folder with
clothing_10, whose JPEGs of 300 x 400 pixels and less are taken in turn.

    GRAFT_DATA=... python -m benchmarks.extraction [--device cpu] [--count 2000] [--models inception_v3.random ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from benchmarks.timing import table
from feature_extraction.extraction import ExtractionReport, extract_to
from feature_extraction.items import ImageItem, read_item
from feature_extraction.pipeline import Allocation, run_pipeline
from feature_extraction.sources import images
from feature_extraction.tuning import cores
from feature_extraction.worker import Worker
from models.architectures.inception_v3 import inception_v3
from models.features import FeatureModel, FeatureOptions, open_features
from models.files import sha256, write_atomically
from models.importing import as_graft_model
from models.locating import locate
from models.names import INPUT
from models.quantization import quantize
from models.runtime import RuntimeConfig
from models.store import cache_folder

INT8 = ".int8"
CALIBRATION = 32
Candidate = Callable[[Sequence[ImageItem]], object]


def photos(count: int) -> list[ImageItem]:
    """`count` real photos, mixed; the same ones again where there are not so many."""
    every = list(images(os.path.join(os.environ["GRAFT_DATA"], "clothing_10")))
    random.Random(0).shuffle(every)
    return list(islice(cycle(every), count))


def opened(
    name: str, items: Sequence[ImageItem], device: str = "cpu", *, spinning: bool = False
) -> FeatureModel:
    """A model at its pool; `NAME.int8` is quantized first and kept in the cache folder."""
    path: str | Path = name
    if name.endswith(INT8):
        original = locate(name.removesuffix(INT8))
        path = cache_folder() / "benchmarks" / f"{name}.{sha256(original)[:12]}.onnx"
        if not path.exists():
            proto, _ = as_graft_model(original)
            worker = Worker(opened(name.removesuffix(INT8), items))
            pixels = (worker.decode(item, read_item(item)) for item in items[:CALIBRATION])
            write_atomically(path, quantize(proto, pixels).SerializeToString())
    return open_features(path, FeatureOptions(), RuntimeConfig(device, cores(), spinning=spinning))


def decode_alone(worker: Worker, items: Sequence[ImageItem]) -> float:
    """Seconds an image to read and decode with all cores and nothing else."""
    with ThreadPoolExecutor(cores()) as pool:
        began = time.perf_counter()
        for _ in pool.map(lambda item: worker.decode(item, read_item(item)), items):
            pass
        return (time.perf_counter() - began) / len(items)


def infer_alone(features: FeatureModel, items: Sequence[ImageItem], rounds: int) -> float:
    """Seconds an image in the network with all threads and nothing else; the median of single batches."""
    worker, size = Worker(features), features.model.batch_size
    batch = np.stack([worker.decode(item, read_item(item)) for item in items[:size]])  # (N, H, W, 3)
    features.model.run(batch)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        features.model.run(batch)
        times.append((time.perf_counter() - began) / size)
    return statistics.median(times)


def against_parts(name: str, items: Sequence[ImageItem], device: str) -> tuple[list[str], Allocation]:
    """One row: the parts alone before and after, the whole job between them, with files and finding out the split."""
    features, spinning = (opened(name, items, device, spinning=spin) for spin in (False, True))
    parts = []
    report = ExtractionReport()
    for turn in range(2):
        decode = decode_alone(Worker(features), items[:200])
        parts.append((decode, infer_alone(spinning, items, 12)))
        if turn == 0:
            with tempfile.TemporaryDirectory() as folder:
                extract_to(Path(folder), iter(items), features, "npy", report=report)
    decode, infer = (statistics.mean(values) for values in zip(*parts, strict=True))
    whole = report.images / report.seconds
    allocation = report.tuning.allocation or Allocation(cores(), 1, cores())
    row = [name, f"{1 / decode:.0f}", f"{1 / infer:.1f}", f"{1 / (decode + infer):.1f}", f"{whole:.1f}"]
    row += [f"{whole * (decode + infer):.3f}", f"{allocation.runners} x {allocation.threads}"]
    return row, allocation


def graft(name: str, items: Sequence[ImageItem], allocation: Allocation) -> Candidate:
    features = opened(name, items).reopen(RuntimeConfig("cpu", allocation.threads))
    return lambda part: [0 for _ in run_pipeline(Worker(features), part, batch_size=8, allocation=allocation)]


def bare_loop(name: str, items: Sequence[ImageItem], pool: ThreadPoolExecutor | None) -> Candidate:
    """Decode a batch (in a thread pool, as fastembed does, or one after the other), run it, and so on."""
    worker = Worker(opened(name, items, spinning=True))
    session: onnxruntime.InferenceSession = worker.features.model.session.raw

    def loop(part: Sequence[ImageItem]) -> None:
        for i in range(0, len(part), 8):
            pixels = (pool.map if pool else map)(
                lambda item: worker.decode(item, read_item(item)), part[i : i + 8]
            )
            session.run(["pool"], {INPUT: np.stack(list(pixels))})

    return loop


def pytorch(items: Sequence[ImageItem], name: str) -> Candidate:
    """PyTorch's own way: a DataLoader with a worker a core, channels last, eager, inference mode."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    from scripts.graft_mini.network import Network

    torch.set_num_threads(cores())
    network = Network(inception_v3()).eval().to(memory_format=torch.channels_last)
    worker = Worker(opened(name, items))

    class Photos(Dataset):  # type: ignore[type-arg]
        def __init__(self, part: Sequence[ImageItem]) -> None:
            self.part = part

        def __len__(self) -> int:
            return len(self.part)

        def __getitem__(self, i: int) -> np.ndarray:
            return worker.decode(self.part[i], read_item(self.part[i])).copy()  # PyTorch wants it writable

    @torch.inference_mode()
    def loop(part: Sequence[ImageItem]) -> None:
        for batch in DataLoader(Photos(part), batch_size=8, num_workers=cores()):
            x = batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)  # (N, C, H, W), channels last in memory
            network(x, ("pool",))[0].numpy()

    return loop


def paired(
    candidates: dict[str, Candidate], items: Sequence[ImageItem], rounds: int
) -> dict[str, list[float]]:
    """Images a second of each, a figure a round, the order turning round every time."""
    for loop in candidates.values():
        loop(items[:8])
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds):
        for name in list(candidates)[:: 1 if turn % 2 == 0 else -1]:
            began = time.perf_counter()
            candidates[name](items)
            rates[name].append(len(items) / (time.perf_counter() - began))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=2000, help="images of the whole job")
    parser.add_argument(
        "--paired", type=int, default=240, help="images of each candidate in a round; 0: none"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--models", nargs="+", default=["inception_v3.random", f"inception_v3.random{INT8}", "builtin"]
    )
    args = parser.parse_args()
    print(
        f"{cores()} cores, onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}, {args.count} images"
    )
    items = photos(args.count)
    rows, allocations = [], {}
    for name in args.models:
        row, allocations[name] = against_parts(name, items, args.device)
        rows.append(row)
    header = [
        "model",
        "decode alone/s",
        "network alone/s",
        "1 / sum",
        "end to end/s",
        "of 1 / sum",
        "runs x threads",
    ]
    print(table(header, rows), "\n")
    if not args.paired or args.device != "cpu":  # the other ways are written for the CPU
        return
    name = args.models[0]
    with ThreadPoolExecutor(cores()) as pool:
        candidates = {
            "graft": graft(name, items, allocations[name]),
            "bare loop": bare_loop(name, items, None),
            "fastembed's loop": bare_loop(name, items, pool),
        }
        for other in args.models[1:]:
            if other.endswith(INT8):
                candidates[f"graft, {other}"] = graft(other, items, allocations[other])
        if name.startswith("inception_v3") and importlib.util.find_spec("torch"):
            candidates["PyTorch DataLoader"] = pytorch(items, name)
        rates = paired(candidates, items[: args.paired], args.rounds)
    rows = []
    for other, found in rates.items():
        faster = statistics.median(a / b for a, b in zip(rates["graft"], found, strict=True))
        rows.append([other, f"{statistics.median(found):.1f}", f"{faster:.2f}"])
    print(table([f"{name}, {args.paired} photos", "images/s", "graft is x times as fast"], rows))


if __name__ == "__main__":
    main()
