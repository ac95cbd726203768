"""Build the model file from trained weights, in half precision, with its card.

python -m scripts.graft_mini.export --weights runs/graft_mini/graft_mini.pth --zip tiny_imagenet_200.zip \\
    --log runs/graft_mini/log.jsonl --out models/builtin/graft_mini.onnx [--top1 0.57 --top5 0.81]
"""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

from models.architectures.graft_mini import graft_mini
from models.build import build
from models.card import Accuracy, Label, ModelCard, Normalization, write_card
from models.conversion import cut_points
from models.files import sha256, write_atomically
from models.preprocessing import Preprocessing
from models.weights import read
from models.zoo import BUILTIN
from scripts.graft_mini import MEAN, STD

DESCRIPTION = (
    "A small Inception-style network (4.5 million weights, 0.3 billion multiply-adds) that comes with graft. Good for "
    "trying things out, for tests, and as a quick backbone to fine-tune. It knows only the 200 classes of Tiny "
    "ImageNet, was trained on images of 64 pixels, and is no match for a network trained on all of ImageNet: where "
    "accuracy counts, use InceptionV3 or a model of your own."
)
COMMAND = "graft evaluate --model builtin tiny_imagenet_200.zip --split val"


def labels(path: Path) -> tuple[Label, ...]:
    """WordNet ids and names from `classes.tsv`."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("classes.tsv").decode().splitlines()
    pairs = (line.split("\t") for line in lines if line)
    return tuple(Label(key, name) for key, name in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--top1", type=float, help=f"as measured with: {COMMAND}")
    parser.add_argument("--top5", type=float)
    args = parser.parse_args()
    blueprint = graft_mini()
    last = json.loads(args.log.read_text().splitlines()[-1])
    measured = (
        Accuracy("Tiny ImageNet", "validation", 10_000, args.top1, args.top5, COMMAND) if args.top1 else None
    )
    card = ModelCard(
        name=BUILTIN,
        task="classification",
        preprocessing=Preprocessing(blueprint.input_size, "shorter", blueprint.input_size[0], 1.0, "bicubic"),
        normalization=Normalization(MEAN, STD),
        labels=labels(args.zip),
        cuts=cut_points(blueprint),
        licence="Apache-2.0",
        source="scripts/graft_mini",
        weights_sha256=sha256(args.weights),
        description=DESCRIPTION,
        accuracy=(measured,) if measured else (),
        training={
            "data": "Tiny ImageNet, 100,000 training images of 64 px; ImageNet's terms of use (research) apply to them",
            "teacher": "pooled mixed_7a features of InceptionV3 (Google, 2015-12-05), itself trained on ImageNet; it "
            "saw each image and its mirror image, enlarged to 299 px",
            "epochs": last["epochs"],
            "steps": last["step"],
            "seed": 20,
        },
    )
    model = build(blueprint, read(args.weights), mean=MEAN, std=STD, half=True, name="graft-mini")
    write_card(model, card)
    write_atomically(args.out, model.SerializeToString())
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
