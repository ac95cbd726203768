"""Any ONNX image network, made into a file that explains itself: uint8 input, normalisation and card inside."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper

from models.batch import free_batch
from models.card import KEY, MAX_BATCH, Cut, Label, ModelCard, Target, card_of, refuse_any_size, write_card
from models.conventions import PixelValues, is_ultralytics, pixel_values
from models.cut_points import named_cuts
from models.dry_run import dry_run
from models.end_nodes import moved, put_ending
from models.endings import Ending, Probe, find_ending
from models.errors import InputError, ModelError
from models.graph import (
    FLOATS,
    element_type,
    input_names,
    lifted,
    opset_of,
    producers,
    reader_counts,
    rename,
    shape_of,
)
from models.guessing import Guesses, guess_labels, label_counts
from models.import_options import ImportOptions as ImportOptions
from models.import_options import Layout
from models.loading import digest, load
from models.names import INPUT, LOGITS, PROBABILITIES, VALUE
from models.nodes import Nodes
from models.opset import IR_VERSION, OPSET
from models.other_tasks import refuse_by_name, refuse_by_shape
from models.outputs import Outputs, numeric_outputs
from models.plain import FOR_ONE_PROCESSOR, OLDEST, is_for_one_processor, to_plain_operators
from models.pool_padding import keep_padding
from models.preprocessing import MAX_SIDE, Interpolation, Preprocessing
from models.stated import Resize, Stated, stated_beside
from models.truncation import list_cuts

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
    refuse_any_size(metadata, str(path))
    guesses = Guesses()
    model = _to_our_opset(loaded, guesses)
    if is_for_one_processor(model):
        guesses.note(f"Warning: {FOR_ONE_PROCESSOR}.")
    refuse_by_name(model, metadata, options, path)
    beside = stated_beside(path, guesses)
    source, layout, size = _image_input(model, path, metadata, beside, options, guesses)
    outputs = numeric_outputs(model, path, guesses)
    batch_size = free_batch(model, (3, *size) if layout == "nchw" else (*size, 3))
    if batch_size is not None and batch_size > MAX_BATCH:
        raise ModelError(
            f"{path}: takes {batch_size:,} images at a time; expected at most {MAX_BATCH}. Export it for fewer."
        )
    probe = dry_run(model, source, size, layout, path, guesses)
    counts = [*map(len, outputs.labels.values()), *label_counts(path, metadata)]
    ending = find_ending(model, outputs, probe, counts, batch_size or 1, path, options, guesses)
    values = _pixel_values(
        model, path, source, layout, size, ending.classes, metadata, beside, options, guesses
    )
    if ending.task == "features" and not ending.by_name and options.task is None:
        refuse_by_shape(model, {outputs.name(name): probe[name] for name in ending.tensors}, size, path)
    labels = _labels(ending, outputs, path, metadata, options, guesses)
    renamed = _prepend_input(model, source, layout, size, values)
    ending, probe = moved(ending, renamed), {renamed.get(name, name): value for name, value in probe.items()}
    put_ending(model, ending, probe)
    card = ModelCard(
        name=options.name or path.stem,
        task=ending.task,
        preprocessing=_preprocessing(options, size, metadata, beside, guesses),
        normalization=values.normalization,
        channels=values.channels,
        labels=labels,
        cuts=_cuts(ending, probe, model),
        source=path.name,
        weights_sha256=digest(path),
        batch_size=batch_size,
        target=Target() if ending.task == "regression" else None,
    )
    write_card(model, card)
    return model, guesses.notes


def _labels(
    ending: Ending,
    outputs: Outputs,
    path: Path,
    metadata: Mapping[str, str],
    options: ImportOptions,
    guesses: Guesses,
) -> tuple[Label, ...]:
    """A label for each class: those given, those in the file or beside it, or numbers."""
    if not ending.classes:
        return ()
    zipped = next((labels for labels in outputs.labels.values() if len(labels) == ending.classes), None)
    labels = options.labels or zipped or guess_labels(path, metadata, ending.classes, guesses)
    if len(labels) == 1 and ending.classes == 2:
        (yes,) = labels
        guesses.note(f"one label for two classes: the other one is called 'not {yes.name}'")
        return Label(f"not {yes.id}", f"not {yes.name}"), yes
    if len(labels) != ending.classes:
        raise ModelError(
            f"{path}: {len(labels)} labels were given and the network has {ending.classes} outputs."
        )
    return labels


def _to_our_opset(model: ModelProto, guesses: Guesses) -> ModelProto:
    """Lift a network of an older opset to ours; leave what cannot be lifted, and what is newer, as it is.

    Inputs that no node reads are left out: exporters forget those whose numbers they have folded into others.
    """
    version = opset_of(model)
    if version < OPSET:
        # The converter lacks some operators; what is put around the network fits any opset.
        with contextlib.suppress(ModelError):
            model = lifted(model)
    if opset_of(model) >= OLDEST:
        to_plain_operators(model)
        keep_padding(model)
    if version <= OPSET:
        model.ir_version = IR_VERSION
    fed, read = set(input_names(model.graph)), reader_counts(model.graph)
    inputs = [value for value in model.graph.input if value.name in fed]
    used = [value for value in inputs if read[value.name]] or inputs
    if len(used) < len(inputs):
        unread = ", ".join(value.name for value in inputs if not read[value.name])
        guesses.note(f"left out, because nothing in the network reads them: its inputs {unread}")
    del model.graph.input[:]
    model.graph.input.extend(used)
    return model


def _image_input(
    model: ModelProto,
    path: Path,
    metadata: Mapping[str, str],
    beside: Stated | None,
    options: ImportOptions,
    guesses: Guesses,
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
    return value.name, layout, _bounded(path, options.size or _size(sides, metadata, beside, guesses))


def _size(
    sides: tuple[int, ...], metadata: Mapping[str, str], beside: Stated | None, guesses: Guesses
) -> tuple[int, int]:
    """(height, width), as far as the input, the metadata of the file or a file beside it says."""
    if min(sides) > 0:
        return sides[0], sides[1]
    # Ultralytics writes "imgsz": "[224, 224]", height and width.
    stated = re.fullmatch(r"[\[(]?\s*(\d{1,5})\s*,\s*(\d{1,5})\s*[\])]?", metadata.get("imgsz", ""))
    if stated and min(int(stated[1]), int(stated[2])) > 0:
        usual = int(stated[1]), int(stated[2])
        where = "from its metadata, 'imgsz'"
    elif beside is not None and beside.size is not None:
        usual, where = beside.size, f"from {beside.source}"
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
    beside: Stated | None,
    options: ImportOptions,
    guesses: Guesses,
) -> PixelValues:
    try:
        return pixel_values(model, source, layout, size, classes, metadata, beside, options, guesses)
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc


def _layout(shape: tuple[int, ...], guesses: Guesses) -> Layout:
    if 3 in (shape[1], shape[3]):
        return "nchw" if shape[1] == 3 else "nhwc"
    return guesses.take("nchw", "layout nchw, since the file does not say (--layout)")


def _prepend_input(
    model: ModelProto, source: str, layout: str, size: tuple[int, int], values: PixelValues
) -> dict[str, str]:
    """uint8 (N, H, W, 3) named `image` -> what the network took so far; returns what tensors are called now."""
    graph = model.graph
    kind, batch = element_type(graph.input[0]), shape_of(graph.input[0])[0]
    rename(graph, source, "graft/input")
    made = producers(graph)
    renamed = {name: f"graft/{name}" for name in (INPUT, LOGITS, PROBABILITIES, VALUE) if name in made}
    for old, new in renamed.items():
        rename(graph, old, new)
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
    return renamed | {source: "graft/input"}


def _preprocessing(
    options: ImportOptions,
    size: tuple[int, int],
    metadata: Mapping[str, str],
    beside: Stated | None,
    guesses: Guesses,
) -> Preprocessing:
    asked = Resize(options.resize or "shorter", options.resize_to, options.crop_fraction, options.pad_value)
    interpolation = options.interpolation or (beside and beside.interpolation) or "bilinear"
    if options.resize is not None or options.resize_to is not None or options.crop_fraction != 1.0:
        return _plan(size, asked, interpolation)
    if is_ultralytics(metadata):  # Resize(size), CenterCrop(size)
        guesses.note("read from its metadata: prepared as Ultralytics' classifiers are (--resize)")
        return _plan(size, asked, interpolation)
    if beside is not None and (stated := beside.resize_for(size)) is not None:
        plan = _plan(size, stated, interpolation)
        guesses.note(f"read from {beside.source}: {plan.words()} (--resize, --interpolation)")
        if beside.size != size:
            guesses.note(
                f"{beside.source} beside it says {beside.in_words}, and images of {size[0]} x {size[1]} are given"
            )
        return plan
    plan = _plan(size, Resize("shorter", round(max(size) / CROP)), interpolation)
    guesses.take(None, f"{plan.words()} (--resize)")
    return plan


def _plan(size: tuple[int, int], how: Resize, interpolation: Interpolation) -> Preprocessing:
    try:
        return Preprocessing(size, how.resize, how.resize_to, how.crop_fraction, interpolation, how.pad_value)
    except ValueError as exc:
        raise InputError(f"the images cannot be prepared so: {exc}. Choose other options.") from exc


def _cuts(ending: Ending, probe: Probe, model: ModelProto) -> tuple[Cut, ...]:
    """Its cut points; features that have a name are the last of them, and no other one is the default."""
    if not ending.by_name:
        return named_cuts(model)
    ends = tuple(Cut(name, probe[name].shape[1:]) for name in ending.tensors)
    return (*(cut for cut in list_cuts(model) if cut.name not in ending.tensors), *ends)
