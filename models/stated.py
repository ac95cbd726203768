"""What frameworks write beside a network about the images that it takes.

transformers: preprocessor_config.json, or `image_processor` in processor_config.json. timm: `pretrained_cfg` in
config.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from models.card import Channels, Normalization
from models.guessing import Guesses
from models.preprocessing import MAX_SIDE, Interpolation
from models.wording import first_line

_LONGEST = 1 << 20  # bytes of a file that is read
_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
_TIMM = "config.json"
# Pillow's numbers, which transformers writes as `resample`.
_RESAMPLE: Mapping[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_NAMED: Mapping[str, Interpolation] = {name: name for name in _RESAMPLE.values()}
_CROP_PCT = 0.875  # timm/data/constants.py, DEFAULT_CROP_PCT
_LARGE = 384  # ConvNextImageProcessor squashes from here on, and crops below it
_LEVIT = 256 / 224  # LevitImageProcessor scales the shorter side to so much more than `shortest_edge`


@dataclass(frozen=True)
class Resize:
    """How images are brought to their size; the fields are those of `Preprocessing`."""

    resize: Literal["shorter", "squash", "pad"] = "shorter"
    resize_to: int | None = None
    crop_fraction: float = 1.0
    pad_value: int = 0


@dataclass(frozen=True)
class Stated:
    """What a file beside a network says; None where it says nothing of it. `source`: its name."""

    source: str
    normalization: Normalization | None = None
    channels: Channels | None = None
    size: tuple[int, int] | None = None  # (height, width)
    resize: Resize | None = None
    interpolation: Interpolation | None = None

    @property
    def in_words(self) -> str:
        """The size that it says."""
        return "no size" if self.size is None else f"{self.size[0]} x {self.size[1]}"

    def resize_for(self, size: tuple[int, int]) -> Resize | None:
        """How images are brought to `size`, which may be another than it says: the same part of them is kept."""
        if self.resize is None or self.resize.resize_to is None or self.size in (None, size):
            return self.resize
        return replace(self.resize, resize_to=round(self.resize.resize_to * max(size) / max(self.size)))


def stated_beside(path: Path, guesses: Guesses) -> Stated | None:
    """What the first of the files beside a network says of its images; what it cannot be used for is noted."""
    for file in _files(path):
        try:
            values = _read(file)
            if file.name == _TIMM:
                config = values.get("pretrained_cfg", values)  # older ones are flat
                if not isinstance(config, Mapping) or "mean" not in config or "input_size" not in config:
                    continue  # another framework's
                return _timm(config, file.name, guesses)
            config = values.get("image_processor", values) if file.name == _PREPROCESSORS[1] else values
            if (
                isinstance(config, Mapping)
                and {"size", "image_mean", "do_rescale", "do_resize"} & config.keys()
            ):
                return _transformers(config, file.name, guesses)
        except (ValueError, TypeError, LookupError, ArithmeticError, OSError) as exc:
            if file.name != _TIMM:  # many tools write a config.json
                guesses.note(
                    f"{file.name} beside it cannot be used ({first_line(exc)}): --scale, --size and --resize say what "
                    "it would"
                )
    return None


def _files(path: Path) -> Iterator[Path]:
    """Those beside a network, or above it: transformers' exports lie in a folder `onnx`."""
    folders = [path.parent, *([path.parent.parent] if path.parent.name == "onnx" else [])]
    for name in (*_PREPROCESSORS, _TIMM):
        yield from (folder / name for folder in folders if (folder / name).is_file())


def _read(file: Path) -> Mapping[str, Any]:
    if file.stat().st_size > _LONGEST:
        raise ValueError(f"it has {file.stat().st_size:,} bytes")
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    if not isinstance(values, Mapping):
        raise ValueError(f"it holds {type(values).__name__}, not settings")
    return values


def _transformers(config: Mapping[str, Any], source: str, guesses: Guesses) -> Stated:
    """Source: the image processors of transformers 4.57: resize, crop, rescale, normalize."""
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    size, resize = _transformers_size(config, kind, source, guesses)
    flips = bool(config.get("do_flip_channel_order", kind.startswith("MobileViT")))
    interpolation = _RESAMPLE.get(config["resample"]) if isinstance(config.get("resample"), int) else None
    if "resample" in config and interpolation is None:
        guesses.note(
            f"{source}: resample is {str(config['resample'])[:20]!r}, not known here: bilinear is taken"
        )
    return Stated(
        source,
        _transformers_values(config, kind, source, guesses),
        "bgr" if flips else "rgb",
        size,
        resize,
        interpolation,
    )


def _transformers_values(
    config: Mapping[str, Any], kind: str, source: str, guesses: Guesses
) -> Normalization | None:
    factor, shift = 1.0, 0.0
    if config.get("do_rescale", True):
        factor = _number(config.get("rescale_factor", 1 / 255))
        if factor <= 0:
            raise ValueError(f"rescale_factor is {factor:g}")
        # EfficientNetImageProcessor: -1..1
        shift = 1.0 if config.get("rescale_offset") else 0.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if config.get("do_normalize", not kind.startswith("MobileViT")):
        if "image_mean" not in config or "image_std" not in config:
            guesses.note(f"{source}: says that values are normalised, and not with which mean and deviation")
            return None
        mean, std = _three(config["image_mean"], "image_mean"), _three(config["image_std"], "image_std")
        if kind.startswith("EfficientNet") and config.get("include_top", True):
            # It divides by the deviation once more, as the published weights were trained.
            std = (std[0] ** 2, std[1] ** 2, std[2] ** 2)
    # (x * factor - shift - mean) / std in values of x / 255
    red, green, blue = ((one + shift) / (255 * factor) for one in mean)
    red_std, green_std, blue_std = (one / (255 * factor) for one in std)
    return _usable((red, green, blue), (red_std, green_std, blue_std))


