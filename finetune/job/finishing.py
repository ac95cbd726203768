"""The finished model: written into one file, which a fresh process must read alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from feature_extraction.items import read_item
from finetune.heads.assembly import assemble
from finetune.heads.running import run_top
from finetune.job.assessment import Assessment
from finetune.job.learned import Learned
from finetune.job.preparation import Prepared
from finetune.trust.proof import IMAGES, FreshProcess, Proof, prove
from models.card import ModelCard
from models.names import PROBABILITIES, REJECT_SCORE, VALUE
from models.proof_making import try_to_write_proof
from models.serialized import write_model


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
    path: Path, prepared: Prepared, learned: Learned, assessment: Assessment, fresh: FreshProcess
) -> Proof:
    """Let a fresh process answer for some of the measured images.

    Raises:
        ModelError: it answers otherwise than the training; the file is put aside.
    """
    rows = assessment.rows
    places = np.unique(np.linspace(0, len(rows) - 1, min(IMAGES, len(rows))).astype(np.int64))
    chosen = [prepared.examples[rows[place]].item for place in places]
    # Not the outputs that were measured: those may be of models that have not learned from these images.
    known = run_top(learned.top, prepared.features[rows[places]])
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
    images = [(item.id, read_item(item)) for item in chosen]
    return prove(path, images, expected, device=device, rounding=rounding, fresh=fresh)
