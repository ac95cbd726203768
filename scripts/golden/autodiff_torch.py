"""What PyTorch makes of the networks in `scripts.golden.autodiff`: gradients and ten optimizer steps, in float64.

Blocks are torchvision's where it has them. Written down for each weight: samples, norm and mean of its gradient, and of
its change in ten steps. Of a network whose weights are not ours, projections on random directions stand for samples.

    python -m scripts.golden.autodiff_torch [mobilenet_v2 ...]     # tests/finetune/autodiff/golden/*.npz
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.errors import GraphError
from scripts.golden.autodiff import (
    CASES,
    FOLDER,
    MOBILENET,
    MOBILENET_CUT,
    MOBILENET_LOGITS,
    STEPS,
    Array,
    Case,
    weight,
)


class InceptionTop(nn.Module):
    """torchvision's last block, pool and fc. Batch norm is folded into the convolutions or has frozen statistics."""

    def __init__(self) -> None:
        from scripts.golden.references import torchvision  # here: the other networks do without

        super().__init__()
        self.Mixed_7c = torchvision.models.inception.InceptionE(2048)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.Mixed_7c(x).mean((2, 3)))

    def prepare(self, fold: bool) -> InceptionTop:
        self.eval()
        basic = type(self.Mixed_7c.branch1x1)  # a convolution with a batch norm
        for block in self.modules():
            if fold and isinstance(block, basic):
                block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
        return self.requires_grad_()  # PyTorch makes the bias that comes of folding without


class Mobile(nn.Module):
    """Inverted residuals as in "MobileNetV2" (Sandler et al., 2018), without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2)
        for name, stride in (("block1", 1), ("block2", 2)):
            block = nn.ModuleDict(
                {
                    "expand": nn.Conv2d(8, 32, 1),
                    "depthwise": nn.Conv2d(32, 32, 3, stride, 1 if stride == 1 else 0, groups=32),
                    "project": nn.Conv2d(32, 8, 1),
                }
            )
            self.add_module(name, block)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.stem(functional.pad(x, (0, 1, 0, 1))))
        inner = functional.relu6(self.block1["depthwise"](functional.relu6(8 * self.block1["expand"](y))))
        y = y + self.block1["project"](inner)
        inner = functional.pad(functional.relu6(8 * self.block2["expand"](y)), (0, 1, 0, 1))
        y = self.block2["project"](functional.relu6(self.block2["depthwise"](inner)))
        return self.fc(y.mean((2, 3)))


class MobileNetTop(nn.Module):
    """The part of the real MobileNetV2 behind the cut, node by node, with the weights of its file."""

    def __init__(self) -> None:
        super().__init__()
        graph = onnx.load(Path(os.environ["GRAFT_MODELS"]) / MOBILENET).graph
        made = [name for node in graph.node for name in node.output]
        self.nodes = graph.node[made.index(MOBILENET_CUT) + 1 : made.index(MOBILENET_LOGITS) + 1]
        values = {v.name: torch.from_numpy(numpy_helper.to_array(v).copy()) for v in graph.initializer}
        read = {name for node in self.nodes for name in node.input if name in values}
        self.bounds = {name: values[name].item() for name in read if values[name].ndim == 0}
        for name in sorted(read - self.bounds.keys()):
            self.register_parameter(name, nn.Parameter(values[name]))

    def forward(self, x: Tensor) -> Tensor:
        known = {MOBILENET_CUT: x, **dict(self.named_parameters())}
        for node in self.nodes:
            known[node.output[0]] = self.compute(node, *(known.get(name) for name in node.input))
        return known[MOBILENET_LOGITS]

    def compute(self, node: NodeProto, x: Tensor, *others: Tensor) -> Tensor:
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        match node.op_type:
            case "Conv":
                down, across = attrs["strides"]
                pads = []
                for size, k, s in (
                    (x.shape[3], others[0].shape[3], across),
                    (x.shape[2], others[0].shape[2], down),
                ):
                    total = max((-(-size // s) - 1) * s + k - size, 0)
                    pads += [total // 2, total - total // 2]
                padded = functional.pad(x, pads)
                return functional.conv2d(padded, *others, stride=(down, across), groups=attrs["group"])
            case "Clip":
                return functional.hardtanh(
                    x, *(self.bounds[name] for name in node.input[1:])
                )  # no gradient at a bound
            case "Add":
                return x + others[0]
            case "GlobalAveragePool":
                return x.mean((2, 3), keepdim=True)
            case "Flatten":
                return x.flatten(1)
            case "Identity":
                return x
            case other:
                raise GraphError(
                    f"{other}, which gives {node.output[0]}, has no rule here. Add a case for it."
                )


class ConvNorm(nn.Conv2d):
    """A convolution followed by a batch norm, which is its child."""

    def __init__(self, channels: int, filters: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, filters, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(super().forward(x))


class Residual(nn.Module):
    """Two residual blocks, the second with stride 2 and a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, 8, 3)
        self.layer1 = nn.ModuleDict({"conv1": ConvNorm(8, 8, 3), "conv2": ConvNorm(8, 8, 3)})
        self.layer2 = nn.ModuleDict(
            {"conv1": ConvNorm(8, 16, 3, 2), "conv2": ConvNorm(16, 16, 3), "down": ConvNorm(8, 16, 1, 2)}
        )
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.conv1(x))
        for block in (self.layer1, self.layer2):
            inner = block["conv2"](functional.relu(block["conv1"](y)))
            y = functional.relu((block["down"](y) if "down" in block else y) + inner)
        return self.fc(y.mean((2, 3)))


