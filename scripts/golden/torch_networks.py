"""Golden vectors of torchvision's and timm's InceptionV3, computed in float64.

torchvision is run as its published weights are: images normalised with ImageNet's mean and deviation, then changed by
the module itself (`transform_input=True`). The test normalises with 0.5 and 0.5: if they agree, that is what it means.
timm is run with the normalisation of its gluon weights, which differs from channel to channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from scripts.golden.references import timm, torchvision
from scripts.golden.seeded import BLOCKS, FOLDER, images, torch_tensor, write

STEM = {
    "conv2d_1a_3x3": "Conv2d_1a_3x3",
    "conv2d_2a_3x3": "Conv2d_2a_3x3",
    "conv2d_2b_3x3": "Conv2d_2b_3x3",
    "conv2d_3b_1x1": "Conv2d_3b_1x1",
    "conv2d_4a_3x3": "Conv2d_4a_3x3",
}
MIXED = {f"mixed_{block}": f"Mixed_{block}" for block in BLOCKS}
TORCHVISION = {"maxpool_3a_3x3": "maxpool1", "maxpool_5a_3x3": "maxpool2", "pool": "avgpool", "logits": "fc"}
TIMM = {"maxpool_3a_3x3": "Pool1", "maxpool_5a_3x3": "Pool2", "pool": "global_pool", "logits": "fc"}


def golden(
    name: str, module: nn.Module, cuts: dict[str, str], mean: Sequence[float], std: Sequence[float]
) -> None:
    """Run `module` on normalised images and write down what passes the modules named in `cuts`."""
    listing = [(key, list(tensor.shape)) for key, tensor in module.state_dict().items()]
    module.load_state_dict({key: torch.from_numpy(torch_tensor(key, shape)) for key, shape in listing})
    module.double().eval()
    seen: dict[str, np.ndarray] = {}
    for cut, path in cuts.items():

        def note(_: nn.Module, __: object, output: torch.Tensor, cut: str = cut) -> None:
            seen[cut] = output.flatten(1).numpy() if cut == "pool" else output.numpy()

        module.get_submodule(path).register_forward_hook(note)
    pixels = torch.from_numpy(images()).permute(0, 3, 1, 2).double() / 255  # (N, H, W, C) to (N, C, H, W)
    normalized = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.inference_mode():
        module(normalized)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    write(
        FOLDER / f"{name}.npz",
        {cut: seen[cut] for cut in cuts},
        tensors=listing,
        mean=mean,
        std=std,
        **versions,
    )


def main() -> None:
    imagenet = torchvision.models.Inception_V3_Weights.IMAGENET1K_V1.transforms()
    network = torchvision.models.inception_v3(weights=None, transform_input=True, init_weights=False)
    golden("torchvision", network, STEM | MIXED | TORCHVISION, imagenet.mean, imagenet.std)
    network = timm.create_model("inception_v3.gluon_in1k", pretrained=False, aux_logits=True)
    config = network.pretrained_cfg
    golden("timm", network, STEM | MIXED | TIMM, config["mean"], config["std"])


if __name__ == "__main__":
    main()
