"""What a finished model says to images that are none of its classes: those that come with the package, and photos."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_extraction.byte_store import ByteStore
from feature_extraction.items import ImageItem, read_item
from finetune.backbone.trunk import features_of
from finetune.heads.running import run_top
from finetune.heads.top import Top
from finetune.job.assessment import Assessment
from finetune.job.preparation import Prepared
from finetune.report.shown import Shown
from finetune.trust.measures import softmax
from finetune.trust.strangers import Stranger, photos_at_hand, rendered
from models.errors import GraftError, ImageError, InputError
from models.fingerprint import image_digest
from models.runtime import Array
from models.wording import counted, listed

_NAMED = 5  # accepted images of a kind that are named, at most


@dataclass(frozen=True)
class Strangers:
    """Images that are none of the classes, as the trunk sees them: `features` (N, ...), their kinds and names (N,)."""

    kinds: NDArray[np.str_]
    names: tuple[str, ...]
    features: Array


def unknown_ones(
    images: Sequence[ImageItem], labelled: Collection[bytes], say: Callable[[str], None]
) -> Sequence[ImageItem]:
    """Images that a person says are none of the classes, without those whose digest is among `labelled`.

    A threshold that is chosen to refuse what was taught looks perfect, and refuses nothing else.

    Raises:
        InputError: none is left.
    """
    own: list[ImageItem] = []
    others: list[ImageItem] = []
    for image in images:
        try:
            taught = image_digest(read_item(image)) in labelled
        except GraftError:  # which is said where it is looked at
            taught = False
        (own if taught else others).append(image)
    if own:
        names = listed([image.id for image in own], 3)
        words = f"{counted(len(own), 'unknown image')} of {len(images):,} among the labelled ones ({names})"
        if not others:
            raise InputError(f"--unknown: {words}. Give images that are none of the classes.")
        say(f"left out: {words}")
    return others


def see_strangers(
    prepared: Prepared, *, store: ByteStore | None = None, threads: int | None = None
) -> Strangers:
    """Run the trunk over strangers; those among the model's own images are left out, and what cannot be read.

    Raises:
        ModelError: the network fails.
    """
    own = {fact.digest for fact in prepared.facts}
    strangers = [known for one in (*rendered(), *photos_at_hand()) if (known := _new(one, own))]
    features, failures = features_of(
        prepared.trunk, [one.item for one in strangers], 1, seed=0, store=store, threads=threads
    )
    lost = {name for name, _ in failures}
    seen = [one for one in strangers if one.item.id not in lost]
    return Strangers(np.array([one.kind for one in seen]), tuple(one.item.id for one in seen), features[:, 0])


def show_strangers(
    prepared: Prepared, top: Top, assessment: Assessment, strangers: Strangers, threads: int | None = None
) -> tuple[Shown, ...]:
    """For each kind of strangers how many the model would accept, and as what."""
    assert assessment.rejector is not None  # it knows classes
    kinds, names = strangers.kinds, strangers.names
    outputs = run_top(top, strangers.features, threads)
    passed = assessment.rejector.score(outputs.embedding, outputs.logits) <= assessment.rejector.threshold
    probabilities = softmax(outputs.logits, assessment.temperature or 1.0)
    best = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    rows = []
    for kind in dict.fromkeys(kinds.tolist()):
        of_kind = kinds == kind
        accepted = np.flatnonzero(of_kind & passed)
        accepted = accepted[np.argsort(-sure[accepted], kind="stable")]
        examples = tuple((names[i], prepared.classes[best[i]], float(sure[i])) for i in accepted[:_NAMED])
        rows.append(Shown(str(kind), int(of_kind.sum()), len(accepted), examples))
    return tuple(rows)


def _new(stranger: Stranger, own: set[bytes]) -> Stranger | None:
    """The same with its content at hand; None where it is one of the images that the model is about, or unreadable."""
    try:
        content = read_item(stranger.item)
    except ImageError:  # a photo of another package that went meanwhile
        return None
    if image_digest(content) in own:
        return None
    return Stranger(stranger.kind, ImageItem(stranger.item.id, lambda: content))
