"""How near a file that resizes photos itself comes to Pillow, in pixels and in probabilities.

    GRAFT_DATA=... python -m benchmarks.any_size builtin GRAFT_MODELS/mobilenet_v2_1.0_224.onnx

Photos: one in nine of clothing_10's folder `test`, 40 of Tiny ImageNet's `val`, and the two of scikit-learn; each also
turned by 90 degrees. Prints a row for each way of resizing and set, then one for each model and set.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.rejection import tiny_imagenet
from benchmarks.timing import table
from models.any_size import any_size
from models.card import ModelCard, card_of, write_card
from models.importing import as_graft_model
from models.locating import locate
from models.names import INPUT, PROBABILITIES
from models.opset import IR_VERSION, opset_imports
from models.preprocessing import Interpolation, Preprocessing
from models.serialized import session_of

Photos = list[NDArray[np.uint8]]
EACH, TINY = 9, 40
FILTERS: tuple[Interpolation, ...] = ("bilinear", "bicubic")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*")
    sets = photo_sets(Path(os.environ["GRAFT_DATA"]))
    rows = []
    for interpolation in FILTERS:
        for name, plan in plans(interpolation).items():
            session = session_of(any_size(pixels_net(plan)))
            for photos_of, photos in sets.items():
                gaps = [np.abs(session.run({INPUT: one[None]})[0][0] - plan.load(one)) for one in photos]
                rows.append([interpolation, name, photos_of, *figures(gaps)])
    print(table(["filter", "resizing", "photos", "largest", "mean"], rows))
    rows = [
        [spec, photos_of, *figures(probability_gaps(spec, photos))]
        for spec in parser.parse_args().models
        for photos_of, photos in sets.items()
    ]
    print(table(["model", "photos", "largest", "mean"], rows))


def figures(gaps: Iterable[NDArray[np.float32]]) -> list[str]:
    """The largest of all differences, and their mean."""
    values = np.concatenate([gap.ravel() for gap in gaps])
    return [f"{values.max():.2g}", f"{values.mean():.1g}"]


def probability_gaps(spec: str, photos: Photos) -> list[NDArray[np.float32]]:
    """For each photo how far the probabilities of both files of a model are apart, (1, classes)."""
    model, _ = as_graft_model(locate(spec))
    card = card_of(model)
    assert card is not None
    own, other = session_of(model), session_of(any_size(model))
    return [
        np.abs(
            own.run({INPUT: card.preprocessing.load(one)[None]}, [PROBABILITIES])[0]
            - other.run({INPUT: one[None]}, [PROBABILITIES])[0]
        )
        for one in photos
    ]


def plans(interpolation: Interpolation) -> dict[str, Preprocessing]:
    """Six ways of resizing."""
    return {
        "128": Preprocessing((128, 128), interpolation=interpolation),
        "256, cropped to 224": Preprocessing((224, 224), resize_to=256, interpolation=interpolation),
        "0.875 of it to 224": Preprocessing((224, 224), crop_fraction=0.875, interpolation=interpolation),
        "squashed to 224 x 160": Preprocessing((224, 160), "squash", interpolation=interpolation),
        "padded to 224": Preprocessing((224, 224), "pad", pad_value=114, interpolation=interpolation),
        "342, cropped to 299": Preprocessing((299, 299), resize_to=342, interpolation=interpolation),
    }


def photo_sets(data: Path) -> dict[str, Photos]:
    """Photos, uint8 (H, W, 3), by where they are from."""
    files = sorted((data / "clothing_10" / "test").rglob("*.jpg"))[::EACH]
    straight = {
        "clothing_10": [np.asarray(Image.open(file).convert("RGB")) for file in files],
        "Tiny ImageNet": [np.asarray(image) for image in tiny_imagenet(data)[:TINY]],
        "scikit-learn": [np.asarray(image) for image in load_sample_images().images],
    }
    turned = {
        f"{name}, turned": [np.rot90(one).copy() for one in photos] for name, photos in straight.items()
    }
    return straight | turned


def pixels_net(plan: Preprocessing) -> ModelProto:
    """A network that gives the pixels that it is given."""
    shape = ["N", *plan.size, 3]
    graph = helper.make_graph(
        [helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT)],
        "pixels",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION)
    write_card(model, ModelCard("pixels", "features", plan))
    return model


if __name__ == "__main__":
    main()
