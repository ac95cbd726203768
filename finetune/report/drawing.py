"""Plots as inline SVG that follows the colours of the page. Text stays text; the same numbers give the same bytes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, RULE, GROUND = "#16191d", "#56606b", "#dfe3e8", "#fefefe"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#c65300", "#00805c", "#a8578a"
_VARIABLES = {
    INK: "ink",
    SOFT: "soft",
    RULE: "rule",
    GROUND: "ground",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
}
_COLOUR = re.compile("|".join(_VARIABLES))
_SIZE = (5.2, 3.1)  # inches; small, so that text of 10 points is still read on a narrow screen
_STYLE: Any = {  # matplotlib's keys have no type of their own
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


def draw(name: str, alt: str, paint: Callable[[Axes], None], size: tuple[float, float] = _SIZE) -> Markup:
    """One plot as an `<svg>` element: `paint` fills the axes, `alt` is read to who cannot see it.

    `name` makes the ids within the element different from those of other plots on the page. No text of the user's
    belongs on a plot: fonts may lack its letters, and the page shows it better.
    """
    _import_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.add_subplot())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _inline(stream.getvalue(), name, alt)


def legend(axes: Axes) -> None:
    """Names of the lines above the plot, where no line is."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=3,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=1.6,
    )


def _import_matplotlib() -> None:
    """Import matplotlib whatever MPLBACKEND says: a notebook's may be unknown here, and nothing is shown anyway."""
    wanted = os.environ.get("MPLBACKEND")
    if wanted is None or "matplotlib" in sys.modules:
        return
    del os.environ["MPLBACKEND"]
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = wanted
    with contextlib.suppress(
        ValueError, ImportError
    ):  # what else is drawn in this process has its own backend
        matplotlib.rcParams["backend"] = wanted


def _inline(svg: str, name: str, alt: str) -> Markup:
    """The element alone, in the page's colours; without matplotlib's style sheet, which would reach all of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.S)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.S)
    used = set(re.findall(r"[\"(]#([^\")]+)", svg))  # by href="#..." and url(#...)
    svg = re.sub(r' id="([^"]*)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", svg)
    svg = re.sub(
        r"([\"(])#([^\")]+)(?=[\")])",
        lambda match: f"{match[1]}#{name}-{match[2]}" if match[2] in used else match[0],
        svg,
    )
    svg = _COLOUR.sub(lambda match: f"var(--{_VARIABLES[match[0]]}, {match[0]})", svg)
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1).strip())
