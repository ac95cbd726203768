"""Measures one exported network: what Graft makes of the file, beside what the network itself says.

    python -m benchmarks.architectures.measure FOLDER NAME EXPORTER

Reads NAME.EXPORTER.onnx, NAME.npz and NAME.json, writes results/NAME.EXPORTER.json. The file is imported without
options. Of two images at the network's own size these are compared: the five best classes; default features with what
the last layer reads; the slopes of the best logit over the pixels, through the whole network; the default Grad-CAM map.
Differences are parts of the largest value. An int8 version is made, and compared on images that it has not seen; blocks
are trained for two epochs on 48 images in two colours, and the finished file proves itself in a fresh process.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto
from PIL import Image

from benchmarks.architectures.references import sums
from finetune.autodiff import Graph, Session, gradients, import_onnx
from finetune.explain.gradcam import GradCam
from finetune.tuner import FineTuner
from models.agreement import compare
from models.card import ModelCard, Normalization, card_of
from models.errors import GraftError
from models.features import FeatureOptions, default_cuts, feature_graph
from models.import_options import ImportOptions
from models.importing import import_model
from models.model import Model
from models.names import LOGITS
from models.preprocessing import Preprocessing
from models.quantization import quantize
from models.runtime import RuntimeConfig
from models.serialized import session_of, write_model

CPU = RuntimeConfig(device="cpu", threads=1)
SAME = 1e-3  # of the largest value; random networks of 300 layers enlarge the last bit a hundredfold
_SUMS = 1e-3  # by which a tensor of the original is known again
_UNKNOWN = "the file does not say it"  # of the note about a scale that was guessed
Maps = list[dict[str, Any]]


@dataclass
class Row:
    """What was found of a file: for each column a figure, or why there is none."""

    network: str
    exporter: str
    scale: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def measure(self, column: str, what: Callable[[], float]) -> None:
        """Fill a column; what Graft refuses is a failure with its sentence, and so is a crash."""
        try:
            self.figures[column] = what()
        except GraftError as exc:
            self.failures[column] = f"{type(exc).__name__}: {exc}"
        except Exception as exc:  # not a sentence of ours: a defect
            self.failures[column] = f"CRASH {type(exc).__name__}: {exc}"


def imported(row: Row, path: Path, about: dict[str, Any]) -> ModelProto | None:
    """The network as it is imported without options; with the right scale where the file could not say it."""
    try:
        model, notes = import_model(path)
    except GraftError as exc:
        row.failures["import"] = f"{type(exc).__name__}: {exc}"
        return None
    card = _card(model)
    right = Normalization(tuple(about["mean"]), tuple(about["std"]))
    alike = all(
        np.allclose(getattr(card.normalization, each), getattr(right, each), atol=2e-2)
        for each in ("mean", "std")
    )
    alike = alike and card.channels == about["channels"]
    unknown = any(_UNKNOWN in note for note in notes)
    row.scale = ("guessed" if unknown else "computed") if alike else "told" if unknown else ""
    if not row.scale:
        row.failures["import"] = f"taken for {card.normalization}, {card.channels}, without a word"
    elif card.batch_size is not None:
        row.failures["import"] = "its batch could not be freed"
    elif card.preprocessing.size != (about["side"], about["side"]):
        row.failures["import"] = f"size {card.preprocessing.size}"
    elif len(card.labels) != about["classes"]:
        row.failures["import"] = f"{len(card.labels)} classes; expected {about['classes']}"
    if not alike:
        model, _ = import_model(path, ImportOptions(scale=right, channels=about["channels"]))
    return model


def _card(model: ModelProto) -> ModelCard:
    card = card_of(model)
    assert card is not None
    return card


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest, in parts of the largest value; infinite where the shapes differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30))


def run(model: ModelProto, images: np.ndarray, output: str) -> np.ndarray:
    """An output for uint8 images, as many at a time as the network takes."""
    return Model(session_of(model, CPU), _card(model)).run(images, [output])[0]


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
    """Those of the best logit over what the network took before it was imported, for one image.

    Where a unit stands at the kink of its Relu, those of the original change by per cents with the last bits of the
    pixels: the closest of those counts.
    """
    card = _card(model)
    with Graph() as graph:
        part = import_onnx(model, "graft/input", outputs=[LOGITS])
        wanted = gradients(part.outputs[LOGITS][:, best], [part.input])
    mean, std = (np.array(v, np.float32) for v in (card.normalization.mean, card.normalization.std))
    x = ((known["images"][:1] / np.float32(255) - mean) / std).astype(np.float32)  # (1, H, W, 3)
    x = x[..., ::-1] if card.channels == "bgr" else x
    first = known["slopes"].shape[1] == 3
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2) if first else x)
    ours = Session(graph, "cpu").run(wanted[0], {part.input: x})[0]
    return min(difference(ours, theirs) for theirs in known["slopes"])


def grad_cam(model: ModelProto, known: dict[str, np.ndarray], best: int, maps: Maps) -> float:
    """The difference from the map of a tensor of the original that holds the same values."""
    card = _card(model)
    cam = GradCam(model, device="cpu")
    # Pixels as they are: the original has not cropped them.
    squashed = Preprocessing(card.preprocessing.size, "squash")
    cam.card = cam._model.card = replace(card, preprocessing=squashed)
    (heat,) = cam.explain(known["images"][0], [card.labels[best].id])
    (values,) = cam._model.run(known["images"][:1], [cam.cut])
    of_it = sums(values)
    fits = [
        np.array(reading)
        for entry in maps
        if sorted(entry["shape"]) == sorted(values.shape[1:])
        and np.allclose(entry["sums"], of_it, rtol=_SUMS, atol=_SUMS * abs(of_it[1]))
        for reading in entry["maps"]
        if len(reading) == heat.raw.size
    ]
    if heat.raw.shape[0] != heat.raw.shape[1]:
        raise AssertionError(f"the map of a square image is {heat.raw.shape}")
    if not fits:
        raise AssertionError(f"no tensor of the original holds what {cam.cut} {values.shape} does")
    return min(difference(heat.raw.ravel(), reading) for reading in fits)


def int8(row: Row, model: ModelProto, photos: list[np.ndarray]) -> float:
    """The share of images with the same best class in the int8 version and the float32 one."""
    small = quantize(model, iter(photos[::2]))
    before, after = (Model(session_of(m, CPU), _card(model)) for m in (model, small))
    compared = compare(before, after, photos[1::2])
    row.figures["cosine"] = compared.cosine
    assert compared.agreement is not None
    return compared.agreement


def blocks(path: Path, photos: Path, folder: Path) -> float:
    """By how much a fresh process, asked with the finished file, differs from the training, in probabilities."""
    training = {"epochs": 2, "block_epochs": 2}
    tuner = FineTuner(path, method="blocks", views=1, training=training, threads=1, out=folder, cache=False)
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


def measured(folder: Path, network: str, exporter: str) -> Row:
    """Measure one file."""
    row = Row(network, exporter)
    about = json.loads((folder / f"{network}.json").read_text(encoding="utf-8"))
    if exporter in about.get("refused", {}):
        row.failures["export"] = about["refused"][exporter]
        return row
    path = folder / f"{network}.{exporter}.onnx"
    known = dict(np.load(folder / f"{network}.npz"))
    about["classes"] = known["logits"].shape[1]
    model, best = imported(row, path, about), about["best"]
    if model is None:
        return row
    row.measure("top-5", lambda: top_five(model, known))
    row.measure("features", lambda: features(model, known))
    row.measure("gradients", lambda: slopes(model, known, best))
    row.measure("Grad-CAM", lambda: grad_cam(model, known, best, about["maps"]))
    for column in ("top-5", "features", "gradients", "Grad-CAM"):
        if row.figures.get(column, 0.0) > SAME:
            row.failures[column] = f"differs from the original: {row.figures[column]:.1e}"
    with tempfile.TemporaryDirectory() as work:
        photos = colours(Path(work) / "photos", about["side"])
        decoded = [np.asarray(Image.open(photo)) for photo in sorted(photos.rglob("*.png"))]
        row.measure("int8", lambda: int8(row, model, decoded))
        write_model(Path(work) / "imported.onnx", model)
        row.measure("blocks", lambda: blocks(Path(work) / "imported.onnx", photos, Path(work) / "run"))
    return row


def main() -> None:
    """Measure what is named, and leave the result in a file."""
    folder, network, exporter = Path(sys.argv[1]), *sys.argv[2:]
    row = measured(folder, network, exporter)
    results = folder / "results"
    results.mkdir(exist_ok=True)
    (results / f"{network}.{exporter}.json").write_text(json.dumps(asdict(row), indent=1), encoding="utf-8")
    figures = ", ".join(f"{name} {value:.2g}" for name, value in row.figures.items())
    print(f"{network}, {exporter}: {row.scale}, {figures} {row.failures or ''}", flush=True)


if __name__ == "__main__":
    main()
