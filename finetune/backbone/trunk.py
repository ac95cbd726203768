"""The frozen part of a network: run once for each view of each image, and kept in the cache.

Training passes over its output many times; nothing of the trunk is computed again.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from feature_extraction.byte_store import ByteStore
from feature_extraction.extraction import ExtractionReport, extract_vectors
from feature_extraction.items import ImageItem
from feature_extraction.quantized import quantized
from feature_extraction.timings import Timings
from finetune.backbone.views import views as views_of
from finetune.dataset.examples import Example
from models.card import ModelCard
from models.errors import CutError, GraftError, InputError, OutputError
from models.features import FeatureModel, FeatureOptions, Pool, open_features
from models.importing import as_graft_model
from models.locating import locate
from models.runtime import Array, RuntimeConfig
from models.store import DownloadProgress

_ROWS = 64  # copied at a time
IN_MEMORY = 1 << 30  # bytes of features; more go to a file


@dataclass(frozen=True)
class Views:
    """Which versions of images: `count` of each, of which the first is the image as it is; see `views.views`."""

    count: int
    seed: int
    flip: bool = True


@dataclass(frozen=True)
class Resources:
    """With what features are computed, but for what they are of: it changes none of them."""

    store: ByteStore | None = None
    threads: int | None = None
    batch_size: int | None = None
    timings: Timings | None = None


class Extracted(NamedTuple):
    """Features of some images, (n, views, ...), ids and errors of those that failed, and how many they are together."""

    rows: Array
    failures: list[tuple[str, GraftError]]
    images: int


class Spread(Protocol):
    """A way to compute features: in this process, or in several."""

    def __call__(
        self, model: FeatureModel, items: Sequence[ImageItem], views: Views, resources: Resources
    ) -> Generator[Extracted]:
        """Features of all items in their order, some at a time."""


@dataclass(frozen=True)
class Trunk:
    """A network up to a cut, ready to run.

    `file`: what runs, an int8 version perhaps. `original`: the file of the model that was asked for, in whose float32
    weights blocks behind the cut are trained. `spread`: another way to run it than in this process alone.
    """

    features: FeatureModel
    file: Path
    original: Path
    spread: Spread | None = None

    @property
    def cut(self) -> str:
        """The tensor at which the network is cut; also the name of the trunk's one output."""
        return self.features.cuts[0]

    @property
    def card(self) -> ModelCard:
        """How images are brought to it, and what else is known of the model."""
        return self.features.model.card

    @property
    def quantized(self) -> bool:
        """Whether the trunk computes in int8."""
        return self.file != self.original

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the features of one image."""
        return tuple(self.features.blank[self.cut].shape[1:])

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of positions in features that are not pooled."""
        return self.features.places.get(self.cut, ())

    def model(self) -> ModelProto:
        """The trunk as a model of its own: `image`, uint8 (N, H, W, 3) -> the cut, pooled; not to be changed."""
        return self.features.graph()

    def original_model(self) -> ModelProto:
        """The whole network in float32, for what stands behind the cut; loaded when asked for."""
        return as_graft_model(self.original)[0]


def open_trunk(
    model: str | Path,
    cut: str | None = None,
    pool: Pool = "avg",
    *,
    quantize_on: Iterable[ImageItem] | None = None,
    config: RuntimeConfig | None = None,
    progress: DownloadProgress | None = None,
) -> Trunk:
    """Open the part of a model up to `cut`, which gives float32 features.

    `cut`: None is where `graft features` cuts. `pool`: "none" keeps maps (N, C, H, W), for blocks to be trained
    behind them. `quantize_on`: images on which an int8 version is calibrated, which then takes the trunk's place.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: the file is no model, or none that takes images; or it cannot be quantized.
        CutError: no such cut point or tensor, or one that cannot be pooled.
        StoreError: the weights could not be downloaded.
        DeviceError: the device cannot be had.
    """
    original = locate(model, progress=progress)
    file = original if quantize_on is None else quantized(original, quantize_on)
    options = FeatureOptions((cut,) if cut else (), pool)
    try:
        features = open_features(file, options, config)
    except CutError as exc:
        if file == original:
            raise
        open_features(original, options, config)  # where the cut is wrong anyway, that is what is said
        raise CutError(
            f"{model}: its int8 version has no tensor {cut!r}, where integers go on without being numbers again. "
            "Cut elsewhere, or use the trunk in float32."
        ) from exc
    if len(features.cuts) > 1:
        raise CutError(
            f"{model}: has several outputs ({', '.join(features.cuts)}); expected one. Name the cut."
        )
    return Trunk(features, file, original)


