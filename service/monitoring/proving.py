"""Whether a model computes here what it computed where its file was written, looked at before it is served."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from models.errors import GraftError, ModelError
from models.model import Model
from models.proof import IMAGES, MEANINGLESS, largest_gap, read_proof

_log = logging.getLogger("graft")


@dataclass(frozen=True)
class Proven:
    """What came of a file's stored inputs. `failed` is served only where somebody asked for that."""

    state: Literal["none", "holds", "failed"]
    note: str


def proven(model: Model, spec: str, *, anyway: bool = False) -> Proven:
    """Run the inputs that a file carries, and compare. `anyway`: one that differs is served too, and that is logged.

    Raises:
        ModelError: the file computes differently on this machine, or its stored inputs cannot be read.
    """
    try:
        proof = read_proof(model.session.metadata, spec)
        if proof is None:
            return Proven(
                "none", "the file carries no stored inputs, so nobody knows whether it computes the same here"
            )
        device = model.session.device
        if (tolerance := proof.tolerance(device.kind)) > MEANINGLESS:
            return Proven("none", f"the network magnifies rounding: on {device} {tolerance:.2g} may be that")
        gap = largest_gap(model, proof)
        if gap.holds:
            exact = f"to {gap.difference:.1g}; {gap.tolerance:g} is allowed"
            return Proven("holds", f"{IMAGES} stored inputs give the stored answers {exact}")
        elsewhere = "" if device.kind == "cpu" else "--device cpu or "
        raise ModelError(
            f"{spec}: computes differently on this machine ({device}): {gap}. Get the file again, or try {elsewhere}"
            "another version of onnxruntime; --no-proof serves it all the same."
        )
    except GraftError as exc:
        if not anyway:
            raise
        _log.warning("served all the same, because no_proof is set: %s", exc)
        return Proven("failed", str(exc))
