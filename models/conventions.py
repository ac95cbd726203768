"""The values that networks take for pixels: the known conventions, and which of them a network follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto

from models.card import SCALES, Channels, Normalization, Scale
from models.errors import InputError
from models.graph import element_type
from models.guessing import Guesses
from models.import_options import ImportOptions
from models.input_map import InputMap, input_map, input_range
from models.stated import Stated

# What networks make of pixels before their first layer, (x / 255 - mean) / std of R, G, B.
_INSIDE: Mapping[str, Normalization] = {
    "ImageNet's mean and deviation": SCALES["imagenet"],
    "-1..1": SCALES["-1..1"],
    "0..1": SCALES["0..1"],
    "0..255": SCALES["0..255"],
    "ImageNet's mean taken off, as Caffe did": SCALES["caffe"],
    # Source: openai/CLIP, clip.py, `_transform`.
    "CLIP's mean and deviation": Normalization(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    ),
}
_IN_WORDS: Mapping[Scale, str] = {
    "imagenet": "pixels with ImageNet's mean and deviation taken off",
    "caffe": "pixels 0..255 with ImageNet's mean taken off, as Caffe did",
    "-1..1": "pixels -1..1",
    "0..1": "pixels 0..1",
    "0..255": "pixels 0..255",
}
# The most frequent first; those with blue first are Caffe's, Custom Vision's and what was made of them.
ALTERNATIVES: tuple[tuple[Scale, Channels], ...] = (
    ("imagenet", "rgb"),
    ("-1..1", "rgb"),
    ("0..1", "rgb"),
    ("0..255", "rgb"),
    ("0..255", "bgr"),
    ("caffe", "bgr"),
)
_CLOSE = 0.02  # of 1, for means; (x - 127) / 128 is -1..1
_NEAR = 0.05  # relative, for deviations
# Of ImageNet's pixels from 0 to 1, all channels together: what a network is likely to bring to 0 and 1.
_MEAN, _STD = 0.45, 0.27
# ONNX, docs/MetadataProps.md; Custom Vision and WinML write them.
_RANGES: Mapping[str, Scale] = {
    "NominalRange_0_255": "0..255",
    "Normalized_0_1": "0..1",
    "Normalized_1_1": "-1..1",
}
_FORMATS: Mapping[str, Channels] = {"Bgr8": "bgr", "Bgra8": "bgr", "Rgb8": "rgb", "Rgba8": "rgb"}


@dataclass(frozen=True)
class PixelValues:
    """What a network takes for pixels: a scale, of R, G, B, and the order of its channels."""

    normalization: Normalization
    channels: Channels


def pixel_values(
    model: ModelProto,
    source: str,
    layout: str,
    size: tuple[int, int],
    classes: int,
    metadata: Mapping[str, str],
    beside: Stated | None,
    options: ImportOptions,
    guesses: Guesses,
) -> PixelValues:
    """What is done to the pixels before the network: as asked for, as the file says or one beside it, as computed,
    or guessed.

    Raises:
        InputError: a scale was asked for and the network takes bytes.
    """
    computed = _computed(input_map(model, source, layout, size))
    stated_scale, stated_channels = _stated(metadata)
    asked, channels = options.scale, options.channels
    if beside is not None and beside.normalization is None:
        beside = None
    if element_type(model.graph.input[0]) == TensorProto.UINT8:
        if beside is not None and beside.normalization != SCALES["0..255"]:
            guesses.note(
                f"{beside.source} beside it says mean and deviation, which are not applied: the network takes bytes"
            )
        if asked not in (None, "0..255"):
            raise InputError("it takes bytes, which are not scaled; leave --scale out.")
        order = channels or stated_channels or (computed.channels if computed else "rgb")
        return PixelValues(SCALES["0..255"], order)
    if isinstance(asked, Normalization):
        return PixelValues(asked, channels or "rgb")
    if asked is not None:
        if computed is not None and computed.known and computed.scale != asked:
            guesses.note(
                f"--scale {asked} was asked for; by its graph the network takes {_IN_WORDS[computed.scale]}"
            )
        return PixelValues(SCALES[asked], channels or _usual_order(asked, guesses))
    if stated_scale is not None:
        order = channels or stated_channels or "rgb"
        guesses.note(f"read from its metadata: {_IN_WORDS[stated_scale]}, {order}")
        return PixelValues(SCALES[stated_scale], order)
    if beside is not None and beside.normalization is not None:
        words = _in_words(beside.normalization)
        if computed is None or not computed.known or _alike(SCALES[computed.scale], beside.normalization):
            order = channels or stated_channels or beside.channels or "rgb"
            first = ", blue first" if order == "bgr" else ""
            guesses.note(f"read from {beside.source}: {words}{first} (--scale, --channels)")
            return PixelValues(beside.normalization, order)
        guesses.note(
            f"{beside.source} beside it says {words}, and the network's own arithmetic says otherwise, which is "
            "believed: an export may hold the scaling already (--scale decides)"
        )
    if computed is not None and computed.known:
        order = channels or stated_channels or computed.channels
        reversed_ = ", blue first" if order == "bgr" else ""
        guesses.note(
            f"computed: {_IN_WORDS[computed.scale]}{reversed_}, of which the network itself makes "
            f"{computed.inside} (--scale, --channels)"
        )
        return PixelValues(SCALES[computed.scale], order)
    if computed is not None:
        scale, reason = computed.scale, "by the arithmetic that the network begins with"
    else:
        scale, reason = _usual(model, source, size, classes)
    order = channels or stated_channels or "rgb"
    others = ", ".join(name for name, its_order in ALTERNATIVES if its_order == "rgb" and name != scale)
    guesses.take(
        None,
        f"{_IN_WORDS[scale]}, {reason} (--scale); the file does not say it, and it may be {others}, or blue may come "
        "first (--channels bgr): `graft models import FILE --check PHOTO` shows what each gives",
    )
    return PixelValues(SCALES[scale], order)


def _in_words(normalization: Normalization) -> str:
    for name, words in _IN_WORDS.items():
        if _alike(normalization, SCALES[name]):
            return words
    mean, std = (
        ", ".join(f"{value:.4g}" for value in three) for three in (normalization.mean, normalization.std)
    )
    return f"pixels 0..1 with mean {mean} and deviation {std}"


@dataclass(frozen=True)
class _Computed:
    """A scale that goes with what a network does to it; `known`: that is a convention, `inside`, not just likely."""

    scale: Scale
    channels: Channels
    inside: str = ""

    @property
    def known(self) -> bool:
        return bool(self.inside)


def _computed(known: InputMap | None) -> _Computed | None:
    """The scale at which an input map ends in a known convention, else the likeliest; None without a map."""
    if known is None or (np.allclose(known.gain, 1) and np.allclose(known.shift, 0)):
        return None
    outer: tuple[Scale, ...] = ("0..255", "0..1", "imagenet", "-1..1")
    for scale in outer:
        inner = _composed(known, SCALES[scale])
        for words, convention in _INSIDE.items():
            if _alike(inner, convention):
                return _Computed(scale, "rgb", words)
            if _alike(inner, _reversed(convention)):
                return _Computed(scale, "bgr", words)
    return _Computed(min(outer, key=lambda scale: _strangeness(_composed(known, SCALES[scale]))), "rgb")


def _composed(inner: InputMap, outer: Normalization) -> Normalization:
    """What is done to pixels in all, before and inside the network: gain * (u - m) / s + shift = (u - m') / s'."""
    gain, shift = np.array(inner.gain), np.array(inner.shift)
    std = np.array(outer.std) / gain
    mean = np.array(outer.mean) - shift * std
    return Normalization((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _alike(one: Normalization, other: Normalization) -> bool:
    means = np.abs(np.subtract(one.mean, other.mean)).max()
    return bool(means < _CLOSE) and np.allclose(one.std, other.std, rtol=_NEAR)


def _reversed(one: Normalization) -> Normalization:
    return Normalization((one.mean[2], one.mean[1], one.mean[0]), (one.std[2], one.std[1], one.std[0]))


def _strangeness(inner: Normalization) -> float:
    """How far ordinary photos are from mean 0 and deviation 1 behind a map."""
    mean, std = np.array(inner.mean), np.array(inner.std)
    return float(np.abs(np.log(np.abs(_STD / std))).mean() + np.abs((_MEAN - mean) / std).mean() / 4)


def _stated(metadata: Mapping[str, str]) -> tuple[Scale | None, Channels | None]:
    """What the metadata of a file says of the values that it takes."""
    scale = _RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    if is_ultralytics(metadata):  # ToTensor, then a mean of 0 and a deviation of 1
        scale = scale or "0..1"
    return scale, _FORMATS.get(metadata.get("Image.BitmapPixelFormat", ""))


def is_ultralytics(metadata: Mapping[str, str]) -> bool:
    """Whether a file is one of Ultralytics' classifiers. Source: `classify_transforms` in its data/augment.py."""
    return "ultralytics" in metadata.get("author", "").casefold() and metadata.get("task") == "classify"


def _usual_order(scale: Scale, guesses: Guesses) -> Channels:
    """The order of channels that comes with a scale where nothing is said."""
    if scale != "caffe":
        return "rgb"
    return guesses.take("bgr", "blue comes first, as Caffe's networks take it (--channels)")


def _usual(model: ModelProto, source: str, size: tuple[int, int], classes: int) -> tuple[Scale, str]:
    """The scale that networks of this kind take most often, and why."""
    quantised = input_range(model, source)
    if quantised is not None and quantised.high > quantised.low:
        return min(
            (scale for scale in SCALES if scale != "caffe"),
            key=lambda scale: _apart(quantised.low, quantised.high, SCALES[scale]),
        ), f"by the range of its quantised input, {quantised.low:.3g} to {quantised.high:.3g}"
    if classes == 1001 or size == (299, 299):
        return "-1..1", "as TensorFlow's networks take them"
    return "imagenet", "as most networks take them"


def _apart(low: float, high: float, scale: Normalization) -> float:
    """How far a range is from that of all pixels, in powers of the spread."""
    least, most = (-max(scale.mean) / max(scale.std), (1 - min(scale.mean)) / min(scale.std))
    spread = (high - low) / (most - least)
    return abs(math.log(spread)) + abs((low + high) - (least + most)) / (most - least)
