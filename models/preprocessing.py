"""From the bytes of an image file to the uint8 array that a model takes.

This is the only place where images are decoded, so that training, extraction and serving cannot drift apart.
Normalisation is not here: it stands in the model's graph.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.errors import ImageError
from models.image_kinds import HEAD, HEIF, RAW, READ, ImageKind, heif_reader, kind_of_content, kind_of_name
from models.rgb import upright_rgb
from models.semaphore import WeightedSemaphore
from models.wording import percent

ImageSource = bytes | str | Path | BinaryIO | Image.Image | NDArray[np.uint8]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
_Made = TypeVar("_Made")

# The decoders that are let near files of strangers. Pillow has more; some of them start other programs. JPEG opens
# MPO too: the several pictures in one file that some cameras write. HEIF comes beside them where its reader is
# installed (`models.image_kinds`).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "ICO")
LUMA = (0.299, 0.587, 0.114)  # of R, G and B in grey; source: ITU-R BT.601
MAX_SIDE = 8192  # of what a model takes
MAX_PIXELS = 178_956_970  # 512 MiB as RGB; a 108-megapixel phone photo passes, a pixel bomb does not
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# For all threads together: ten of the largest at once would take gigabytes.
_DECODING = WeightedSemaphore(MAX_PIXELS)
# Pillow's PILLOW_BLOCK_SIZE, by itself 16 MiB. From 32 MiB on glibc gives memory back to the system when it is freed;
# of smaller blocks each thread would keep those of its largest image.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]
_OPENING = threading.Lock()  # warnings.catch_warnings is not made for threads; only headers are read under it
LONGEST = 32  # how many times the kept area the scaled image may have
_SWAPS_SIDES = (5, 6, 7, 8)  # EXIF orientations that turn a portrait into a landscape
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Preprocessing:
    """How an image is brought to the input size of a model.

    `size`: (height, width) of the array. First the central `crop_fraction` of both sides is kept; then, with
    `resize="shorter"`, the shorter side becomes `resize_to` pixels and the centre is cropped to `size`; with
    `resize="squash"` both sides are scaled to `size`, whatever that does to the proportions; with `resize="pad"` all of
    it is fitted into `size`, in the middle, and what is left is filled with the grey `pad_value` (0 to 255): a
    letterbox.
    """

    size: tuple[int, int]
    resize: Literal["shorter", "squash", "pad"] = "shorter"
    resize_to: int | None = None
    crop_fraction: float = 1.0
    interpolation: Interpolation = "bilinear"
    pad_value: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be followed."""
        height, width = self.size
        if min(height, width) < 1 or max(height, width) > MAX_SIDE:
            raise ValueError(
                f"size is {self.size}; expected (height, width) of at least 1 pixel each, at most {MAX_SIDE}"
            )
        if self.resize not in ("shorter", "squash", "pad"):
            raise ValueError(f"resize is {self.resize!r}; expected 'shorter', 'squash' or 'pad'")
        if not 0 <= self.pad_value <= 255:
            raise ValueError(f"pad_value is {self.pad_value}; expected 0 to 255")
        if self.interpolation not in _FILTERS:
            raise ValueError(f"interpolation is {self.interpolation!r}; expected one of {sorted(_FILTERS)}")
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction is {self.crop_fraction}; expected more than 0, at most 1")
        if self.resize == "pad" and (self.crop_fraction < 1 or self.resize_to is not None):
            raise ValueError(
                "resize 'pad' shows the whole image; expected neither crop_fraction nor resize_to"
            )
        if self.resize_to is not None and self.resize_to < max(self.size):
            raise ValueError(f"resize_to is {self.resize_to}; expected at least {max(self.size)}, the size")

    def words(self) -> str:
        """What is done to an image."""
        target = f"{self.size[0]} x {self.size[1]} pixels"
        kept = f"central {percent(self.crop_fraction)} of the sides, then " if self.crop_fraction < 1 else ""
        if self.resize == "squash":
            return f"{kept}squashed to {target}, {self.interpolation}"
        if self.resize == "pad":
            return f"{kept}fitted into {target}, the rest filled with grey {self.pad_value}, {self.interpolation}"
        shorter = self.resize_to or max(self.size)
        return f"{kept}shorter side to {shorter}, central {target}, {self.interpolation}"

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON has them; `pad_value` where there is padding only: earlier versions do not know it."""
        values = asdict(self)
        if self.resize != "pad":
            del values["pad_value"]
        return values

    def load(
        self, source: ImageSource | Opened, *, exact: bool = False, name: str | None = None
    ) -> NDArray[np.uint8]:
        """Decode, turn upright, resize and crop an image to uint8 (H, W, 3), RGB.

        `exact` switches off the JPEG decoder's own reduction, which is used for photos at least twice as large as
        needed and changes pixels slightly. `name` stands for the image in errors.

        Raises:
            ImageError: the source is no image that can be read, or is too large.
        """
        label = name or _label(source)
        return _read(source, label, lambda image: self._array(image, exact))

    def upright(self, source: ImageSource, *, name: str | None = None) -> Image.Image:
        """Decode and turn upright, to RGB: `load` makes the same array of it as of the source.

        For images that are changed before they are resized. A large JPEG is reduced as in `load`, and is decoded
        once for however many changed copies.

        Raises:
            ImageError: the source is no image that can be read, or is too large.
        """
        return _read(source, name or _label(source), self._reduced_upright)

    def _array(self, image: Image.Image, exact: bool) -> NDArray[np.uint8]:
        self._draft(image, exact)
        with _decoding(image):
            return np.asarray(self._fit(upright_rgb(image)))  # (H, W, 3)

    def _reduced_upright(self, image: Image.Image) -> Image.Image:
        self._draft(image, exact=False)
        with _decoding(image):
            return upright_rgb(image)

    def _draft(self, image: Image.Image, exact: bool) -> None:
        """Let the JPEG decoder reduce the image while it stays at least twice as large as needed."""
        if exact or image.format not in ("JPEG", "MPO"):
            return
        turned = image.getexif().get(_EXIF_ORIENTATION) in _SWAPS_SIDES
        width, height = self._whole((image.height, image.width) if turned else image.size)
        wanted_w, wanted_h = (2 * round(side / self.crop_fraction) for side in (width, height))
        image.draft(None, (wanted_h, wanted_w) if turned else (wanted_w, wanted_h))

    def _fit(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if self.crop_fraction < 1:
            kept_w, kept_h = max(1, int(width * self.crop_fraction)), max(1, int(height * self.crop_fraction))
            left, top = (width - kept_w) // 2, (height - kept_h) // 2
            image = image.crop((left, top, left + kept_w, top + kept_h))
        whole, (height, width) = self._whole(image.size), self.size
        if self.resize == "pad":
            box = Image.new("RGB", (width, height), (self.pad_value,) * 3)
            fitted = image.resize(whole, _FILTERS[self.interpolation])
            box.paste(fitted, ((width - whole[0]) // 2, (height - whole[1]) // 2))
            return box
        left, top = round((whole[0] - width) / 2.0), round((whole[1] - height) / 2.0)
        filter_ = _FILTERS[self.interpolation]
        if whole[0] * whole[1] <= LONGEST * width * height:
            return image.resize(whole, filter_).crop((left, top, left + width, top + height))
        # A strip of 1 x 30,000 pixels would become gigabytes: scale only the part that is kept. Ordinary photos
        # do not go this way, because its rounding differs from the references by one level here and there.
        scale_x, scale_y = image.width / whole[0], image.height / whole[1]
        right, bottom = (
            min(image.width, (left + width) * scale_x),
            min(image.height, (top + height) * scale_y),
        )
        return image.resize((width, height), filter_, box=(left * scale_x, top * scale_y, right, bottom))

    def _whole(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to which an image of (width, height) is scaled, before it is cropped or padded."""
        width, height = size
        if self.resize == "squash":
            return self.size[1], self.size[0]
        if self.resize == "pad":
            factor = min(self.size[0] / height, self.size[1] / width)
            return max(1, round(width * factor)), max(1, round(height * factor))
        short = self.resize_to or max(self.size)
        # The longer side is cut off, not rounded, as torchvision does it.
        if width <= height:
            return short, int(short * height / width)
        return int(short * width / height), short


