"""Exports networks of torchvision and timm with both of PyTorch's exporters, and writes down what they say.

    python -m benchmarks.architectures_torch FOLDER [NAME ...]    # needs torch, torchvision, timm, onnx, onnxscript

Weights are random, scales and statistics such as training leaves, inputs small. Beside NAME.torchscript.onnx and
NAME.dynamo.onnx lie NAME.npz, with two images, their logits, what the last layer reads and the slopes of the first
image's best logit over its pixels, and NAME.json, with the Grad-CAM map at each tensor that a module takes or gives.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SIDE = 64
SIDES = {"alexnet": 224, "inception_v3": 96, "levit_128s": 128}  # what is too small otherwise
TORCHVISION = (
    "resnet18", "resnet50", "resnext50_32x4d", "densenet121", "alexnet", "squeezenet1_1", "googlenet", "inception_v3",
    "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_s", "mnasnet1_0", "shufflenet_v2_x1_0",
    "regnet_y_400mf", "convnext_tiny", "swin_t",
)  # fmt: skip
TIMM = (
    "convnext_atto", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "mixer_s32_224", "levit_128s",
    "mobilevit_xxs", "mobilenetv4_conv_small", "repvgg_a0", "ghostnet_100", "xception41", "nfnet_l0", "fastvit_t8",
    "tf_efficientnet_lite0", "seresnet50",
)  # fmt: skip
_BY_SIZE = ("vit_tiny", "deit_tiny", "mixer_s32", "levit")  # of timm, that have to be told the size
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
_MOST_PLACES = 4096
NUDGES = 12  # of the pixels, in the last bit: what lies at the kink of a Relu falls to either side


def network(name: str, side: int) -> nn.Module:
    """With the random weights of seed 0."""
    torch.manual_seed(0)
    if name in TIMM:
        return (
            timm.create_model(name, img_size=side) if name.startswith(_BY_SIZE) else timm.create_model(name)
        )
    how: dict[str, Any] = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        how |= {"init_weights": True, "aux_logits": False}
    return getattr(torchvision.models, name)(**how)


def enliven(model: nn.Module, side: int) -> nn.Module:
    """Give it scales, shifts and statistics as after training; those of the beginning, 1 and 0, hide errors."""
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = any(word in name for word in ("gamma", "layer_scale")) or name.endswith(".scale")
            if (weight.ndim <= 1 or scale) and "gain" not in name:
                middle = 0.0 if name.endswith("bias") else 0.5 if scale else 1.0
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
            norm.running_var.clamp_(min=0.05)
        for module in model.modules():
            if isinstance(module, nn.Linear) and not module.weight.any():
                module.weight.normal_(0, module.in_features**-0.5, generator=dice)
            if hasattr(module, "inplace"):
                module.inplace = False
    return model.eval()


def references(model: nn.Module, side: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What the network says of two images, and its Grad-CAM maps of the first."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    images = np.stack(
        [Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC) for each in small]
    )
    x = torch.from_numpy(
        ((images / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2).copy()
    ).requires_grad_()
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
    best = int(logits[0].argmax())
    pixels, *slopes = torch.autograd.grad(logits[0, best], [x, *(t for _, t in seen)], allow_unused=True)
    maps = [
        _maps(label, tensor.detach()[0].numpy(), slope[0].numpy())
        for (label, tensor), slope in zip(seen, slopes, strict=True)
        if slope is not None
    ]
    arrays = {
        "images": images, "logits": logits.detach().numpy(), "features": _features(model, x, read, logits.shape[1]),
        "slopes": np.stack([pixels[0].numpy(), *_nudged(model, x.detach()[:1], best)]),
    }  # fmt: skip
    return arrays, {"side": side, "best": best, "maps": maps}


def _nudged(model: nn.Module, x: Tensor, best: int) -> list[np.ndarray]:
    """Slopes for the same image with other last bits."""
    dice, slopes = torch.Generator().manual_seed(2), []
    for _ in range(NUDGES):
        near = (x * (1 + 2e-7 * torch.randn(x.shape, generator=dice))).requires_grad_()
        slopes.append(torch.autograd.grad(model(near)[0, best], near)[0][0].numpy())
    return slopes


def _features(model: nn.Module, x: Tensor, read: list[tuple[int, np.ndarray]], classes: int) -> np.ndarray:
    """What the last layer reads: timm says it itself."""
    if hasattr(model, "forward_head"):
        with torch.no_grad():
            value = model.forward_head(model.forward_features(x), pre_logits=True).numpy()
    else:
        value = next(given for width, given in reversed(read) if width == classes)
    return value.mean((2, 3)) if value.ndim == 4 else value


def _maps(label: str, values: np.ndarray, slopes: np.ndarray) -> dict[str, Any]:
    """Grad-CAM at a tensor, in each way in which its axes may be meant, and sums by which to know it again."""
    known = {
        "label": label,
        "shape": values.shape,
        "sums": [float(f(values)) for f in (lambda v: np.abs(v).sum(), np.max, np.min)],
    }
    readings = []
    if values.ndim == 3:
        for channels in (0, 2):
            places = tuple(axis for axis in range(3) if axis != channels)
            readings.append((values * slopes.mean(places, keepdims=True)).sum(channels))
    else:
        for beside in (0, 1, 2):  # class tokens
            weights = slopes[beside:].mean(0, keepdims=True)
            readings.append((values[beside:] * weights).sum(1))
    return known | {"maps": [np.maximum(r, 0).ravel().tolist() for r in readings if r.size <= _MOST_PLACES]}


def main() -> None:
    """Export what is named, or all; files that are there are kept."""
    warnings.filterwarnings("ignore")
    folder, *names = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names or (*TORCHVISION, *TIMM):
        began, side = time.perf_counter(), SIDES.get(name, SIDE)
        model = enliven(network(name, side), side)
        arrays, about = references(model, side)
        stem = Path(folder) / name
        np.savez(f"{stem}.npz", **arrays)
        Path(f"{stem}.json").write_text(json.dumps(about), encoding="utf-8")
        x = torch.zeros(1, 3, side, side)
        free = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}}
        for exporter, how in (("torchscript", {"dynamo": False, **free}), ("dynamo", {"dynamo": True})):
            if Path(f"{stem}.{exporter}.onnx").exists():
                continue
            with contextlib.redirect_stdout(io.StringIO()):
                torch.onnx.export(model, (x,), f"{stem}.{exporter}.onnx", verbose=False, **how)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
