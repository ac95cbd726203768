"""Train graft-mini on Tiny ImageNet with the labels and the features of a pretrained InceptionV3 trunk.

Three targets for every image: its label, the class probabilities of a linear classifier on the teacher's
features, and the features themselves. The schedule runs on time, so that it fits the machine: `--minutes` is
the whole budget. A checkpoint is written every five minutes and taken up again by the same command.

    python -m scripts.graft_mini.train --data WORK --out runs/graft_mini --minutes 80 --compile
    python -m scripts.graft_mini.train --data WORK --out OUT --minutes 7 --device cuda --batch 1024 --rate 0.8
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.graft_mini import FEATURES, graft_mini
from scripts.graft_mini.augment import augment, enlarge
from scripts.graft_mini.network import Network

CLASSES = 200
STAGES = ((0.35, 64), (0.70, 96), (1.00, 128))  # (until this share of the time, pixels)
WARM_UP = 0.02  # share of the time
CLIP = 5.0  # norm of the whole gradient; only the first hundred steps reach it
SAVE_EVERY = 300.0  # seconds


@dataclass
class Split:
    """Images (N, 64, 64, 3) uint8, labels (N,), the teacher's features (2, N, 1280) float16: as they are, mirrored."""

    images: Tensor
    labels: Tensor
    features: Tensor

    @classmethod
    def read(cls, folder: Path, name: str, device: str) -> Split:
        parts = (torch.from_numpy(np.load(folder / f"{name}_{part}.npy")).to(device) for part in "xyt")
        return cls(*parts)