@dataclass(frozen=True)
class Header:
    """What an image says of itself before it is decoded."""

    width: int  # as stored: EXIF may turn it
    height: int
    mode: str  # Pillow's: RGB, L, RGBA, CMYK ...
    format: str  # JPEG, PNG ...; "array" where there is no file


class Opened:
    """An image of which the header was read and no more: `Preprocessing.load` decodes it, once."""

    def __init__(self, source: ImageSource, *, name: str | None = None) -> None:
        """Raises ImageError where the source is no image, or is too large to be decoded."""
        self.image = _open(source, name or _label(source))
        self.header = Header(
            self.image.width, self.image.height, self.image.mode, self.image.format or "array"
        )


def header(source: ImageSource, *, name: str | None = None) -> Header:
    """Size, mode and format of an image, without decoding it.

    Raises:
        ImageError: the source is no image, or is too large to be decoded.
    """
    opened = Opened(source, name=name)
    with opened.image:
        return opened.header


def thumbnail(source: ImageSource, side: int, *, name: str | None = None) -> Image.Image:
    """An image with its own proportions, upright and in RGB, that fits into a square of `side` pixels.

    Raises:
        ImageError: the source is no image that can be read, or is too large.
    """
    return thumbnail_and_size(source, side, name=name)[0]


def thumbnail_and_size(
    source: ImageSource, side: int, *, name: str | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """A `thumbnail`, and (width, height) of the whole image, upright.

    Raises:
        ImageError: as `thumbnail`.
    """
    label = name or _label(source)
    with _open(source, label) as image:
        try:
            width, height = image.size
            image.draft(None, (2 * side, 2 * side))  # JPEG only; others take no notice
            with _decoding(image):
                image.load()  # some formats turn it themselves, and take the orientation away
                turns = image.getexif().get(_EXIF_ORIENTATION) in _SWAPS_SIDES
                small = upright_rgb(image)
                small.thumbnail((side, side))
            return small, (height, width) if turns else (width, height)
        except Exception as exc:  # as in `load`
            raise ImageError(_explain(exc, label)) from exc


def is_image_source(source: object) -> TypeGuard[ImageSource]:
    """Whether something stands for one image, not for several: an array has then three axes."""
    if isinstance(source, np.ndarray):
        return source.ndim == 3
    return isinstance(source, (bytes, str, Path, Image.Image)) or hasattr(source, "read")


def _decoding(image: Image.Image) -> AbstractContextManager[None]:
    """Wait until there is room for the pixels that the decoder will give."""
    return _DECODING.hold(image.width * image.height)


def _read(source: ImageSource | Opened, label: str, make: Callable[[Image.Image], _Made]) -> _Made:
    with _open(source, label) as image:
        try:
            return make(image)
        except Exception as exc:  # the decoders of ten formats raise what they like
            raise ImageError(_explain(exc, label)) from exc


def _open(source: ImageSource | Opened, label: str) -> Image.Image:
    if isinstance(source, Opened):
        return source.image
    if isinstance(source, np.ndarray):
        return _from_array(source, label)
    if isinstance(source, Image.Image):
        image = source.copy()
    else:
        stream = _seekable(source)
        try:
            image = _opened(stream, FORMATS)
        except UnidentifiedImageError as exc:
            image = _open_rare(stream, label, exc)
        except Exception as exc:
            raise ImageError(_explain(exc, label)) from exc
        # What opens of a raw file is the preview on the camera's screen.
        if image.format == "TIFF" and kind_of_name(label) is RAW:
            raise ImageError(_unread(label, RAW))
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(_too_large(label, f"{image.width} x {image.height} pixels"))
    return image


def _seekable(source: bytes | str | Path | BinaryIO) -> str | Path | BinaryIO:
    """What can be read from its beginning more than once."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, (str, Path)) or not hasattr(source, "seekable") or source.seekable():
        return source
    return io.BytesIO(source.read())


def _opened(stream: str | Path | BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    with _OPENING, warnings.catch_warnings():
        # Pillow warns at half of the limit at which it refuses; MAX_PIXELS is the one limit here.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(stream, formats=formats)


def _open_rare(stream: str | Path | BinaryIO, label: str, exc: UnidentifiedImageError) -> Image.Image:
    """An image that Pillow does not read by itself.

    Raises:
        ImageError: nothing installed reads it.
    """
    head = _head(stream)
    kind = kind_of_content(head)
    if not head:
        raise ImageError(f"{label}: the file is empty (0 bytes). Copy or download it again.") from exc
    if kind is HEIF and heif_reader():
        try:
            return _opened(stream, ("HEIF",))
        except Exception as damaged:  # as in `load`
            raise ImageError(f"{label}: {HEIF.name} that is damaged. Copy or download it again.") from damaged
    kind = kind or kind_of_name(label)
    if kind is not None and kind is not READ:
        raise ImageError(_unread(label, kind)) from exc
    raise ImageError(_explain(exc, label)) from exc


def _head(stream: str | Path | BinaryIO) -> bytes:
    """The first bytes of a file or stream, which stands at its beginning afterwards."""
    if isinstance(stream, (str, Path)):
        with Path(stream).open("rb") as file:
            return file.read(HEAD)
    stream.seek(0)
    head = stream.read(HEAD)
    stream.seek(0)
    return head


def _unread(label: str, kind: ImageKind) -> str:
    return f"{label}: {kind.name}, which nothing installed here reads. {kind.remedy}."


def _from_array(pixels: NDArray[np.uint8], label: str) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ImageError(
            f"{label}: the array is {pixels.dtype} {pixels.shape}; expected uint8 (height, width, 3), RGB. "
            "Convert it, or pass the image file itself."
        )
    return Image.fromarray(pixels)


def _label(source: ImageSource | Opened) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    return str(getattr(source, "name", None) or getattr(source, "filename", None) or "the image")


def _too_large(label: str, given: str) -> str:
    return f"{label}: {given}; at most {MAX_PIXELS:,} pixels are decoded. Make the image smaller first."


def _explain(exc: Exception, label: str) -> str:
    """Say in the user's terms why a decoder gave up."""
    text = str(exc)
    if isinstance(exc, FileNotFoundError):
        return f"{label}: no such file. Check the path."
    if isinstance(exc, IsADirectoryError):
        return f"{label}: a folder; expected an image file."
    if isinstance(exc, PermissionError):
        return f"{label}: not readable by this user. Change its permissions."
    if isinstance(exc, Image.DecompressionBombError):
        return _too_large(label, "more pixels than any photo has")
    if isinstance(exc, UnidentifiedImageError):
        return f"{label}: not an image that can be read; expected {', '.join(FORMATS[:6])} or the like."
    if "truncated" in text or isinstance(exc, EOFError):
        return f"{label}: the image is cut off before its end. Copy or download it again."
    return f"{label}: cannot be decoded ({text or type(exc).__name__}). Open and save it again in an image editor."
