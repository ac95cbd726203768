"""What `graft evaluate` prints of a model that gives numbers."""

from __future__ import annotations

import click

from finetune.trust.regression import RegressionEvaluation
from models.model import Model
from models.wording import counted, percent
from service.cli.terminal.text import clean, columns


def print_regression(result: RegressionEvaluation, model: Model) -> None:
    """Print errors in the unit of the target."""
    target = model.card.target
    unit = target.unit if target is not None else ""
    click.echo(f"  {counted(result.images, 'image')}, {len(result.failed)} could not be read\n")
    rows = [
        ("  mean absolute error", f"{result.mae:.4g}", unit),
        ("  mean squared error", f"{result.mse:.4g}", f"{unit} squared" if unit else ""),
        (
            "  R2",
            "none" if result.r2 is None else f"{result.r2:.4f}",
            "1 is perfect, 0 no better than the mean",
        ),
    ]
    if result.coverage is not None and target is not None:
        promised = "" if target.coverage is None else f"; the card says {percent(target.coverage, 0)}"
        rows.append(
            (
                "  within the interval",
                percent(result.coverage),
                f"+- {target.half_width:.4g} {unit}{promised}",
            )
        )
    speed = f"images/s, decoding included, on {model.session.device}"
    rows.append(("  speed", f"{result.images_per_second:,.0f}", speed))
    click.echo(columns([(name, figure, clean(note)) for name, figure, note in rows], right=(1,)))
