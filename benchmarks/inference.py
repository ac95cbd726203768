"""InceptionV3, images per second: through `models`, through a bare onnxruntime session, and in PyTorch eager.

All on the same device, in turn, in one run. The weights are random: speed does not depend on them. PyTorch is
optional; without it its rows are missing. Another device than the CPU is compared with the CPU; `--quantize` takes the
int8 version of the network. On CUDA both engines may use TF32 in convolutions.

    python -m benchmarks.inference [--device cpu] [--quantize] [--threads 2] [--rounds 9] [--batch 1 8]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
from collections.abc import Callable

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.timing import paired, ratio, sgemm_rate, table
from feature_extraction.opening import open_images
from feature_extraction.quantized import quantized
from models.architectures.inception_v3 import inception_v3
from models.locating import locate
from models.model import Model
from models.names import INPUT
from models.runtime import RuntimeConfig

GFLOP = 11.4  # of one image: multiplications and additions


def pytorch(threads: int, batch: NDArray[np.uint8], fuse: bool, device: str) -> Callable[[], object]:
    """The same network in PyTorch, channels last, with or without batch norm folded into the convolutions."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from scripts.graft_mini.network import ConvNormRelu, Network

    torch.set_num_threads(threads)
    network = Network(inception_v3()).eval()
    if fuse:
        for block in network.modules():
            if isinstance(block, ConvNormRelu):
                block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), torch.nn.Identity()
    network = network.to(device, memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = True

    @torch.inference_mode()
    def run() -> object:
        x = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return torch.softmax(network(x)[0], 1).cpu().numpy()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quantize", action="store_true")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    args = parser.parse_args()
    path = locate("inception_v3.random")
    if args.quantize:
        noise = np.random.default_rng(1).integers(0, 256, (8, 299, 299, 3), np.uint8)
        path = quantized(path, open_images(noise))

    def opened(device: str) -> Model:
        return Model.open(path, RuntimeConfig(device, args.threads, spinning=True, warm_up=True))

    model = opened(args.device)
    kind = model.session.device.kind
    on_cpu = None if kind == "cpu" else opened("cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    bare = onnxruntime.InferenceSession(
        str(path), options, providers=[model.session.device.provider, "CPUExecutionProvider"]
    )
    precision = "int8" if args.quantize else "float32"
    print(
        f"{precision} on {model.session.device}, {args.threads} threads, onnxruntime {onnxruntime.__version__}, median "
        f"of {args.rounds} rounds; sgemm {sgemm_rate():.0f} GFLOP/s"
    )
    rows = []
    for size in args.batch:
        batch = np.random.default_rng(0).integers(0, 256, (size, 299, 299, 3), np.uint8)
        candidates: dict[str, Callable[[], object]] = {
            "graft": lambda batch=batch: model.probabilities(batch),
            "bare session": lambda batch=batch: bare.run(["probabilities"], {INPUT: batch}),
        }
        if on_cpu is not None:
            candidates["graft, on the CPU"] = lambda batch=batch: on_cpu.probabilities(batch)
        if kind in ("cpu", "cuda") and not args.quantize and importlib.util.find_spec("torch"):
            candidates["PyTorch eager"] = pytorch(args.threads, batch, False, kind)
            candidates["PyTorch eager, batch norm folded"] = pytorch(args.threads, batch, True, kind)
        times = paired(candidates, args.rounds, repeat=max(1, 8 // size))
        for name in candidates:
            speed = size / statistics.median(times[name])
            versus = f"{ratio(times, 'graft', name):.3f}"
            rows.append([str(size), name, f"{speed:.1f}", f"{speed * GFLOP:.0f}", versus])
    print(table(["batch", "engine", "images/s", "GFLOP/s", "graft is x times as fast"], rows))


if __name__ == "__main__":
    main()
