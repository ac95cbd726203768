"""`graft models cuts`: where can a model be cut?"""

from __future__ import annotations

import math

import click

from models.card import Cut
from models.truncation import list_cuts
from service.cli.terminal.cards import model_and_card
from service.cli.terminal.text import clean, columns


@click.command()
@click.argument("model")
def command(model: str) -> None:
    """List the places where a model can be cut, with the shape of what is there for one image.

    Any other tensor of the graph can be named too where a cut point is asked for.
    """
    proto, card = model_and_card(model)
    cuts = card.cuts or list_cuts(proto)
    rows = [("CUT POINT", "SHAPE", "VALUES")]
    rows += [(clean(cut.name), _shape(cut), _values(cut)) for cut in cuts]
    click.echo(columns(rows, right=(2,)))


def _shape(cut: Cut) -> str:
    return " x ".join(str(side) if side >= 0 else "?" for side in cut.shape)


def _values(cut: Cut) -> str:
    return f"{math.prod(cut.shape):,}" if min(cut.shape, default=0) > 0 else "?"
