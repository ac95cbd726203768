"""The same fine-tuning in PyTorch and scikit-learn: what `benchmarks.finetuning` compares with.

As a command it is the script that one would write: a DataLoader with two workers that decode, the frozen trunk in
eager mode, channels last, once for each view of each image, then a linear head on its output.

    python -m benchmarks.finetuning_torch FOLDER MODEL CUT [--views 1] [--epochs 50] [--limit 0]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.onnx_torch import OnnxNetwork
from finetune.backbone.views import views
from finetune.training.data import TrainingData, standardisation
from finetune.training.settings import Settings
from models.fingerprint import image_digest
from models.importing import as_graft_model
from models.model import Model
from models.preprocessing import Preprocessing
from models.runtime import RuntimeConfig

Array = NDArray[np.float32]


class Photos(Dataset[Tensor]):
    """Views of photos as the network takes them: uint8 (V, H, W, 3)."""

    def __init__(self, files: Sequence[Path], preprocessing: Preprocessing, count: int) -> None:
        self.files, self.preprocessing, self.count = files, preprocessing, count

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        data = self.files[index].read_bytes()
        image, digest = self.preprocessing.upright(data), image_digest(data)
        made = [self.preprocessing.load(view.apply(image, digest)) for view in views(self.count, 0)]
        return torch.from_numpy(np.stack(made))


@torch.inference_mode()
def features(files: Sequence[Path], model: Path, cut: str, count: int) -> Array:
    """Means over positions of what the trunk gives, (N, V, C)."""
    proto, _ = as_graft_model(model)
    trunk = OnnxNetwork(proto, "image", cut).eval().to(memory_format=torch.channels_last)
    preprocessing = Model.open(model, RuntimeConfig("cpu")).card.preprocessing
    rows = []
    for batch in DataLoader(
        Photos(files, preprocessing, count), batch_size=max(1, 16 // count), num_workers=2
    ):
        maps = trunk(batch.flatten(0, 1))
        vectors = maps.mean((2, 3)) if maps.ndim == 4 else maps
        rows.append(vectors.reshape(len(batch), count, -1).numpy())
    return np.concatenate(rows)


@dataclass
class Fit:
    """A phase of training: who is trained at which part of the rate, and for how long at most."""

    module: nn.Module
    groups: list[tuple[Sequence[nn.Parameter], float]]
    rate: float
    epochs: int

    def run(self, data: TrainingData, settings: Settings, start: float = math.inf) -> int:
        """Train with AdamW, warm-up and cosine; keep what was best on validation. Returns that epoch, 0 for none."""
        decayed = [
            {
                "params": [p for p in group if (p.ndim > 1) == heavy],
                "lr": self.rate * factor,
                "weight_decay": settings.decay if heavy else 0.0,
            }
            for group, factor in self.groups
            for heavy in (True, False)
        ]
        optimizer = torch.optim.AdamW([group for group in decayed if group["params"]])
        steps = self.epochs * len(data.batches(settings.seed, 0, settings.batch_size))
        warmup = round(settings.warmup * steps)

        def rate(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        rows, y = torch.from_numpy(data.rows), torch.from_numpy(data.y)
        best, kept, state = start, 0, _copy(self.module)
        for epoch in range(self.epochs):
            which = data.view_rows(settings.seed, epoch)
            for batch in data.batches(settings.seed, epoch, settings.batch_size):
                loss = functional.cross_entropy(self.module(rows[which[batch]]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            found = loss_of(self.module, data)
            if found < best:
                best, kept, state = found, epoch + 1, _copy(self.module)
            if settings.patience is not None and epoch + 1 - kept >= settings.patience:
                break
        self.module.load_state_dict(state)
        return kept


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


class Head(nn.Module):
    """Standardisation, and a linear layer that begins with 0."""

    def __init__(self, data: TrainingData) -> None:
        super().__init__()
        mean, factor = standardisation(data.rows)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("factor", torch.from_numpy(factor))
        self.linear = nn.Linear(len(mean), data.classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear((x - self.mean) * self.factor)


class Pooled(nn.Module):
    """Blocks of a network, the mean over positions, and a head."""

    def __init__(self, below: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.below, self.head = below, head

    def embedding(self, x: Tensor) -> Tensor:
        found = self.below(x.contiguous(memory_format=torch.channels_last))
        return found.mean((2, 3)) if found.ndim == 4 else found

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embedding(x))


@torch.inference_mode()
def outputs(run: Callable[[Tensor], Tensor], x: Array) -> Array:
    """What a module gives for rows, 64 at a time."""
    parts = [run(torch.from_numpy(np.array(x[i : i + 64]))).numpy() for i in range(0, len(x), 64)]
    return np.concatenate(parts)


def loss_of(module: nn.Module, data: TrainingData) -> float:
    logits = torch.from_numpy(outputs(module, data.val_x))
    return float(functional.cross_entropy(logits, torch.from_numpy(data.val_y)))


def head(data: TrainingData, settings: Settings, rate: float) -> Head:
    """A linear head on features (N, V, D)."""
    torch.manual_seed(settings.seed)
    made = Head(data)
    Fit(made, [(list(made.parameters()), 1.0)], rate, settings.epochs).run(data, settings)
    return made


def blocks(
    data: TrainingData,
    model: ModelProto,
    cut: str,
    embedding: str,
    settings: Settings,
    rates: tuple[float, float],
) -> Pooled:
    """A head, then head and blocks, on maps (N, V, C, H, W); `rates` of the two phases."""
    below = OnnxNetwork(model, cut, embedding).to(memory_format=torch.channels_last)
    pooled = Pooled(below, nn.Identity())
    x = outputs(pooled.embedding, data.rows)
    vectors = TrainingData(
        x.reshape(len(data.y), data.views, -1),
        data.y,
        outputs(pooled.embedding, data.val_x),
        data.val_y,
        data.classes,
    )
    top = head(vectors, settings, rates[0])
    network = Pooled(below, top)
    weights, factor = list(below.parameters()), settings.rate_factor
    last = max(len(weights) - 1, 1)
    groups = [([weight], factor ** (2 - i / last)) for i, weight in enumerate(weights)]
    fit = Fit(network, [(list(top.parameters()), 1.0), *groups], rates[1], settings.block_epochs)
    fit.run(data, settings, loss_of(network, data))
    return network


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("cut")
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    files = sorted(path for path in args.folder.rglob("*") if path.is_file())
    names = sorted({path.parent.name for path in files})
    y = np.array([names.index(path.parent.name) for path in files])
    x = features(files, args.model, args.cut, args.views)
    side = np.random.default_rng(0).random(len(y))  # 70 % train, 15 % validation, 15 % test
    train, val, test = side < 0.7, (side >= 0.7) & (side < 0.85), side >= 0.85
    data = TrainingData(x[train], y[train], x[val][:, 0], y[val], len(names))
    found = head(data, Settings(epochs=args.epochs), args.rate)
    right = outputs(found, x[test][:, 0]).argmax(1) == y[test]
    print(f"test accuracy {right.mean():.3f} of {len(right)}")


if __name__ == "__main__":
    main()