def _transformers_size(
    config: Mapping[str, Any], kind: str, source: str, guesses: Guesses
) -> tuple[tuple[int, int] | None, Resize | None]:
    """Input size, and how images come to it."""
    if config.get("do_pad") or config.get("do_thumbnail"):
        guesses.note(f"{source}: pads images, which is not followed (--resize pad)")
    if not config.get("do_resize", True):
        guesses.note(f"{source}: does not resize images, which a network of one size needs (--resize)")
        return None, None
    given, crop = config.get("size"), None
    if config.get("crop_size") is not None and config.get("do_center_crop", True):
        crop = _sides(config["crop_size"])
    edge = given if isinstance(given, int | float) else None
    if isinstance(given, Mapping):
        edge = given.get("shortest_edge")
        if edge is None:
            if "height" not in given or "width" not in given:
                guesses.note(
                    f"{source}: size is {str(dict(given))[:60]}, which is not followed (--size, --resize)"
                )
                return None, None
            sides = _sides(given)
            if crop is None or crop == sides:
                return sides, Resize("squash")
            # squashed to `size`, of which the centre is kept
            if crop[0] / sides[0] == crop[1] / sides[1] < 1:
                return crop, Resize("squash", None, crop[0] / sides[0])
            guesses.note(f"{source}: size {sides} with crop_size {crop} is not followed (--resize)")
            return crop, None
    if edge is None:
        return crop, None
    shorter = _side(edge)
    fraction = config.get("crop_pct") or (_CROP_PCT if kind.startswith("ConvNext") else None)
    if fraction is not None:  # ConvNext, PoolFormer
        if kind.startswith("ConvNext") and shorter >= _LARGE:
            return (shorter, shorter), Resize("squash")
        target = crop or (shorter, shorter)
        return target, Resize("shorter", max(int(shorter / _fraction(fraction)), *target))
    if kind.startswith("Levit"):
        shorter = int(_LEVIT * shorter)
    elif crop is None and not isinstance(given, Mapping):
        # The first feature extractors squashed to one number.
        return (shorter, shorter), Resize("squash")
    target = crop or (shorter, shorter)
    if shorter < max(target):
        guesses.note(f"{source}: size {shorter} with a larger crop_size {target} is not followed (--resize)")
        return target, None
    return target, Resize("shorter", shorter)


def _timm(config: Mapping[str, Any], source: str, guesses: Guesses) -> Stated:
    """Source: timm/data/transforms_factory.py, `transforms_imagenet_eval`, and timm/data/config.py."""
    colours, height, width = config["input_size"]
    if colours != 3:
        raise ValueError(f"input_size is {str(config['input_size'])[:40]}")
    size = (_side(height), _side(width))
    fraction = _fraction(config.get("crop_pct") or _CROP_PCT)
    scaled = [math.floor(side / fraction) for side in size]
    mode = config.get("crop_mode") or "center"
    if mode == "squash":
        resize = Resize("squash", None, min(size[0] / scaled[0], size[1] / scaled[1]))
    elif mode == "border" and fraction == 1:
        resize = Resize("pad", pad_value=round(255 * sum(_three(config["mean"], "mean")) / 3))
    else:
        if mode != "center":
            guesses.note(
                f"{source}: crop_mode {str(mode)[:20]!r} is not followed, the centre is cropped (--resize)"
            )
        resize = Resize("shorter", max(scaled))
        if size[0] != size[1]:  # scaled to just cover both sides
            guesses.note(
                f"{source}: images are not quite prepared as timm does it for {size[0]} x {size[1]}: less of their "
                "longer side is seen (--resize)"
            )
    named = str(config.get("interpolation", "bilinear"))
    if named not in _NAMED:
        guesses.note(f"{source}: interpolation {named[:20]!r} is not known here: bilinear is taken")
    return Stated(
        source,
        _usable(_three(config["mean"], "mean"), _three(config["std"], "std")),
        "rgb",
        size,
        resize,
        _NAMED.get(named, "bilinear"),
    )


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, str | bool) or not math.isfinite(number):
        raise ValueError(f"{str(value)[:20]!r} is no number")
    return number


def _three(values: Any, name: str) -> tuple[float, float, float]:
    if isinstance(values, int | float):
        values = [values] * 3
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"{name} is {str(values)[:40]}; expected three numbers")
    red, green, blue = map(_number, values)
    return red, green, blue


def _usable(mean: tuple[float, float, float], std: tuple[float, float, float]) -> Normalization:
    if min(std) <= 0 or not all(map(math.isfinite, (*mean, *std))):
        raise ValueError(f"a deviation of {min(std):g}")
    return Normalization(mean, std)


def _side(value: Any) -> int:
    side = _number(value)
    if side != int(side) or not 1 <= side <= MAX_SIDE:
        raise ValueError(f"a side of {str(value)[:20]} pixels")
    return int(side)


def _sides(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        return _side(value["height"]), _side(value["width"])
    return _side(value), _side(value)


def _fraction(value: Any) -> float:
    fraction = _number(value)
    if not 0 < fraction <= 1:
        raise ValueError(f"crop_pct {str(value)[:20]}")
    return fraction
