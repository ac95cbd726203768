"""Small files written by PyTorch and safetensors, in which every peculiarity of theirs occurs once."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from scripts.golden.seeded import FOLDER, torch_tensor


def state() -> dict[str, torch.Tensor]:
    """The state dict of a small network, with the attributes that PyTorch hangs on it."""
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(3, 4, (1, 3), bias=False))
    network.add_module("bn", nn.BatchNorm2d(4))
    network.add_module("fc", nn.Linear(4, 5))
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    network.load_state_dict({key: torch.from_numpy(torch_tensor(key, shapes[key])) for key in shapes})
    return network.state_dict()


def peculiar() -> dict[str, torch.Tensor]:
    """Views that share storages, and every type of number."""
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    types = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
    numbers = {
        f"type.{str(kind).removeprefix('torch.')}": torch.tensor([0, 1, 100]).to(kind) for kind in types
    }
    return {
        "whole": whole,
        "transposed": whole.T,
        "middle": whole[1:3, 2:5],
        "every_other": whole[:, ::2],
        "scalar": whole[2, 3],
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
        **numbers,
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    tensors = state()
    tensors.update(peculiar())  # keeps the OrderedDict and its metadata
    torch.save(tensors, FOLDER / "tiny.pth")
    torch.save(tensors, FOLDER / "tiny_legacy.pth", _use_new_zipfile_serialization=False)
    save_file(state(), FOLDER / "tiny.safetensors", metadata={"format": "pt"})
    as_numpy = {
        key: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        for key, tensor in tensors.items()
    }
    np.savez(FOLDER / "tiny.npz", **as_numpy)


if __name__ == "__main__":
    main()
