"""What Graft reads out of exported networks, beside what the networks themselves say.

    python -m benchmarks.architectures FOLDER [--only NAME ...] [--no-blocks]

FOLDER is what `benchmarks.architectures_torch` wrote. Every file is imported without options. Of two images at the
network's own size these are compared: the five best classes; default features with what the last layer reads; the
slopes of the best logit over the pixels, through the whole network; the default Grad-CAM map. Differences are parts of
the largest value. An int8 version is made, and its logits are compared, by cosine, on the images that it was calibrated
with; blocks are trained for two epochs on 48 images in two colours, and the finished file proves itself in a fresh
process. One row a network, the worse of its two exports in each column; what fails stands below, with the reason.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto
from PIL import Image

from finetune.autodiff import Graph, Session, gradients, import_onnx
from finetune.explain.gradcam import GradCam
from finetune.tuner import FineTuner
from models.agreement import compare
from models.card import card_of
from models.errors import GraftError
from models.features import FeatureOptions, default_cuts, feature_graph
from models.importing import import_model
from models.model import Model
from models.names import LOGITS
from models.preprocessing import Preprocessing
from models.quantization import quantize
from models.runtime import OnnxSession, RuntimeConfig

CPU = RuntimeConfig(device="cpu", threads=2)
EXPORTERS = ("torchscript", "dynamo")
SAME = 1e-3  # of the largest value; random networks of 300 layers enlarge the last bit a hundredfold
_SUMS = 1e-3  # by which a tensor of the original is known again
Maps = list[dict[str, Any]]


@dataclass
class Row:
    """What was found of a file: for each column a figure, or why there is none."""

    network: str
    exporter: str
    figures: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def measure(self, column: str, what: Callable[[], float]) -> None:
        """Fill a column; what Graft refuses is a failure with its sentence, and so is a difference."""
        try:
            self.figures[column] = what()
        except GraftError as exc:
            self.failures[column] = f"{type(exc).__name__}: {exc}"


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest, in parts of the largest value; infinite where the shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30))


def run(model: ModelProto, images: np.ndarray, output: str) -> np.ndarray:
    """An output for uint8 images, as many at a time as the network takes."""
    session, card = OnnxSession(model.SerializeToString(), CPU), card_of(model)
    assert card is not None
    return Model(session, card).run(images, [output])[0]


def top_five(model: ModelProto, known: dict[str, np.ndarray]) -> float:
    """The difference of logits where the five best classes are the same, else infinite."""
    logits = run(model, known["images"], LOGITS)
    best = [np.argsort(-each, axis=1, kind="stable")[:, :5] for each in (logits, known["logits"])]
    return difference(logits, known["logits"]) if np.array_equal(*best) else float("inf")


def features(model: ModelProto, known: dict[str, np.ndarray]) -> float:
    (cut,) = default_cuts(model)
    return difference(
        run(feature_graph(model, (cut,), FeatureOptions()), known["images"], cut), known["features"]
    )


def slopes(model: ModelProto, known: dict[str, np.ndarray], best: int) -> float:
    """Those of the best logit over what the network took before it was imported, (3, H, W).

    Where a unit stands at the kink of its Relu, PyTorch's own change by per cents with the last bit of the pixels: the
    closest of those counts.
    """
    card = card_of(model)
    assert card is not None
    with Graph() as graph:
        part = import_onnx(model, "graft/input", outputs=[LOGITS])
        wanted = gradients(part.outputs[LOGITS][:, best], [part.input])
    mean, std = (np.array(v, np.float32) for v in (card.normalization.mean, card.normalization.std))
    x = ((known["images"][:1] / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    ours = Session(graph, "cpu").run(wanted[0], {part.input: x})[0]
    return min(difference(ours, theirs) for theirs in known["slopes"])


def grad_cam(model: ModelProto, known: dict[str, np.ndarray], best: int, maps: Maps) -> float:
    """The difference from the map of a tensor of the original that holds the same values."""
    card = card_of(model)
    assert card is not None
    cam = GradCam(model, device="cpu")
    # Pixels as they are: the original has not cropped them.
    squashed = Preprocessing(card.preprocessing.size, "squash")
    cam.card = cam._model.card = replace(card, preprocessing=squashed)
    (heat,) = cam.explain(known["images"][0], [card.labels[best].id])
    (values,) = cam._model.run(known["images"][:1], [cam.cut])
    sums = [float(f(values)) for f in (lambda v: np.abs(v).sum(), np.max, np.min)]
    fits = [
        np.array(reading)
        for entry in maps
        if sorted(entry["shape"]) == sorted(values.shape[1:])
        and np.allclose(entry["sums"], sums, rtol=_SUMS, atol=_SUMS * abs(sums[1]))
        for reading in entry["maps"]
        if len(reading) == heat.raw.size
    ]
    return min((difference(heat.raw.ravel(), reading) for reading in fits), default=float("inf"))


def int8(model: ModelProto, known: dict[str, np.ndarray]) -> float:
    """1 - the cosine of logits of the int8 version and the float32 one."""
    small = quantize(model, iter(known["images"]))
    card = card_of(model)
    assert card is not None
    before, after = (Model(OnnxSession(m.SerializeToString(), CPU), card) for m in (model, small))
    return 1 - compare(before, after, known["images"]).cosine


def blocks(path: Path, photos: Path, folder: Path) -> float:
    """By how much a fresh process, asked with the finished file, differs from the training, in probabilities."""
    training = {"epochs": 2, "block_epochs": 2}
    tuner = FineTuner(path, method="blocks", training=training, out=folder, cache=False)
    tuner.fit(photos)
    return float(tuner.findings_.proof.largest)


def colours(folder: Path, side: int) -> Path:
    """48 images of soft patches, half of them reddish, half bluish."""
    rng = np.random.default_rng(0)
    for channel, name in ((0, "red"), (2, "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(24):
            patches = rng.integers(0, 180, (8, 8, 3))
            patches[..., channel] += 70
            image = Image.fromarray(patches.astype(np.uint8))
            image.resize((side, side), Image.Resampling.BICUBIC).save(folder / name / f"{number}.png")
    return folder


def row(folder: Path, network: str, exporter: str, with_blocks: bool) -> Row:
    """Measure one file."""
    found = Row(network, exporter)
    path = folder / f"{network}.{exporter}.onnx"
    known = dict(np.load(folder / f"{network}.npz"))
    about = json.loads((folder / f"{network}.json").read_text(encoding="utf-8"))
    models: list[ModelProto] = []
    found.measure("import", lambda: float(models.append(import_model(path)[0]) is not None))
    if not models:
        return found
    model, best = models[0], about["best"]
    card = card_of(model)
    if card is None or card.batch_size is not None:
        found.failures["import"] = "its batch could not be freed"
    known["images"] = np.ascontiguousarray(known["images"])
    found.measure("top-5", lambda: top_five(model, known))
    found.measure("features", lambda: features(model, known))
    found.measure("gradients", lambda: slopes(model, known, best))
    found.measure("Grad-CAM", lambda: grad_cam(model, known, best, about["maps"]))
    for column in ("top-5", "features", "gradients", "Grad-CAM"):
        if found.figures.get(column, 0.0) > SAME:
            found.failures[column] = f"differs from the original: {found.figures[column]:.1e}"
    found.measure("int8", lambda: int8(model, known))
    if with_blocks:
        with tempfile.TemporaryDirectory() as work:
            photos = colours(Path(work) / "photos", about["side"])
            found.measure("blocks", lambda: blocks(path, photos, Path(work) / "run"))
    return found


def table(rows: list[Row]) -> Iterator[str]:
    """Markdown: the worse of both exports in each column."""
    columns = ("import", "top-5", "features", "gradients", "Grad-CAM", "int8", "blocks")
    yield f"| network | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for network in dict.fromkeys(each.network for each in rows):
        both = [each for each in rows if each.network == network]
        yield f"| {network} | {' | '.join(_cell(both, column) for column in columns)} |"
    for each in rows:
        for column, reason in each.failures.items():
            yield f"- {each.network}, {each.exporter}, {column}: {reason}"


def _cell(rows: list[Row], column: str) -> str:
    if any(column in each.failures for each in rows):
        return "no"
    figures = [each.figures[column] for each in rows if column in each.figures]
    if not figures:
        return "-"
    if column == "import":
        return f"{len(figures)} of {len(EXPORTERS)}"
    return f"{1 - max(figures):.3f}" if column == "int8" else f"{max(figures):.0e}"


def main() -> None:
    """Print a line a file as it is measured, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--no-blocks", action="store_true")
    arguments = parser.parse_args()
    names = arguments.only or sorted(path.stem for path in arguments.folder.glob("*.npz"))
    rows = []
    for network in names:
        for exporter in EXPORTERS:
            rows.append(row(arguments.folder, network, exporter, not arguments.no_blocks))
            figures = ", ".join(f"{name} {value:.2g}" for name, value in rows[-1].figures.items())
            print(f"{network}, {exporter}: {figures} {rows[-1].failures or ''}", flush=True)
    print("\n" + "\n".join(table(rows)))


if __name__ == "__main__":
    main()
