"""One training step (forward, backward, update): the autodiff graph and PyTorch eager, in turn, in one run.

Mixed_7c with pool and fc of InceptionV3, then Mixed_7b in front of it, at batch 32 on feature maps, with batch norm
folded into the convolutions and with batch norm as a constant scale and shift; and a small CNN at batch 128. Both sides
train in float32 with momentum, from random weights: speed does not depend on them. PyTorch keeps its tensors channels
last.

    python -m benchmarks.training_step [--device cpu] [--threads 2] [--rounds 9] [--batch 32] [--only mixed_7c]
    python -m benchmarks.training_step --memory      # the peak of each, in processes of their own
    python -m benchmarks.training_step --profile     # time by operation and node, and copies between host and device
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime

from benchmarks.timing import paired, ratio, sgemm_rate, table
from finetune.autodiff import Graph, Operation, Session, Tensor, placeholder
from finetune.autodiff.importing import import_onnx
from finetune.autodiff.layers import conv2d, dense, flatten
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.optimizers import Momentum
from models.architectures.blueprint import Blueprint, Layer
from models.architectures.inception_v3 import inception_v3
from models.build import build
from models.weights.random import random_weights

RATE, MOMENTUM = 1e-4, 0.9
Step = Callable[[], object]


@dataclass(frozen=True)
class Subject:
    """What is trained. `cut`: of InceptionV3, from which on; empty for the small CNN."""

    cut: str
    fold: bool
    batch: int
    classes: int = 1000

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images or feature maps."""
        blueprint = inception_v3()
        return (
            (self.batch, *blueprint.shape(blueprint.cuts[self.cut])) if self.cut else (self.batch, 1, 28, 28)
        )

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """A batch and its labels."""
        rng = np.random.default_rng(0)
        return rng.random(self.shape, np.float32), rng.integers(0, self.classes, self.batch)


def subjects(batch: int | None) -> dict[str, Subject]:
    size = batch or 32
    return {
        "mixed_7c, folded": Subject("mixed_7b", True, size),
        "mixed_7c, frozen norm": Subject("mixed_7b", False, size),
        "mixed_7b and 7c, folded": Subject("mixed_7a", True, size),
        "mixed_7b and 7c, frozen norm": Subject("mixed_7a", False, size),
        "small CNN": Subject("", False, batch or 128, classes=10),
    }


def top(blueprint: Blueprint, cut: str) -> list[Layer]:
    """The layers behind a cut point."""
    names = [layer.name for layer in blueprint.layers]
    return blueprint.layers[names.index(blueprint.cuts[cut]) + 1 :]


def gflop(subject: Subject) -> float:
    """Multiplications and additions of a step's convolutions and products; a first layer needs no input gradient."""
    if not subject.cut:
        macs = [784 * 25 * 16 * 2 / 3, 196 * 400 * 8, 49 * 128 * 12, 588 * 200, 200 * 10]
        return 6e-9 * subject.batch * sum(macs)
    blueprint = inception_v3()
    first = {blueprint.cuts[subject.cut]}
    total = 0.0
    for layer in top(blueprint, subject.cut):
        channels = blueprint.shape(layer.inputs[0])[0]
        if layer.op == "avg_pool" and set(layer.inputs) <= first:
            first.add(layer.name)
        if layer.filters:
            macs = layer.filters * channels * np.prod(layer.kernel) * np.prod(layer.shape[1:])
            total += macs * (2 if set(layer.inputs) <= first else 3)
    return 2e-9 * subject.batch * total


class Graft:
    """The subject as a graph; `build_seconds` from the model in memory to the first step done."""

    def __init__(self, subject: Subject, device: str, threads: int) -> None:
        model = None
        if subject.cut:
            blueprint = inception_v3(subject.classes)
            weights = random_weights(blueprint)
            model = build(blueprint, weights, mean=[0.5] * 3, std=[0.5] * 3, fold=subject.fold)
        begin = time.perf_counter()
        with Graph() as graph:
            if model is None:
                x = placeholder((None, 1, 28, 28), name="images")
                logits = small_cnn(x)
            else:
                part = import_onnx(
                    model, subject.cut, outputs=["logits"], trainable=lambda name: ".bn." not in name
                )
                x, logits = part.input, part.logits
            y = placeholder((None,), np.int64, name="labels")
            self.train: Operation = Momentum(RATE, MOMENTUM).minimize(softmax_cross_entropy(logits, y))
        self.session = Session(graph, device, threads=threads)
        images, labels = subject.data()
        self.feeds: dict[Tensor, np.ndarray] = {x: images, y: labels}
        self()
        self.build_seconds = time.perf_counter() - begin

    def __call__(self) -> None:
        self.session.run(self.train, self.feeds)


def small_cnn(x: Tensor) -> Tensor:
    """(N, 1, 28, 28) -> logits (N, 10)."""
    maps = conv2d(x, 16, 5, relu)
    maps = conv2d(maps, 8, 5, relu, strides=2)
    maps = conv2d(maps, 12, 4, relu, strides=2)
    return dense(dense(flatten(maps), 200, relu), 10)


