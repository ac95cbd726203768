"""What a finished model says to images that are none of its classes: those that come with the package, and photos."""

from __future__ import annotations

import numpy as np

from feature_extraction.byte_store import ByteStore
from feature_extraction.items import read_item
from finetune.backbone.trunk import features_of
from finetune.heads.running import run_top
from finetune.heads.top import Top
from finetune.job.assessment import Assessment
from finetune.job.preparation import Prepared
from finetune.report.shown import Shown
from finetune.trust.measures import softmax
from finetune.trust.strangers import Stranger, photos_at_hand, rendered
from models.errors import ImageError
from models.fingerprint import image_digest

_NAMED = 5  # accepted images of a kind that are named, at most


def show_strangers(
    prepared: Prepared,
    top: Top,
    assessment: Assessment,
    *,
    store: ByteStore | None = None,
    threads: int | None = None,
) -> tuple[Shown, ...]:
    """For each kind of strangers how many the model would accept, and as what; those among its own images are left out.

    Raises:
        ModelError: the network fails.
    """
    assert assessment.rejector is not None  # it knows classes
    own = {fact.digest for fact in prepared.facts}
    strangers = [one for one in (*rendered(), *photos_at_hand()) if _new(one, own)]
    features, failures = features_of(
        prepared.trunk, [one.item for one in strangers], 1, seed=0, store=store, threads=threads
    )
    lost = {name for name, _ in failures}
    kinds = np.array([one.kind for one in strangers if one.item.id not in lost])
    names = [one.item.id for one in strangers if one.item.id not in lost]
    outputs = run_top(top, features[:, 0], threads)
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


def _new(stranger: Stranger, own: set[bytes]) -> bool:
    """Whether it is none of the images that the model is about, and can be read."""
    try:
        return image_digest(read_item(stranger.item)) not in own
    except ImageError:  # a photo of another package that went meanwhile
        return False
