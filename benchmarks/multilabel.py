"""Several labels an image: the garment and its dominant colours, of clothing_10.

    python -m benchmarks.multilabel list OUT.csv        # the labelled list alone
    python -m benchmarks.multilabel measure [MODEL] [METHOD ...]    # fine-tuned on it, as a table

GRAFT_DATA names the folder with clothing_10. A colour is a label where it covers a third of what is in the middle of
the photo, told by hue, saturation and value of each pixel; so an image has one garment and none to three colours. Its
training images are those of the set's train folder, a part of which validates; its test images are those of test.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.timing import table

SHARE = 1 / 3  # of the middle that a colour covers
# Borders of hues in degrees, of pixels that are neither pale nor dark.
_HUES = (
    (15, "red"),
    (45, "orange"),
    (70, "yellow"),
    (170, "green"),
    (260, "blue"),
    (330, "purple"),
    (361, "red"),
)
_DARK, _PALE, _LIGHT = 0.22, 0.22, 0.72  # value, saturation, value


def colours(photo: Image.Image) -> list[str]:
    """The colours that cover at least a third of the middle half of a photo, in alphabetical order."""
    width, height = photo.size
    middle = photo.convert("RGB").crop((width // 4, height // 4, width - width // 4, height - height // 4))
    names = colour_names(np.asarray(middle.resize((48, 48), Image.Resampling.BOX)).reshape(-1, 3))
    found, counts = np.unique(names, return_counts=True)
    return sorted(found[counts >= SHARE * len(names)].tolist())


def colour_names(pixels: NDArray[np.uint8]) -> NDArray[np.str_]:
    """What the colour of each pixel (N, 3) is called."""
    unit = pixels.astype(np.float64) / 255
    value, low = unit.max(axis=1), unit.min(axis=1)
    spread = value - low
    saturation = spread / np.maximum(value, 1e-9)
    red, green, blue = unit.T
    safe = np.maximum(spread, 1e-9)
    hue = np.select(
        [value == red, value == green],
        [(green - blue) / safe % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    degrees = 60 * hue
    named = np.array([name for _, name in _HUES])[
        np.searchsorted([end for end, _ in _HUES], degrees, side="right")
    ]
    grey = np.where(value >= _LIGHT, "white", "grey")
    return np.where(value < _DARK, "black", np.where(saturation < _PALE, grey, named))


def rows(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """Path, labels, split and id of each photo of clothing_10."""
    for split in ("train", "test"):
        for path in sorted((root / split).glob("*/*")):
            with Image.open(path) as photo:
                labels = [path.parent.name, *colours(photo)]
            yield str(path), ";".join(labels), split, str(path.relative_to(root))


def write_list(out: Path) -> None:
    """Write the labelled list as a table."""
    root = Path(os.environ["GRAFT_DATA"]) / "clothing_10"
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "labels", "split", "id"))
        writer.writerows(rows(root))


def measure(model: str = "builtin", *methods: str) -> None:
    """Fine-tune by each method, and print what was measured on the test images."""
    from finetune.dataset.opening import open_dataset
    from finetune.job.recipe import chosen
    from finetune.job.run import finetune
    from finetune.report.summary import summarise

    header = ["method", "all right", "95 %", "F1", "at 1/2", "mean F1", "at 1/2", "mAP", "calibration error"]
    header.append("without temperature")
    lines: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_list(Path(folder) / "clothes.csv")
        dataset = open_dataset(Path(folder) / "clothes.csv", "multilabel", outside=True)
        for method in methods or ("head", "sklearn"):
            recipe = chosen({"task": "multilabel", "method": method, "model": model})
            outcome = finetune(dataset, recipe, Path(folder) / method)
            assert outcome.findings is not None
            labels = summarise(outcome.findings).multilabel
            assert labels is not None
            tuned, plain = labels.measure, labels.untuned
            low, high = tuned.all_right.interval
            figures = (tuned.f1, plain.f1, tuned.mean_f1, plain.mean_f1, tuned.mean_average_precision)
            lines.append(
                [method, f"{tuned.all_right.value:.1%}", f"{low:.1%} to {high:.1%}"]
                + [f"{figure:.1%}" for figure in (*figures, tuned.calibration)]
                + ["not measured" if labels.before is None else f"{labels.before.calibration:.1%}"]
            )
    print(table(header, lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["list"]:
        write_list(Path(sys.argv[2]))
    else:
        measure(*sys.argv[2:])