def inception(fold: bool) -> Callable[[], nn.Module]:
    return lambda: seeded(InceptionTop()).prepare(fold)


def seeded(module: nn.Module) -> nn.Module:
    """The module with the weights of the seed."""
    for name, tensor in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
    return module


MODULES: dict[str, tuple[Callable[[], nn.Module], Callable[..., torch.optim.Optimizer]]] = {
    "inception_folded": (inception(fold=True), lambda p: torch.optim.SGD(p, 0.001, 0.9)),
    "inception_frozen_norm": (
        inception(fold=False),
        lambda p: torch.optim.SGD(p, 0.001, 0.9, nesterov=True),
    ),
    "mobile": (lambda: seeded(Mobile()), lambda p: torch.optim.Adam(p, 0.003, eps=1e-3)),
    "mobilenet_v2": (MobileNetTop, lambda p: torch.optim.SGD(p, 1e-4, 0.9)),
    "residual": (lambda: seeded(Residual()), lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=1e-3)),
}


def main() -> None:
    torch.set_default_dtype(torch.float64)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or MODULES:
        make, optimizer = MODULES[name]
        case, module = CASES[name], make().double()
        images, labels = case.batch()
        x, y = torch.from_numpy(images).double(), torch.from_numpy(labels)
        step = optimizer(module.parameters())
        losses, first = [], {}
        before = {key: value.clone() for key, value in module.state_dict().items()}
        for i in range(STEPS):
            loss = functional.cross_entropy(module(x), y, label_smoothing=case.label_smoothing)
            step.zero_grad()
            loss.backward()
            losses.append(loss.item())
            if i == 0:
                first = {key: p.grad.clone() for key, p in module.named_parameters()}
            step.step()
        changes = {key: value - before[key] for key, value in module.state_dict().items()}
        write(
            name,
            case,
            losses,
            first,
            {key: c for key, c in changes.items() if c.is_floating_point() and c.any()},
        )


def write(
    name: str, case: Case, losses: list[float], gradients: dict[str, Tensor], changes: dict[str, Tensor]
) -> None:
    """Write down what there is to compare; the rows stand in the order of the names."""
    arrays: dict[str, Array] = {"losses": np.asarray(losses)}
    for what, tensors in (("gradients", gradients), ("changes", changes)):
        rows = {key: tensor.numpy().reshape(-1) for key, tensor in tensors.items()}
        arrays[f"{what}.samples"] = np.stack([case.samples(k, v) for k, v in rows.items()]).astype(np.float32)
        arrays[f"{what}.moments"] = np.asarray([[np.linalg.norm(v), v.mean()] for v in rows.values()])
    notes = {"torch": torch.__version__, "gradients": list(gradients), "changes": list(changes)}
    path = FOLDER / f"{name}.npz"
    np.savez_compressed(path, notes=np.asarray(json.dumps(notes)), **arrays)
    print(f"{path.name}: {path.stat().st_size:,} bytes, loss {losses[0]:.4f} -> {losses[-1]:.4f}")


if __name__ == "__main__":
    main()
