"""Plots as inline SVG that follows the colours of the page. Text stays text; the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from finetune.report.axes import Axes as Axes  # where plots look for it

# Each is a colour of the page, and what it is where the plot stands by itself.
INK, SOFT, RULE, GROUND = (
    f"var(--{name}, {colour})"
    for name, colour in (("ink", "#16191d"), ("soft", "#56606b"), ("rule", "#dfe3e8"), ("ground", "#fefefe"))
)
BLUE, ORANGE, GREEN = (
    f"var(--{name}, {colour})"
    for name, colour in (
        ("blue", "#0072b2"),
        ("orange", "#c65300"),
        ("green", "#00805c"),
    )
)
_SIZE = (374.0, 223.0)  # small, so that letters of 10 are still read on a narrow screen
TALL = (374.0, 259.0)


def draw(name: str, alt: str, paint: Callable[[Axes], None], size: tuple[float, float] = _SIZE) -> Markup:
    """One plot as an `<svg>` element: `paint` fills the axes, `alt` is read to who cannot see it.

    `name` makes the ids within the element different from those of other plots on the page. No text of the user's
    belongs on a plot: the page shows it better.
    """
    axes = Axes()
    paint(axes)
    return Markup(axes.svg(name, alt, *size, INK, SOFT, RULE))
