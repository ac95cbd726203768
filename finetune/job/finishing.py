"""The finished model: written into one file, which a fresh process must read alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import Content, read_item
from finetune.heads.assembly import assemble
from finetune.heads.running import run_top
from finetune.job.assessment import Assessment
from finetune.job.learned import Learned
from finetune.job.preparation import Prepared
from finetune.trust.proof import IMAGES, FreshProcess, Proof, prove, put_aside
from models.card import ModelCard
from models.errors import GraftError, ModelError
from models.fingerprint import image_digest
from models.names import PROBABILITIES, REJECT_SCORE, VALUE
from models.proof_making import try_to_write_proof
from models.serialized import write_model
from models.wording import counted, listed


def write_finished(
    path: Path, prepared: Prepared, learned: Learned, assessment: Assessment, card: ModelCard
) -> Iterator[str]:
    """Write the model file, and say what it could not be given."""
    proto = assemble(
        prepared.trunk.model(),
        prepared.trunk.cut,
        learned.top,
        card,
        temperature=assessment.temperature,
        rejector=assessment.rejector,
        described=assessment.described,
    )
    if assessment.described is None:
        yield "too few images are held out, or all are alike, for a service to see whether it is shown others"
    if missing := try_to_write_proof(proto):
        yield missing
    write_model(path, proto)


def prove_finished(
    path: Path,
    prepared: Prepared,
    learned: Learned,
    assessment: Assessment,
    fresh: FreshProcess,
    say: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Let a fresh process answer for some of the measured images; `say` hears which have changed since they were read.

    Raises:
        ModelError: it answers otherwise than the training, and the file is put aside; or all images have changed.
    """
    rows, images, changed = _as_learned_from(prepared, assessment)
    if changed:
        say(f"changed or gone since they were read, so that the proof does without: {listed(changed)}")
    if not images:
        raise ModelError(
            f"{path}: cannot be proven: of {counted(len(assessment.rows), 'image')} that were measured none is what it "
            f"was when the run began. {put_aside(path)} Put them back, and go on with --resume."
        )
    # Not the outputs that were measured: those may be of models that have not learned from these images.
    known = run_top(learned.top, prepared.features[rows])
    rounding = {}
    if prepared.classes:
        expected = {PROBABILITIES: assessment.probabilities(calibrated=True, logits=known.logits)}
        if assessment.rejector is not None:
            scored = known.embedding, known.logits
            expected[REJECT_SCORE] = assessment.rejector.score(*scored)
            rounding[REJECT_SCORE] = assessment.rejector.rounding(*scored)
    else:
        expected = {VALUE: known.logits}
    # Where the features were computed: other devices have other last bits, and int8 more than those.
    device = str(prepared.trunk.features.model.session.device)
    return prove(path, images, expected, device=device, rounding=rounding, fresh=fresh)


def _as_learned_from(
    prepared: Prepared, assessment: Assessment
) -> tuple[NDArray[np.int64], list[tuple[str, Content]], list[str]]:
    """Measured images from all over, as they were when they were learned from: places, content, and who is not.

    Training may take hours, in which photos are moved or edited; others take their places.
    """
    measured = assessment.rows
    spread = np.linspace(0, len(measured) - 1, min(IMAGES, len(measured))).astype(np.int64)
    first = np.unique(spread)
    chosen: dict[int, tuple[str, Content]] = {}
    changed = []
    for row in measured[[*first, *np.setdiff1d(np.arange(len(measured)), first)]].tolist():
        if len(chosen) == len(first):
            break
        item = prepared.examples[row].item
        try:
            content = read_item(item)
            same = image_digest(content) == prepared.facts[row].digest
        except GraftError:
            same = False
        if same:
            chosen[row] = item.id, content
        else:
            changed.append(item.id)
    places = sorted(chosen)
    return np.array(places, np.int64), [chosen[row] for row in places], changed
