"""Any ONNX image network, made into a file that explains itself: uint8 input, normalisation and card inside."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from models.card import KEY, MAX_BATCH, ModelCard, card_of, write_card
from models.conventions import PixelValues, is_ultralytics, pixel_values
from models.cut_points import named_cuts
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
from models.guessing import Guesses, find_logits, guess_labels
from models.import_options import ImportOptions as ImportOptions
from models.import_options import Layout
from models.names import INPUT, LOGITS, PROBABILITIES
from models.nodes import Nodes, floats
from models.opset import IR_VERSION, OPSET
from models.preprocessing import MAX_SIDE, Preprocessing
from models.runtime import OnnxSession, RuntimeConfig, zeros

CROP = 0.875  # of the shorter side: what the ImageNet networks of TensorFlow, timm and torchvision are measured at


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
    source, layout, size = _image_input(model, path, metadata, options, guesses)
    batch_size = _free_batch(model, source)
    if batch_size is not None and batch_size > MAX_BATCH:
        raise ModelError(
            f"{path}: takes {batch_size:,} images at a time; expected at most {MAX_BATCH}. Export it for fewer."
        )
    probe = _dry_run(model, source, size, layout, path)
    ending = find_logits(model, probe, options.labels, guesses)
    classes = 0 if ending is None else int(np.prod(probe[ending.output].shape[1:]))
    values = _pixel_values(model, path, source, layout, size, classes, metadata, options, guesses)
    labels = () if ending is None else options.labels or guess_labels(path, metadata, classes, guesses)
    if ending is not None and len(labels) != classes:
        raise ModelError(f"{path}: {len(labels)} labels were given and the network has {classes} outputs.")
    _prepend_input(model, source, layout, size, values)
    if ending is not None:
        _append_outputs(model, ending.logits, ending.from_probabilities)
    else:
        _keep_outputs(model, probe)
    card = ModelCard(
        name=options.name or path.stem,
        task="features" if ending is None else "classification",
        preprocessing=_preprocessing(options, size, metadata, guesses),
        normalization=values.normalization,
        channels=values.channels,
        labels=labels,
        cuts=named_cuts(model),
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
    model: ModelProto, path: Path, metadata: Mapping[str, str], options: ImportOptions, guesses: Guesses
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
    sides = tuple(shape[2:] if layout == "nchw" else shape[1:3])
    if (shape[1] if layout == "nchw" else shape[3]) not in (3, -1):
        raise ModelError(f"{path}: its input {list(shape)} does not take 3 colours; expected RGB images.")
    if options.size is not None and any(
        side not in (-1, asked) for side, asked in zip(sides, options.size, strict=True)
    ):
        raise ModelError(f"{path}: size {options.size} was asked for and the network takes {sides} only.")
    return value.name, layout, _bounded(path, options.size or _size(sides, metadata, guesses))


def _size(sides: tuple[int, ...], metadata: Mapping[str, str], guesses: Guesses) -> tuple[int, int]:
    """(height, width), as far as the input or the metadata of the file says."""
    if min(sides) > 0:
        return sides[0], sides[1]
    # Ultralytics writes "imgsz": "[224, 224]", height and width.
    stated = re.fullmatch(r"[\[(]?\s*(\d{1,5})\s*,\s*(\d{1,5})\s*[\])]?", metadata.get("imgsz", ""))
    if stated and min(int(stated[1]), int(stated[2])) > 0:
        usual = int(stated[1]), int(stated[2])
        where = "from its metadata, 'imgsz'"
    else:
        usual, where = (max(*sides, 0) or 224,) * 2, "since the file does not say"
    height, width = (side if side > 0 else other for side, other in zip(sides, usual, strict=True))
    return guesses.take((height, width), f"size {height} x {width}, {where} (--size)")


def _bounded(path: Path, size: tuple[int, int]) -> tuple[int, int]:
    if max(size) > MAX_SIDE:
        raise ModelError(
            f"{path}: images of {size[0]} x {size[1]} pixels; expected at most {MAX_SIDE} a side. "
            "Export it for smaller ones."
        )
    return size


def _pixel_values(
    model: ModelProto,
    path: Path,
    source: str,
    layout: Layout,
    size: tuple[int, int],
    classes: int,
    metadata: Mapping[str, str],
    options: ImportOptions,
    guesses: Guesses,
) -> PixelValues:
    try:
        return pixel_values(model, source, layout, size, classes, metadata, options, guesses)
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc


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
    model: ModelProto, source: str, layout: str, size: tuple[int, int], values: PixelValues
) -> None:
    """uint8 (N, H, W, 3) named `image` -> what the network took so far."""
    graph = model.graph
    kind, batch = element_type(graph.input[0]), shape_of(graph.input[0])[0]
    rename(graph, source, "graft/input")
    for name in (INPUT, LOGITS, PROBABILITIES):
        if name in producers(graph):
            rename(graph, name, f"graft/{name}")
    nodes, x = Nodes("graft/"), INPUT
    order = [2, 1, 0] if values.channels == "bgr" else [0, 1, 2]
    if values.channels == "bgr":
        x = nodes.add("Gather", x, nodes.constant("order", order, np.int64), axis=3)
    if layout == "nchw":
        x = nodes.add("Transpose", x, perm=[0, 3, 1, 2])
    if kind in FLOATS:
        mean, std = np.array(values.normalization.mean)[order], np.array(values.normalization.std)[order]
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


def _preprocessing(
    options: ImportOptions, size: tuple[int, int], metadata: Mapping[str, str], guesses: Guesses
) -> Preprocessing:
    resize, resize_to = options.resize, options.resize_to
    if resize is None and resize_to is None and options.crop_fraction == 1.0:
        if is_ultralytics(metadata):  # Resize(size), CenterCrop(size)
            guesses.note("read from its metadata: prepared as Ultralytics' classifiers are (--resize)")
        else:
            resize_to = round(max(size) / CROP)
            guesses.take(
                None, f"shorter side to {resize_to}, centre cropped to {size[0]} x {size[1]} (--resize)"
            )
    try:
        return Preprocessing(
            size,
            resize or "shorter",
            resize_to,
            options.crop_fraction,
            options.interpolation or "bilinear",
            options.pad_value,
        )
    except ValueError as exc:
        raise InputError(f"the images cannot be prepared so: {exc}. Choose other options.") from exc
