"""Exports one network of torchvision or timm with both of PyTorch's exporters, and writes down what it says.

    python -m benchmarks.architectures.export_torch FOLDER NAME    # needs torch, torchvision, timm, onnx, onnxscript

Weights are random, scales and statistics such as training leaves, inputs small. Beside NAME.torchscript.onnx and
NAME.dynamo.onnx lie NAME.npz, with two images, their logits, what the last layer reads and the slopes of the first
image's best logit over its pixels, and NAME.json, with the network's own normalisation and the Grad-CAM map at each
tensor that a module takes or gives.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.architectures.networks import CALM, FLAT, SIDE, SIDES, TIMM
from benchmarks.architectures.references import NUDGES, grad_cams, two_images

EXPORTS = {
    "torchscript": {
        "dynamo": False, "input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}
    },
    "dynamo": {"dynamo": True},
}  # fmt: skip


def network(name: str, side: int) -> nn.Module:
    """With the random weights of seed 0."""
    torch.manual_seed(0)
    if name in TIMM:
        cfg = timm.get_pretrained_cfg(name)
        sized = {"img_size": side} if cfg.fixed_input_size else {}
        return timm.create_model(name, num_classes=cfg.num_classes or 1000, **sized)
    how: dict[str, Any] = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        how |= {"init_weights": True, "aux_logits": False}
    return getattr(torchvision.models, name)(**how)


def normalisation(name: str) -> tuple[list[float], list[float]]:
    """Mean and deviation that are taken off, as the library says it of its weights."""
    if name in TIMM:
        cfg = timm.get_pretrained_cfg(name)
        return list(cfg.mean), list(cfg.std)
    transforms = next(iter(torchvision.models.get_model_weights(name))).transforms()
    return list(transforms.mean), list(transforms.std)


def enliven(model: nn.Module, side: int, flat: bool = False, calm: bool = False) -> nn.Module:
    """Give it scales, shifts and statistics as after training; those of the beginning, 1 and 0, hide errors.

    `flat`: its random weights bring variances so far down that a floor would make all images alike. `calm`: so many of
    its units stand at the kink of their Relu that PyTorch's own slopes change by per cents with the last bits of the
    pixels; larger shifts move them away.
    """
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = any(word in name for word in ("gamma", "layer_scale")) or name.endswith(".scale")
            if (weight.ndim <= 1 or scale) and "gain" not in name:
                middle = float(calm) if name.endswith("bias") else 0.5 if scale else 1.0
                weight.copy_(middle + 0.1 * torch.randn(weight.shape, generator=dice))
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            norm.momentum = None
            norm.reset_running_stats()
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        for _ in range(2):
            noise = 3.6 * torch.rand(16, 3, 8, 8, generator=dice) - 1.8
            model(nn.functional.interpolate(noise, size=(side, side), mode="bicubic"))
        for norm in norms:
            # Less than a share of the mean would blow up what the images hold; on the way down, it is nothing strange.
            floor = 0.05 * norm.running_var.mean().item() if flat else 0.05
            norm.running_var.clamp_(min=floor)
        for module in model.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                module.weight.normal_(0, module.in_features**-0.5, generator=dice)
            if hasattr(module, "inplace"):
                module.inplace = False
    return model.eval()


def references(
    model: nn.Module, side: int, mean: list[float], std: list[float]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What the network says of two images, and its Grad-CAM maps of the first."""
    images = two_images(side)
    scaled = (images / np.float32(255) - np.array(mean, np.float32)) / np.array(std, np.float32)
    x = torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy()).requires_grad_()
    seen: list[tuple[str, Tensor]] = []
    read: list[tuple[int, np.ndarray]] = []

    def keep(label: str, value: Any) -> None:
        each = value if isinstance(value, tuple | list) else [value]
        seen.extend((label, t) for t in each if torch.is_tensor(t) and t.ndim in (3, 4) and t.requires_grad)

    def hook(label: str) -> Any:
        def see(module: nn.Module, given: Any, made: Any) -> None:
            keep(f"{label}, read", given)
            keep(label, made)
            if isinstance(module, nn.Linear | nn.Conv2d):
                width = module.out_features if isinstance(module, nn.Linear) else module.out_channels
                read.append((width, given[0].detach().numpy()))

        return see

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    logits = model(x)
    for handle in handles:
        handle.remove()
    for best in logits[0].argsort(descending=True).tolist():
        inner = [x, *(t for _, t in seen)]
        pixels, *slopes = torch.autograd.grad(logits[0, best], inner, allow_unused=True, retain_graph=True)
        maps = [
            grad_cams(label, tensor.detach()[0].numpy(), slope[0].numpy())
            for (label, tensor), slope in zip(seen, slopes, strict=True)
            if slope is not None
        ]
        last = next(entry for entry in reversed(maps) if entry["label"] != ", read")  # that is the image
        # Else nothing speaks for it, and nothing is compared.
        if all(max(reading) > 0 for reading in last["maps"]):
            break
    arrays = {
        "images": images, "logits": logits.detach().numpy(), "features": _features(model, x, read, logits.shape[1]),
        "slopes": np.stack([pixels[0].numpy(), *_nudged(model, x.detach(), best)]),
    }  # fmt: skip
    return arrays, {"side": side, "best": best, "mean": mean, "std": std, "channels": "rgb", "maps": maps}


def _nudged(model: nn.Module, x: Tensor, best: int) -> list[np.ndarray]:
    """Slopes for the same image, but for the last bits; of two at a time: of one, PyTorch's for LeViT are wrong."""
    dice, slopes = torch.Generator().manual_seed(2), []
    for size in NUDGES:
        near = (x * (1 + size * torch.randn(x.shape, generator=dice))).requires_grad_()
        slopes.append(torch.autograd.grad(model(near)[0, best], near)[0][0].numpy())
    return slopes


def _features(model: nn.Module, x: Tensor, read: list[tuple[int, np.ndarray]], classes: int) -> np.ndarray:
    """What the last layer reads: timm says it itself."""
    if hasattr(model, "forward_head"):
        with torch.no_grad():
            value = model.forward_head(model.forward_features(x), pre_logits=True)
        value = value.numpy()
    else:
        value = next(given for width, given in reversed(read) if width == classes)
    return value.mean((2, 3)) if value.ndim == 4 else value


def main() -> None:
    """Export what is named; files that are there are kept."""
    warnings.filterwarnings("ignore")
    folder, name = sys.argv[1:]
    side = SIDES.get(name, SIDE)
    model = enliven(network(name, side), side, name in FLAT, name in CALM)
    mean, std = normalisation(name)
    arrays, about = references(model, side, mean, std)
    stem = Path(folder) / name
    x = torch.zeros(1, 3, side, side)
    refused = {}
    for exporter, how in EXPORTS.items():
        path = Path(f"{stem}.{exporter}.onnx")
        if path.exists():
            continue
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                torch.onnx.export(model, (x,), str(path), verbose=False, **how)
        except Exception as exc:
            path.unlink(missing_ok=True)
            refused[exporter] = (
                f"PyTorch's own exporter fails: {type(exc).__name__}: {str(exc).strip()[:200]}"
            )
    np.savez(f"{stem}.npz", **arrays)
    Path(f"{stem}.json").write_text(json.dumps(about | {"refused": refused}), encoding="utf-8")


if __name__ == "__main__":
    main()
