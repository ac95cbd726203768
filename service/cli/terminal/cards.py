"""A model's graph and card, without a session."""

from __future__ import annotations

from onnx import ModelProto

from models.card import ModelCard, card_of
from models.errors import ModelError
from models.importing import as_graft_model
from models.locating import locate
from models.zoo import find
from service.cli.terminal.messages import print_guesses


def model_and_card(spec: str) -> tuple[ModelProto, ModelCard]:
    """The graph and card of a name or file; nothing is downloaded, and guesses go to standard error.

    Raises:
        ModelError: not a model, or one that has to be downloaded first.
    """
    row = find(spec)
    if row is not None and not row.file.is_file():
        raise ModelError(f"{row.name}: not on this machine yet. Get it with: graft models pull {row.name}")
    proto, notes = as_graft_model(locate(spec))
    print_guesses(spec, notes)
    card = card_of(proto, spec)
    if card is None:
        raise ModelError(f"{spec}: has no model card. Import it with `graft models import`.")
    return proto, card
