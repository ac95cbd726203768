"""Train graft-mini on Tiny ImageNet with the labels and the features of a pretrained InceptionV3 trunk.

Three targets for every image: its label, the class probabilities of a linear classifier on the teacher's
features, and the features themselves. The schedule runs on time, so that it fits the machine: `--minutes` is
the whole budget. A checkpoint is written every few minutes and taken up again with the same command.

    python -m scripts.graft_mini.train --data WORK --out runs/graft_mini --minutes 85
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.architectures.graft_mini import FEATURES, graft_mini
from scripts.graft_mini.network import Network

MEAN = torch.tensor([0.480, 0.448, 0.398]).view(1, 3, 1, 1)  # of the training images
STD = torch.tensor([0.277, 0.269, 0.282]).view(1, 3, 1, 1)
STAGES = ((0.35, 64), (0.70, 96), (1.00, 128))  # (until this share of the time, pixels)
PAD, SIDE = 8, 64


def augment(images: np.ndarray, size: int, rng: np.random.Generator) -> Tensor:
    """Random crop, flip, enlargement and colour of (N, 64, 64, 3) uint8 to (N, 3, size, size), normalised.

    The crop's side is drawn once a batch (48 to 72 px of the padded 80), its place once an image. The kind of
    interpolation varies too: photos that are reduced to the input size are sharper than enlarged ones.
    """
    n, side = len(images), int(rng.integers(48, 73))
    padded = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), mode="reflect")
    top, left = rng.integers(0, SIDE + 2 * PAD - side + 1, (2, n))
    rows = top[:, None] + np.arange(side)
    columns = left[:, None] + np.arange(side)
    flip = rng.random(n) < 0.5
    columns[flip] = columns[flip, ::-1]
    crops = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]  # (N, side, side, 3)
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous().float().div_(255)
    mode = rng.choice(["bicubic", "bilinear", "nearest-exact"], p=[0.5, 0.3, 0.2])
    corners = None if mode == "nearest-exact" else False
    x = F.interpolate(x, size=(size, size), mode=str(mode), align_corners=corners).clamp_(0, 1)
    gain = torch.from_numpy(rng.uniform(0.75, 1.25, (n, 1, 1, 1)).astype(np.float32))
    contrast = torch.from_numpy(rng.uniform(0.75, 1.25, (n, 1, 1, 1)).astype(np.float32))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * contrast + middle * gain
    return ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def enlarge(images: np.ndarray, size: int) -> Tensor:
    """(N, 64, 64, 3) uint8 to (N, 3, size, size), bicubic, normalised."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255)
    x = F.interpolate(x, size=(size, size), mode="bicubic", align_corners=False).clamp_(0, 1)
    return ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def fit_teacher(features: Tensor, labels: Tensor, classes: int, epochs: int = 6) -> tuple[Tensor, Tensor]:
    """Softmax regression on standardised features: weight (D, classes) and bias (classes,)."""
    weight = torch.zeros(features.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=2e-3)
    steps = epochs * (len(features) // 500)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        if step % (len(features) // 500) == 0:
            order = torch.randperm(len(features))
        rows = order[(step * 500) % len(features) :][:500]
        logits = features[rows].float() @ weight + bias
        loss = F.cross_entropy(logits, labels[rows]) + 1e-2 * weight.square().sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()


class Average:
    """Exponential moving average of a module's state, batch statistics included."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)


@torch.no_grad()
def evaluate(network: nn.Module, images: np.ndarray, labels: Tensor, size: int) -> tuple[float, float]:
    """Top-1 and top-5 accuracy in fp32 on full images."""
    network.eval()
    hits = torch.zeros(2)
    for i in range(0, len(images), 250):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (logits,) = network(enlarge(images[i : i + 250], size))
        right = logits.float().topk(5).indices == labels[i : i + 250, None]
        hits += torch.tensor([right[:, 0].sum(), right.any(1).sum()])
    network.train()
    return float(hits[0]) / len(images), float(hits[1]) / len(images)


def groups(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Weight decay on weights only, not on batch norm and biases."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def save(path: Path, state: object) -> None:
    """Write atomically."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by prepare and teacher")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.1, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=2e-4, help="weight decay")
    parser.add_argument("--features", type=float, default=2.0, help="weight of the feature loss")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile, about 1.25 times faster")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    load = lambda name: np.load(args.data / f"{name}.npy")  # noqa: E731
    images, labels = load("train_x"), torch.from_numpy(load("train_y"))
    val_images, val_labels = load("val_x"), torch.from_numpy(load("val_y"))
    teacher, val_teacher = torch.from_numpy(load("train_t")), torch.from_numpy(load("val_t"))
    mean, std = teacher.float().mean(0), teacher.float().std(0).clamp(min=0.05)

    checkpoint = args.out / "checkpoint.pth"
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    if state:
        weight, bias = state["teacher"]
    else:
        weight, bias = fit_teacher((teacher - mean) / std, labels, 200)
    right = (((val_teacher - mean) / std) @ weight + bias).argmax(1) == val_labels
    print(f"teacher's linear classifier: {right.float().mean():.4f} top-1 on validation", flush=True)

    network = Network(graft_mini()).to(memory_format=torch.channels_last)
    # The features need not equal the teacher's, only tell them: a linear map stands between, and is dropped.
    imitator = nn.Linear(FEATURES, teacher.shape[1])
    average = Average(network, 0.999)
    optimizer = torch.optim.SGD(groups(nn.ModuleList([network, imitator]), args.decay), lr=0.1, momentum=0.9, nesterov=True)
    step, spent, log = 0, 0.0, []
    if state:
        network.load_state_dict(state["network"])
        imitator.load_state_dict(state["imitator"])
        average.state = state["average"]
        optimizer.load_state_dict(state["optimizer"])
        step, spent, log = state["step"], state["spent"], state["log"]
        rng = np.random.default_rng((args.seed, step))

    run = torch.compile(network, dynamic=False) if args.compile else network
    begin, budget = time.monotonic() - spent, args.minutes * 60
    order, last_save, last_log, seen, size = np.empty(0, np.int64), time.monotonic(), time.monotonic(), 0, 0
    while (spent := time.monotonic() - begin) < budget:
        share = spent / budget
        size = next(pixels for until, pixels in STAGES if share < until or until == 1)
        warm = min(1.0, share / 0.02)
        rate = args.rate * warm * (0.5 + 0.5 * math.cos(math.pi * max(0.0, share - 0.02) / 0.98)) + 1e-4
        for group in optimizer.param_groups:
            group["lr"] = rate
        if len(order) < args.batch:
            order = rng.permutation(len(images))
        rows, order = np.sort(order[: args.batch]), order[args.batch :]
        x, y, t = augment(images[rows], size, rng), labels[rows], teacher[rows].float()
        standard = (t - mean) / std
        soft = F.softmax(standard @ weight + bias, 1)
        target = 0.5 * soft + 0.5 * F.one_hot(y, 200)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pooled, logits = run(x, ("pool", "logits"))
        classify = F.cross_entropy(logits.float(), target)
        imitate = (imitator(pooled.float()) - standard).square().mean()
        loss = classify + args.features * imitate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update(network, step)
        step, seen = step + 1, seen + args.batch
        if not math.isfinite(loss.item()):
            raise SystemExit(f"loss is {loss.item()} at step {step}; lower --rate")
        if step % 100 == 0:
            now = time.monotonic()
            row = {"step": step, "share": round(share, 4), "size": size, "rate": round(rate, 5)}
            row |= {"classify": round(classify.item(), 4), "imitate": round(imitate.item(), 4)}
            row |= {"epochs": round(step * args.batch / len(images), 2), "images_per_s": round(seen / (now - last_log))}
            log.append(row)
            print(json.dumps(row), flush=True)
            last_log, seen = now, 0
        if time.monotonic() - last_save > 300:
            pack = {"network": network.state_dict(), "imitator": imitator.state_dict(), "average": average.state, "step": step, "log": log}
            pack |= {"optimizer": optimizer.state_dict(), "teacher": (weight, bias), "spent": spent}
            save(checkpoint, pack)
            probe = Network(graft_mini()).to(memory_format=torch.channels_last)
            probe.load_state_dict(average.state)
            top1, top5 = evaluate(probe, val_images[::5], val_labels[::5], size)
            print(f"  2,000 validation images at {size} px: top-1 {top1:.4f}, top-5 {top5:.4f}", flush=True)
            last_save, last_log, seen = time.monotonic(), time.monotonic(), 0

    network.load_state_dict(average.state)
    top1, top5 = evaluate(network, val_images, val_labels, size)
    print(f"all validation images: top-1 {top1:.4f}, top-5 {top5:.4f}, {step * args.batch / 1e5:.1f} epochs")
    save(args.out / "graft_mini.pth", network.state_dict())
    (args.out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))


if __name__ == "__main__":
    main()