def features_of(
    trunk: FeatureModel | Trunk,
    examples: Sequence[Example | ImageItem],
    views: int = 1,
    *,
    seed: int,
    flip: bool = True,
    store: ByteStore | None,
    threads: int | None = None,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
    timings: Timings | None = None,
    out: Path | None = None,
) -> tuple[NDArray[np.float32], list[tuple[str, GraftError]]]:
    """Features of `views` views of each image: float32 (N, views, ...), and the ids and errors of images that failed.

    View 0 is the image as it is. An image of which one view fails is left out with all of them, so N counts the
    others, in the order of `examples`. `store` remembers each view. `progress` hears how many images are done. More
    than a gigabyte lies in a nameless file in the folder `out`, and comes as a memory map of it, to be read only.

    Raises:
        InputError: no view is asked for.
        ModelError: the network itself fails.
        OutputError: the file cannot be written.
    """
    if views < 1:
        raise InputError(f"views is {views}; expected at least 1.")
    model, spread = (trunk.features, trunk.spread) if isinstance(trunk, Trunk) else (trunk, None)
    (cut,) = model.cuts
    shape = (views, *model.blank[cut].shape[1:])
    items = [one.item if isinstance(one, Example) else one for one in examples]
    failures: list[tuple[str, GraftError]] = []
    with ExitStack() as context:
        large = 4 * len(items) * math.prod(shape) > IN_MEMORY
        rows = _InFile(out, shape, context) if large and out is not None else _InMemory(len(items), shape)
        resources = Resources(store, threads, batch_size, timings)
        parts = context.enter_context(
            closing((spread or _extract_here)(model, items, Views(views, seed, flip), resources))
        )
        done = 0
        for part in parts:
            failures += part.failures
            if len(part.rows):
                rows.add(part.rows)
            done += part.images
            if progress:
                progress(done)
        return rows.array(), failures


def _extract_here(
    model: FeatureModel, items: Sequence[ImageItem], views: Views, resources: Resources
) -> Generator[Extracted]:
    """See `Spread`."""
    (cut,) = model.cuts
    size = resources.batch_size or model.model.batch_size
    report = ExtractionReport(timings=resources.timings or Timings())
    chosen = views_of(views.count, views.seed, flip=views.flip)
    extracted = extract_vectors(model, items, size, resources.threads, resources.store, report, chosen)
    with closing(extracted) as batches:
        for vectors in batches:
            failed = dict(reversed(vectors.failures))  # of several views of an image the first
            good = [i for i, name in enumerate(vectors.ids) if name not in failed]
            rows = vectors.arrays[cut][good] if good else model.blank[cut]
            rows = rows.reshape(len(good) // views.count, views.count, *rows.shape[1:])
            yield Extracted(rows, list(failed.items()), len(vectors.names) // views.count)


def taken(features: Array, rows: NDArray[np.int64], out: Path) -> NDArray[np.float32]:
    """Features (N, ...) of the images at `rows`; more than a gigabyte lies in a nameless file in the folder `out`.

    Raises:
        OutputError: the file cannot be written.
    """
    if len(rows) * features[:1].nbytes <= IN_MEMORY:
        return np.asarray(features[rows])
    with ExitStack() as context:
        file = _InFile(out, features.shape[1:], context)
        for first in range(0, len(rows), _ROWS):
            file.add(features[rows[first : first + _ROWS]])
        return file.array()


class _InMemory:
    """Features in an array that has room for all."""

    def __init__(self, most: int, shape: tuple[int, ...]) -> None:
        self._all, self._count = np.empty((most, *shape), np.float32), 0

    def add(self, rows: Array) -> None:
        """Put features of some images, (n, V, ...), behind the others."""
        self._all[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def array(self) -> NDArray[np.float32]:
        """All of them."""
        return self._all[: self._count]


class _InFile:
    """Features in a nameless file, which goes when nobody holds it any more, whatever ends the process.

    It is written from front to back: where the disk is full, writing into a map would end Python.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], context: ExitStack) -> None:
        self._folder, self._shape, self._count = folder, shape, 0
        with self._writing():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by the context)
        context.callback(self._close)

    def add(self, rows: Array) -> None:
        """Put features of some images, (n, V, ...), behind the others."""
        with self._writing():
            self._file.write(np.ascontiguousarray(rows, np.float32).data)
        self._count += len(rows)

    def array(self) -> NDArray[np.float32]:
        """All of them, as a memory map."""
        if not self._count:  # an empty file cannot be mapped
            return np.empty((0, *self._shape), np.float32)
        with self._writing():
            self._file.flush()
            return np.memmap(self._file, np.float32, "r", shape=(self._count, *self._shape))

    def _close(self) -> None:
        with suppress(OSError):  # another error is on its way
            self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise OutputError(
                f"{self._folder}: no file can be written there ({exc.strerror}). Free some room, or use fewer views."
            ) from exc
