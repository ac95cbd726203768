"""An int8 version of a model for the images that are about to be extracted, made once and kept."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from feature_extraction.items import ImageItem, read_item
from models.card import ModelCard, card_of
from models.errors import GraftError
from models.files import sha256, write_atomically
from models.fingerprint import image_digest, preprocessing_digest
from models.importing import as_graft_model
from models.locating import locate
from models.quantization import SUFFIX, quantize
from models.store import CACHE_ADVICE, cache_folder

CALIBRATION = 64  # images
_SEED = 0

OnFailure = Callable[[GraftError], None]


def sample(items: Iterable[ImageItem], most: int) -> list[ImageItem]:
    """Some images of all parts of a source, the same every time, shuffled; no others are held.

    Each image replaces one that was chosen before it with the chance that keeps all equally likely (reservoir
    sampling: Vitter 1985, algorithm R). An image in a compressed archive holds its bytes.
    """
    dice, chosen = random.Random(_SEED), list[ImageItem]()
    for position, item in enumerate(items):
        if position < most:
            chosen.append(item)
        elif (place := dice.randrange(position + 1)) < most:
            chosen[place] = item
    dice.shuffle(chosen)
    return chosen


def decoded(
    card: ModelCard, items: Sequence[ImageItem], on_failure: OnFailure
) -> Iterator[NDArray[np.uint8]]:
    """The pixels of images, uint8 (H, W, 3), without those that fail, which are told."""
    for item in items:
        try:
            yield card.preprocessing.load(read_item(item), name=item.id)
        except GraftError as exc:
            on_failure(exc)


def quantized(spec: str | Path, items: Iterable[ImageItem]) -> Path:
    """The file of an int8 version of a model, calibrated on a sample of `items`; kept in the cache folder.

    The same model and images give the same file, so that a run that is resumed goes on with it. Images that fail
    are passed over: they are reported where features are extracted.

    Raises:
        ModelError: no model, or one that cannot be quantized, or no image can be read.
        OutputError: the file cannot be written.
    """
    path = locate(spec)
    proto, _ = as_graft_model(path)
    card = card_of(proto)
    assert card is not None  # one is imported with the network
    chosen = sample(items, CALIBRATION)
    digest = hashlib.sha256(f"{sha256(path)} {onnxruntime.__version__}".encode())
    digest.update(preprocessing_digest(card.preprocessing).encode())
    images = list(decoded(card, chosen, lambda _: None))
    for pixels in images:
        digest.update(image_digest(pixels))
    target = cache_folder() / "quantized" / f"{card.name}-{digest.hexdigest()[:16]}{SUFFIX}.onnx"
    if not target.is_file():
        made = quantize(proto, images)
        write_atomically(target, made.SerializeToString(), advice=CACHE_ADVICE)
    return target