def pytorch(subject: Subject, device: str, threads: int) -> Step:
    """The same step in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from scripts.graft_mini.network import ConvNormRelu, Network, module_name

    torch.set_num_threads(threads)
    module: nn.Module
    if subject.cut:
        blueprint = inception_v3(subject.classes)
        module = Network(blueprint).eval()
        module.layers, module.entry = top(blueprint, subject.cut), blueprint.cuts[subject.cut]
        kept = {module_name(layer) for layer in module.layers}
        for name in [name for name, _ in module.named_children() if name not in kept]:
            delattr(module, name)
        for block in module.modules():
            if isinstance(block, ConvNormRelu):
                if subject.fold:
                    block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
                block.requires_grad_()  # folding makes a bias without
                block.bn.requires_grad_(False)
    else:
        uneven = nn.ZeroPad2d((1, 2, 1, 2))  # what SAME is for 5x5 and stride 2
        module = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), uneven, nn.Conv2d(16, 8, 5, 2), nn.ReLU(),
            nn.Conv2d(8, 12, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(588, 200), nn.ReLU(), nn.Linear(200, 10)
        )  # fmt: skip
    module = module.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], RATE, MOMENTUM)
    images, labels = (torch.from_numpy(array) for array in subject.data())
    images = images.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        result = module(images.to(device))
        logits = result[0] if isinstance(result, tuple) else result
        loss = functional.cross_entropy(logits, labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def peak_megabytes(step: Step) -> float:
    """The most that the process holds while it makes five steps. Linux only."""
    step()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # forget the peak of building
    for _ in range(5):
        step()
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def memory(args: argparse.Namespace, chosen: dict[str, Subject]) -> None:
    """Peak memory of each side, every one in a process of its own."""
    rows = []
    for name in chosen:
        peaks = []
        for engine in ("graft", "pytorch"):
            command = [sys.executable, "-m", "benchmarks.training_step", "--only", name, "--peak-of", engine]
            options = ["--device", args.device, "--threads", str(args.threads)]
            options += ["--batch", str(args.batch)] if args.batch else []
            done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
            peaks.append(float(done.stdout))
        rows.append([name, f"{peaks[0]:.0f}", f"{peaks[1]:.0f}", f"{peaks[0] / peaks[1]:.2f}"])
    print(table(["step", "graft, MB", "PyTorch eager, MB", "ratio"], rows))


def profile(args: argparse.Namespace, chosen: dict[str, Subject]) -> None:
    """Where the time of our step goes: by ONNX operator, then the slowest nodes."""
    for name, subject in chosen.items():
        step = Graft(subject, args.device, args.threads)
        found = step.session.profile(step.train, step.feeds, runs=max(3, args.rounds))
        kinds: dict[str, float] = defaultdict(float)
        for op in found.ops:
            kinds[op.onnx_type] += op.microseconds
        copies = [op for op in found.ops if op.onnx_type.startswith("Memcpy")]
        print(f"\n{name}: {found.microseconds / 1000:.1f} ms in nodes; {len(copies)} copy between host and device"
              f"{''.join(f', {op.op} ({op.onnx_type})' for op in copies)}")  # fmt: skip
        for kind, duration in sorted(kinds.items(), key=lambda item: -item[1])[:12]:
            print(f"{duration / 1000:9.2f} ms {duration / found.microseconds:6.1%}  {kind}")
        print("\n".join(str(found).splitlines()[:30]))


def speed(args: argparse.Namespace, chosen: dict[str, Subject]) -> None:
    """Steps per second of both, in turn."""
    print(f"{args.device}, {args.threads} threads, onnxruntime {onnxruntime.__version__}, median of {args.rounds} "
          f"rounds; sgemm {sgemm_rate():.0f} GFLOP/s")  # fmt: skip
    rows = []
    for name, subject in chosen.items():
        ours = Graft(subject, args.device, args.threads)
        candidates: dict[str, Step] = {
            "graft": ours,
            "PyTorch eager": pytorch(subject, args.device, args.threads),
        }
        times = paired(candidates, args.rounds, repeat=1 if subject.cut else 10)
        for engine in candidates:
            seconds = statistics.median(times[engine])
            rows.append(
                [
                    name,
                    engine,
                    f"{1000 * seconds:.1f}",
                    f"{gflop(subject) / seconds:.0f}",
                    f"{ratio(times, 'graft', engine):.3f}",
                    f"{ours.build_seconds:.1f}" if engine == "graft" else "",
                ]
            )
    print(table(["step", "engine", "ms", "GFLOP/s", "graft is x times as fast", "build, s"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, help="images in a step, instead of 32 and 128")
    parser.add_argument("--only", default="", help="the rows whose names begin so")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--profile", action="store_true", help="time by operator instead")
    parser.add_argument("--peak-of", choices=["graft", "pytorch"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    chosen = {name: s for name, s in subjects(args.batch).items() if name.startswith(args.only)}
    if args.peak_of:
        make = Graft if args.peak_of == "graft" else pytorch
        print(peak_megabytes(make(next(iter(chosen.values())), args.device, args.threads)))
    elif args.memory:
        memory(args, chosen)
    elif args.profile:
        profile(args, chosen)
    else:
        speed(args, chosen)


if __name__ == "__main__":
    main()
