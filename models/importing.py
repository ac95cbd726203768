"""Any ONNX image network, made into a file that explains itself: uint8 input, normalisation and card inside."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from models.card import (
    KEY,
    MAX_BATCH,
    SCALES,
    Cut,
    Label,
    ModelCard,
    Normalization,
    Scale,
    card_of,
    write_card,
)
from models.errors import GraftError, InputError, ModelError
from models.files import sha256
from models.graph import (
    FLOATS,
    element_type,
    input_names,
    lifted,
    load,
    opset_of,
    producers,
    prune,
    rename,
    shape_of,
)
from models.guessing import Guesses, find_logits, guess_labels, guess_scale
from models.names import INPUT, LOGITS, PROBABILITIES
from models.nodes import Nodes, floats
from models.opset import IR_VERSION, OPSET
from models.preprocessing import MAX_SIDE, Interpolation, Preprocessing
from models.runtime import OnnxSession, RuntimeConfig, zeros
from models.settings import setting, settings
from models.truncation import list_cuts

Layout = Literal["nchw", "nhwc"]
CROP = 0.875  # of the shorter side: what the ImageNet networks of TensorFlow, timm and torchvision are measured at


@settings
class ImportOptions:
    """What the user knows of a network; None is guessed, and the guess is said."""

    name: str | None = setting(None, "What the model is called.", unset="the file's name")
    labels: tuple[Label, ...] | None = setting(
        None, "One class a line: a name, or id, tab, name.", unset="guessed", metavar="FILE"
    )
    size: tuple[int, int] | None = setting(
        None, "Input size: 224, or HEIGHTxWIDTH.", least=1, unset="guessed", metavar="SIZE"
    )
    resize: Literal["shorter", "squash"] | None = setting(
        None,
        "shorter:256 scales the shorter side and crops; squash scales both.",
        unset="guessed",
        metavar="HOW",
    )
    resize_to: int | None = setting(
        None, "Length of the shorter side before it is cropped.", unset="guessed", least=1
    )
    crop_fraction: float = setting(1.0, "Central part of both sides that is kept first.", above=0, most=1)
    interpolation: Interpolation | None = setting(None, "How pixels are resampled.", unset="guessed")
    scale: Scale | Normalization | None = setting(
        None,
        f"Values that the network takes: {', '.join(SCALES)}, or mean/std as r,g,b/r,g,b.",
        unset="guessed",
        metavar="SCALE",
    )
    layout: Layout | None = setting(None, "Order of the axes of its input.", unset="guessed")


def as_graft_model(path: Path) -> tuple[ModelProto, tuple[str, ...]]:
    """The model of a file, imported with guesses unless it has a card, and the guesses.

    Raises:
        ModelError: not an ONNX model, or none that takes images.
    """
    model = load(str(path))
    if card_of(model, str(path)):
        return model, ()
    return import_model(path)


def import_model(path: Path, options: ImportOptions | None = None) -> tuple[ModelProto, tuple[str, ...]]:
    """Give a network a uint8 (N, H, W, 3) input, `logits` and `probabilities`, and a card; and say what was guessed.

    A network that ends in something else than classes becomes a features model, with its own outputs.

    Raises:
        ModelError: not an ONNX model, none that takes one image, or labels that do not fit its outputs.
        InputError: the file was imported already, or options that contradict each other or the network.
    """
    options = options or ImportOptions()
    loaded = load(str(path))
    if any(entry.key == KEY for entry in loaded.metadata_props):
        raise InputError(
            f"{path}: explains itself already, and every command takes it as it is. To change its labels or "
            "preprocessing, import the network that it was made from."
        )
    metadata = {entry.key: entry.value for entry in loaded.metadata_props}
    model = _to_our_opset(loaded)
    guesses = Guesses()
    source, layout, size = _image_input(model, path, options, guesses)
    batch_size = _free_batch(model, source)
    if batch_size is not None and batch_size > MAX_BATCH:
        raise ModelError(
            f"{path}: takes {batch_size:,} images at a time; expected at most {MAX_BATCH}. Export it for fewer."
        )
    probe = _dry_run(model, source, size, layout, path)
    ending = find_logits(model, probe, options.labels, guesses)
    classes = 0 if ending is None else int(np.prod(probe[ending.output].shape[1:]))
    normalization = _normalization(model, path, source, size, classes, options, guesses)
    labels = () if ending is None else options.labels or guess_labels(path, metadata, classes, guesses)
    if ending is not None and len(labels) != classes:
        raise ModelError(f"{path}: {len(labels)} labels were given and the network has {classes} outputs.")
    _prepend_input(model, source, layout, size, normalization)
    if ending is not None:
        _append_outputs(model, ending.logits, ending.from_probabilities)
    else:
        _keep_outputs(model, probe)
    card = ModelCard(
        name=options.name or path.stem,
        task="features" if ending is None else "classification",
        preprocessing=_preprocessing(options, size, guesses),
        normalization=normalization,
        labels=labels,
        cuts=_cuts(model),
        source=path.name,
        weights_sha256=sha256(path),
        batch_size=batch_size,
    )
    write_card(model, card)
    return model, guesses.notes


def _to_our_opset(model: ModelProto) -> ModelProto:
    """Lift a network of an older opset to ours; leave what cannot be lifted, and what is newer, as it is."""
    version = opset_of(model)
    if version < OPSET:
        # The converter lacks some operators; what is put around the network fits any opset.
        with contextlib.suppress(ModelError):
            model = lifted(model)
    if version <= OPSET:
        model.ir_version = IR_VERSION
    fed = input_names(model.graph)
    inputs = [value for value in model.graph.input if value.name in fed]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def _image_input(
    model: ModelProto, path: Path, options: ImportOptions, guesses: Guesses
) -> tuple[str, Layout, tuple[int, int]]:
    """Name, layout and (height, width) of the one image input."""
    if len(model.graph.input) != 1:
        names = ", ".join(value.name for value in model.graph.input) or "none"
        raise ModelError(f"{path}: its inputs are {names}; expected one image. Is it an image classifier?")
    value = model.graph.input[0]
    shape, kind = shape_of(value), element_type(value)
    if len(shape) != 4 or kind not in (*FLOATS, TensorProto.UINT8):
        raise ModelError(
            f"{path}: its input {value.name} is {TensorProto.DataType.Name(kind)} {list(shape)}; expected images, "
            "float or uint8, (N, 3, H, W) or (N, H, W, 3). Is it an image classifier?"
        )
    layout = options.layout or _layout(shape, guesses)
    sides = shape[2:] if layout == "nchw" else shape[1:3]
    if (shape[1] if layout == "nchw" else shape[3]) not in (3, -1):
        raise ModelError(f"{path}: its input {list(shape)} does not take 3 colours; expected RGB images.")
    if min(sides) > 0:
        if options.size not in (None, tuple(sides)):
            raise ModelError(
                f"{path}: size {options.size} was asked for and the network takes {tuple(sides)} only."
            )
        return value.name, layout, _bounded(path, (sides[0], sides[1]))
    size = options.size or guesses.take((224, 224), "size 224 x 224, since the file does not say (--size)")
    return value.name, layout, _bounded(path, size)


def _bounded(path: Path, size: tuple[int, int]) -> tuple[int, int]:
    if max(size) > MAX_SIDE:
        raise ModelError(
            f"{path}: images of {size[0]} x {size[1]} pixels; expected at most {MAX_SIDE} a side. "
            "Export it for smaller ones."
        )
    return size


def _normalization(
    model: ModelProto,
    path: Path,
    source: str,
    size: tuple[int, int],
    classes: int,
    options: ImportOptions,
    guesses: Guesses,
) -> Normalization:
    """What is done to the pixels before the network: nothing where it takes bytes."""
    scale = options.scale
    if element_type(model.graph.input[0]) == TensorProto.UINT8:
        if scale not in (None, "0..255"):
            raise InputError(f"{path}: takes bytes, which are not scaled; leave --scale out.")
        return SCALES["0..255"]
    if isinstance(scale, Normalization):
        return scale
    return SCALES[scale or guess_scale(model, source, size, classes, guesses)]


def _layout(shape: tuple[int, ...], guesses: Guesses) -> Layout:
    if 3 in (shape[1], shape[3]):
        return "nchw" if shape[1] == 3 else "nhwc"
    return guesses.take("nchw", "layout nchw, since the file does not say (--layout)")


def _free_batch(model: ModelProto, source: str) -> int | None:
    """Let the batch vary. Where the network does not bear it, its fixed batch size is returned."""
    fixed = shape_of(model.graph.input[0])[0]
    if fixed <= 0:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        return None
    trial = copy.deepcopy(model)
    for value in (*trial.graph.input, *trial.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del trial.graph.value_info[:]
    try:
        session = OnnxSession(trial.SerializeToString(), RuntimeConfig(device="cpu"))
        results = session.run(zeros(session, 2))
    except GraftError:
        return fixed
    if any(len(result) != 2 for result in results if _has_rows(result)):
        return fixed
    model.CopyFrom(trial)
    return None


def _dry_run(
    model: ModelProto, source: str, size: tuple[int, int], layout: str, path: Path
) -> dict[str, NDArray[Any]]:
    """Outputs for one blank image, those without a row an image left out: they tell what the file may not."""
    session = OnnxSession(model.SerializeToString(), RuntimeConfig(device="cpu"))
    blank = zeros(session, 1)[source]
    shape = (len(blank), 3, *size) if layout == "nchw" else (len(blank), *size, 3)
    try:
        results = session.run({source: np.zeros(shape, blank.dtype)})
    except GraftError as exc:
        raise ModelError(f"{path}: it cannot run on one image of {size}: {exc}") from exc
    outputs = {n: v for n, v in zip(session.outputs, results, strict=True) if _has_rows(v)}
    if not outputs:
        raise ModelError(
            f"{path}: its outputs are {', '.join(session.outputs)}, none of them a tensor with a row for each image. "
            "Is it an image classifier?"
        )
    return outputs


def _has_rows(result: Any) -> bool:
    """Whether an output is a tensor of at least one axis; others are numbers, or lists of tensors."""
    return isinstance(result, np.ndarray) and result.ndim > 0


def _prepend_input(
    model: ModelProto, source: str, layout: str, size: tuple[int, int], normalization: Normalization
) -> None:
    """uint8 (N, H, W, 3) named `image` -> what the network took so far."""
    graph = model.graph
    kind, batch = element_type(graph.input[0]), shape_of(graph.input[0])[0]
    rename(graph, source, "graft/input")
    for name in (INPUT, LOGITS, PROBABILITIES):
        if name in producers(graph):
            rename(graph, name, f"graft/{name}")
    nodes, x = Nodes("graft/"), INPUT
    if layout == "nchw":
        x = nodes.add("Transpose", x, perm=[0, 3, 1, 2])
    if kind in FLOATS:
        mean, std = np.array(normalization.mean), np.array(normalization.std)
        shape = (1, 3, 1, 1) if layout == "nchw" else (1, 1, 1, 3)
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        scale = nodes.constant("scale", (1 / (255 * std)).reshape(shape), dtype)
        shift = nodes.constant("shift", (-mean / std).reshape(shape), dtype)
        scaled = nodes.add("Mul", nodes.add("Cast", x, to=kind), scale)
        nodes.add("Add", scaled, shift, output="graft/input")
    else:
        nodes.add("Identity", x, output="graft/input")
    nodes.append_to(graph, first=True)
    del graph.input[:]
    image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch if batch > 0 else "N", *size, 3])
    graph.input.append(image)


def _append_outputs(model: ModelProto, logits: str, from_probabilities: bool) -> None:
    """Make the network end in float32 `logits` and `probabilities`, (N, classes)."""
    graph = model.graph
    if logits in (LOGITS, PROBABILITIES):
        logits = f"graft/{logits}"  # `_prepend_input` moved it out of the way
    nodes = Nodes("graft/end/")
    flat = nodes.add("Flatten", logits, axis=1)
    if from_probabilities:  # the logarithm of probabilities is a set of logits that gives them
        wide = nodes.add("Cast", flat, to=TensorProto.FLOAT)
        positive = nodes.add("Max", wide, nodes.constant("tiny", np.finfo(np.float32).tiny))
        nodes.add("Log", positive, output=LOGITS)
    else:
        nodes.add("Cast", flat, to=TensorProto.FLOAT, output=LOGITS)
    nodes.add("Softmax", LOGITS, output=PROBABILITIES, axis=1)
    nodes.append_to(graph)
    del graph.output[:], graph.value_info[:]
    graph.output.extend(floats(name, ["N", None]) for name in (LOGITS, PROBABILITIES))
    prune(graph, (LOGITS, PROBABILITIES))


def _keep_outputs(model: ModelProto, probe: dict[str, NDArray[Any]]) -> None:
    """Leave the outputs as they are, with the shapes that the dry run gave them."""
    del model.graph.output[:], model.graph.value_info[:]
    for name, value in probe.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        model.graph.output.append(helper.make_tensor_value_info(name, kind, ["N", *value.shape[1:]]))
    prune(model.graph, probe)


def _preprocessing(options: ImportOptions, size: tuple[int, int], guesses: Guesses) -> Preprocessing:
    resize = options.resize
    resize_to = options.resize_to
    if resize is None and resize_to is None and options.crop_fraction == 1.0:
        resize_to = round(max(size) / CROP)
        guesses.take(None, f"shorter side to {resize_to}, centre cropped to {size[0]} x {size[1]} (--resize)")
    interpolation = options.interpolation or "bilinear"
    try:
        return Preprocessing(size, resize or "shorter", resize_to, options.crop_fraction, interpolation)
    except ValueError as exc:
        raise InputError(f"the images cannot be prepared so: {exc}. Choose other options.") from exc


def _cuts(model: ModelProto) -> tuple[Cut, ...]:
    """Cut points: where branches meet, and `pool`, the last vector that is a mean over all positions."""
    cuts = list_cuts(model)
    pooled = next((cut for cut in reversed(cuts) if len(cut.shape) == 1), None)
    if pooled is None or "pool" in producers(model.graph) or pooled.name in (LOGITS, PROBABILITIES):
        return cuts
    if pooled.name in [value.name for value in model.graph.output]:  # users know it under this name
        return cuts
    rename(model.graph, pooled.name, "pool")
    return tuple(dataclasses.replace(cut, name="pool") if cut is pooled else cut for cut in cuts)