class Teacher:
    """Standardises the teacher's features and turns them into class probabilities with a linear classifier."""

    def __init__(self, features: Tensor, head: tuple[Tensor, Tensor] | None, labels: Tensor) -> None:
        seen = features[0].float()
        self.mean, self.std = seen.mean(0), seen.std(0).clamp(min=0.05)
        self.head = head or self._fit(features[0], labels)

    def standardise(self, features: Tensor) -> Tensor:
        return (features.float() - self.mean) / self.std

    def logits(self, standard: Tensor) -> Tensor:
        return standard @ self.head[0] + self.head[1]

    def _fit(
        self, features: Tensor, labels: Tensor, epochs: int = 6, batch: int = 500
    ) -> tuple[Tensor, Tensor]:
        """Softmax regression with a squared penalty: weight (D, classes) and bias (classes,)."""
        weight = torch.zeros(features.shape[1], CLASSES, device=features.device, requires_grad=True)
        bias = torch.zeros(CLASSES, device=features.device, requires_grad=True)
        optimizer = torch.optim.Adam([weight, bias], lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(features) // batch))
        for _ in range(epochs):
            for rows in torch.randperm(len(features)).split(batch):
                logits = self.standardise(features[rows]) @ weight + bias
                loss = functional.cross_entropy(logits, labels[rows]) + 1e-2 * weight.square().sum() / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return weight.detach(), bias.detach()


class Average:
    """Exponential moving average of a module's state, batch statistics included."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.state = {name: value.clone() for name, value in module.state_dict().items()}
        moving = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
        self.pairs = [self.state[name] for name in moving], list(moving.values())

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self.pairs, 1 - decay)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        for name, value in self.state.items():
            value.copy_(state[name])


class Trainer:
    """The state of a run, and one step of it."""

    def __init__(self, args: argparse.Namespace, train: Split) -> None:
        self.args, self.train = args, train
        self.checkpoint = args.out / "checkpoint.pth"
        exists = self.checkpoint.exists()
        state = torch.load(self.checkpoint, args.device, weights_only=True) if exists else None
        self.teacher = Teacher(train.features, state and state["teacher"], train.labels)
        self.network = new_network().to(args.device)
        # The features need not equal the teacher's, only tell them: a linear map stands between, and is dropped.
        self.imitator = nn.Linear(FEATURES, train.features.shape[-1]).to(args.device)
        self.average = Average(self.network)
        both = nn.ModuleList([self.network, self.imitator])
        self.optimizer = torch.optim.SGD(groups(both, args.decay), lr=args.rate, momentum=0.9, nesterov=True)
        self.step, self.spent, self.log = 0, 0.0, list[dict[str, Any]]()
        self.order = np.empty(0, np.int64)
        if state:
            self._restore(state)
        self.rng = np.random.default_rng((args.seed, self.step))
        self.run = torch.compile(self.network, dynamic=False) if args.compile else self.network

    def advance(self, share: float, size: int) -> tuple[Tensor, Tensor]:
        """One step at `share` of the time, on images of `size` pixels; the two losses, still on the device."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * max(0.0, share - WARM_UP) / (1 - WARM_UP))
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.rate * min(1.0, share / WARM_UP) * cosine + 1e-4
        rows = torch.from_numpy(self._rows()).to(self.args.device)
        flip = torch.from_numpy(self.rng.random(len(rows)) < 0.5).to(self.args.device)
        images = augment(self.train.images[rows], flip, size, self.rng)
        standard = self.teacher.standardise(self.train.features[flip.long(), rows])
        soft = functional.softmax(self.teacher.logits(standard), 1)
        target = 0.5 * soft + 0.5 * functional.one_hot(self.train.labels[rows], CLASSES)
        with torch.autocast(self.args.device, dtype=torch.bfloat16):
            pooled, logits = self.run(images, ("pool", "logits"))
        classify = functional.cross_entropy(logits.float(), target)
        imitate = (self.imitator(pooled.float()) - standard).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        (classify + self.args.imitate * imitate).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        self.average.update(self.step)
        self.step += 1
        return classify.detach(), imitate.detach()

    def averaged(self) -> Network:
        network = new_network().to(self.args.device)
        network.load_state_dict(self.average.state)
        return network

    def save(self) -> None:
        state = {"network": self.network.state_dict(), "imitator": self.imitator.state_dict()}
        state |= {"average": self.average.state, "optimizer": self.optimizer.state_dict()}
        state |= {"teacher": self.teacher.head, "step": self.step, "spent": self.spent, "log": self.log}
        write(self.checkpoint, state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.imitator.load_state_dict(state["imitator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load(state["average"])
        self.step, self.spent, self.log = state["step"], state["spent"], state["log"]

    def _rows(self) -> NDArray[np.int64]:
        """The next batch of a shuffled pass over the training images."""
        if len(self.order) < self.args.batch:
            self.order = self.rng.permutation(len(self.train.images))
        rows, self.order = self.order[: self.args.batch], self.order[self.args.batch :]
        return np.sort(rows)


def new_network() -> Network:
    return Network(graft_mini()).to(memory_format=torch.channels_last)


def groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on weights only, not on batch norm and biases."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def evaluate(network: nn.Module, split: Split, size: int, every: int = 1) -> tuple[float, float]:
    """Top-1 and top-5 accuracy on full images, one in `every`."""
    images, labels = split.images[::every], split.labels[::every]
    network.eval()
    hits = torch.zeros(2, device=images.device)
    for i in range(0, len(images), 250):
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            (logits,) = network(enlarge(images[i : i + 250], size))
        right = logits.float().topk(5).indices == labels[i : i + 250, None]
        hits += torch.stack([right[:, 0].sum(), right.any(1).sum()])
    return float(hits[0]) / len(images), float(hits[1]) / len(images)


def write(path: Path, state: object) -> None:
    """Save atomically."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def loop(trainer: Trainer, validation: Split) -> int:
    """Train until the time is up; the last image size."""
    args, size = trainer.args, STAGES[0][1]
    budget, begin = args.minutes * 60, time.monotonic() - trainer.spent
    saved = logged = time.monotonic()
    while (spent := time.monotonic() - begin) < budget:
        share = spent / budget
        size = next((pixels for until, pixels in STAGES if share < until), STAGES[-1][1])
        classify, imitate = trainer.advance(share, size)
        if trainer.step % 100 == 0:
            # Only here does the processor wait for the device.
            losses = classify.item(), imitate.item()
            if not math.isfinite(sum(losses)):
                raise SystemExit(f"the loss is not finite at step {trainer.step}; lower --rate")
            rate = 100 * args.batch / (time.monotonic() - logged)
            logged = time.monotonic()
            row = {
                "step": trainer.step,
                "epochs": round(trainer.step * args.batch / len(trainer.train.images), 2),
            }
            row |= {"share": round(share, 4), "size": size, "images_per_s": round(rate)}
            row |= {"classify": round(losses[0], 4), "imitate": round(losses[1], 4)}
            trainer.log.append(row)
            print(json.dumps(row), flush=True)
        if time.monotonic() - saved > SAVE_EVERY:
            trainer.spent = spent
            trainer.save()
            top1, top5 = evaluate(trainer.averaged(), validation, size, every=5)
            print(f"  2,000 validation images at {size} px: top-1 {top1:.4f}, top-5 {top5:.4f}", flush=True)
            saved = logged = time.monotonic()
    return size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder written by prepare and teacher")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.1, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=2e-4, help="weight decay")
    parser.add_argument("--imitate", type=float, default=2.0, help="weight of the feature loss")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compile", action="store_true", help="torch.compile, about 1.25 times faster")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = True
    train, validation = (Split.read(args.data, name, args.device) for name in ("train", "val"))
    trainer = Trainer(args, train)
    guesses = trainer.teacher.logits(trainer.teacher.standardise(validation.features[0])).argmax(1)
    right = (guesses == validation.labels).float().mean()
    print(f"teacher's linear classifier: top-1 {right:.4f} on validation", flush=True)
    size = loop(trainer, validation)
    top1, top5 = evaluate(trainer.averaged(), validation, size)
    epochs = trainer.step * args.batch / len(train.images)
    print(f"all validation images at {size} px: top-1 {top1:.4f}, top-5 {top5:.4f} after {epochs:.1f} epochs")
    write(args.out / "graft_mini.pth", {name: value.cpu() for name, value in trainer.average.state.items()})
    (args.out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in trainer.log))


if __name__ == "__main__":
    main()
