"""The whole job: images of a source, through the pipeline, to a folder or to the caller."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime

from feature_extraction.byte_store import ByteStore
from feature_extraction.cache import FeatureCache
from feature_extraction.formats import Format
from feature_extraction.items import ImageItem
from feature_extraction.manifest import PROCESSOR
from feature_extraction.opening import Source, open_images
from feature_extraction.output import OutputFolder
from feature_extraction.part_files import part_size
from feature_extraction.timings import Timings
from feature_extraction.tuning import Tuning, candidates, run_tuned
from feature_extraction.worker import Vectors, View
from models.config import DEFAULT_MODEL
from models.cores import cores
from models.errors import GraftError
from models.features import FeatureModel, FeatureOptions, Pool, open_features
from models.fingerprint import preprocessing_digest
from models.processor import processor
from models.runtime import Array, RuntimeConfig

OnFailure = Callable[[str, GraftError], None]


@dataclass
class ExtractionReport:
    """What a run did. `before` counts the images of an earlier run, and `failed_before` those of them that failed."""

    images: int = 0
    failed: int = 0
    before: int = 0
    failed_before: int = 0
    seconds: float = 0.0
    timings: Timings = field(default_factory=Timings)
    tuning: Tuning = field(default_factory=Tuning)


def extract_to(
    path: Path,
    items: Iterable[ImageItem],
    features: FeatureModel,
    form: Format,
    *,
    resume: bool = False,
    store: ByteStore | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
    part_images: int | None = None,
    report: ExtractionReport | None = None,
    on_failure: OnFailure | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExtractionReport:
    """Extract features into a folder of files and tell what was done, in `report` also when it ends with an error.

    `threads` of one run of the network: None finds out what is fastest; `batch_size`: None is what suits the model.
    `part_images`: how many a part has at most, 1,024 or less unless told.
    `store` remembers features by image; `on_failure` hears of each image that fails, `progress` how many are done.

    Raises:
        OutputError: the folder cannot be written, or holds other features.
        SourceError: the source gives no images, or others than when the folder was begun.
        ModelError: the network itself fails.
    """
    report = report or ExtractionReport()
    began = time.perf_counter()
    size = batch_size or features.model.batch_size
    with OutputFolder(
        path, features.blank, all_settings(features, form, size, part_images), resume=resume
    ) as folder:
        report.before, report.failed_before = folder.done, folder.failed
        if not folder.manifest.complete:
            rest = folder.rest(items)
            # Fewer than was thought, where the source has other images now.
            report.before, report.failed_before = folder.done, folder.failed
            with closing(extract_vectors(features, rest, size, threads, store, report)) as batches:
                for vectors in batches:
                    with report.timings.stage("write", len(vectors.ids)):
                        folder.write(vectors)
                    report.images += len(vectors.ids)
                    report.failed += len(vectors.failures)
                    if on_failure:
                        for name, error in vectors.failures:
                            on_failure(name, error)
                    if progress:
                        progress(report.before + report.images + report.failed)
            with report.timings.stage("write", 0):
                folder.finish()
    report.seconds = time.perf_counter() - began
    return report


def extract(
    source: Source,
    model: str | Path = DEFAULT_MODEL,
    cut: str | None = None,
    *,
    pool: Pool = FeatureOptions.pool,
    normalize: bool = False,
    config: RuntimeConfig | None = None,
    on_failure: OnFailure | None = None,
) -> Iterator[tuple[list[str], Array]]:
    """Features of images, lazily: (ids, array), a batch at a time, in the order of the source.

    `source`: what `feature_extraction.opening.open_images` takes. `cut`: a cut point or tensor, None for the model's
    own. `normalize` makes vectors of length 1. An image that fails is warned of and left out, or told to `on_failure`.

    Raises:
        SourceError: the source gives no images.
        GraftError: as `models.features.open_features`.
    """
    options = FeatureOptions((cut,) if cut else (), pool, "l2" if normalize else None)
    config = config or RuntimeConfig()
    features = open_features(model, options, config)
    (name, *_) = features.cuts
    for vectors in extract_vectors(features, open_images(source), features.model.batch_size, config.threads):
        for image, error in vectors.failures:
            if on_failure:
                on_failure(image, error)
            else:
                warnings.warn(f"left out: {error}", stacklevel=2)
        if vectors.ids:
            yield vectors.ids, vectors.arrays[name]


def extract_vectors(
    features: FeatureModel,
    items: Iterable[ImageItem],
    batch_size: int,
    threads: int | None = None,
    store: ByteStore | None = None,
    report: ExtractionReport | None = None,
    views: Sequence[View] = (),
) -> Generator[Vectors, None, None]:
    """Features of all images, a batch at a time, with the cores shared in the way that turns out fastest.

    `views`: see `run_pipeline`; then `batch_size` counts views.
    """
    report = report or ExtractionReport()
    allocations = candidates(features.model.session.device.kind, threads, cores())
    cache = FeatureCache(features, store) if store else None
    return run_tuned(
        features,
        items,
        batch_size=max(1, batch_size // max(1, len(views))),
        allocations=allocations,
        cache=cache,
        timings=report.timings,
        tuning=report.tuning,
        views=views,
    )


def all_settings(
    features: FeatureModel, form: Format, batch_size: int, part_images: int | None
) -> dict[str, Any]:
    """All that decides about the bytes of a folder of features; see `settings`."""
    part_items = part_size(features.blank, batch_size, part_images)
    return {**settings(features, batch_size), "format": form, "part_items": part_items}


def settings(features: FeatureModel, batch_size: int) -> dict[str, Any]:
    """All that decides about the bytes of features, to be compared when a run is resumed."""
    model, options = features.model, features.options
    device = model.session.device.kind
    return {
        "model": model.card.name,
        "cuts": list(features.cuts),
        "graphs": list(features.digests),
        "pool": options.pool,
        "normalize": options.normalize,
        "dtype": options.dtype,
        "preprocessing": preprocessing_digest(model.card.preprocessing),
        "device": device,
        **({PROCESSOR: processor()} if device == "cpu" else {}),  # its kernels make the last bits
        "onnxruntime": onnxruntime.__version__,
        "batch_size": batch_size,
    }
