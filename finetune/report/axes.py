"""One plot: lines, bars, dots and bands on two axes, as SVG. Its methods are called as matplotlib's are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import escape
from numpy.typing import ArrayLike

from finetune.report.findings import Floats
from finetune.report.scales import Scale, limits, ticks, written

# Styles of lines, and their dashes.
_DASHES = {"-": "", "--": "7.4 3.2", ":": "2 3.3"}
_LETTER = 0.58  # of its size that a letter is wide, about
_SIZE, _SMALL = 10.0, 9.5  # of letters; of those in the legend
_LINE = 14.0  # height of one
_SWATCH, _APART = 20.0, 14.0  # of a legend
_RIGHT, _TOP = 8.0, 6.0  # room beside the plot


@dataclass(frozen=True)
class _Mark:
    """What is drawn: the numbers that the axes have to reach, and its elements once there are scales."""

    x: Floats
    y: Floats
    svg: Callable[[Scale, Scale], str]


@dataclass(frozen=True)
class _Named:
    """A line of the legend."""

    name: str
    swatch: Callable[[float, float], str]  # at its left end and middle


class Axes:
    """What is drawn on one plot. Colours are CSS colours; `label` gives a mark a line in the legend."""

    def __init__(self) -> None:
        self._marks: list[_Mark] = []
        self._named: list[_Named] = []
        self._labels = {"x": "", "y": ""}
        self._ends: dict[str, list[float | None]] = {"x": [None, None], "y": [None, None]}
        self._ticks: list[float] | None = None
        self._log = self._whole = self._from_zero = False
        self._grid = {"x": True, "y": True}

    def plot(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        color: str,
        label: str = "",
        linestyle: str = "-",
        linewidth: float = 2.0,
        marker: bool = False,
    ) -> None:
        """A line through points (N,), with gaps where one is NaN; a dot on each with `marker`."""
        xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
        style = _stroke(color, linewidth, linestyle)

        def svg(across: Scale, up: Scale) -> str:
            places, pen, path = np.stack([across.place(xs), up.place(ys)], axis=1), "M", []
            for place in places:
                if np.isfinite(place).all():
                    path.append(f"{pen}{_pair(*place)}")
                pen = "L" if np.isfinite(place).all() else "M"
            dots = "".join(_dot("o", place[0], place[1], 2.5) for place in places if np.isfinite(place).all())
            return f'<path d="{"".join(path)}" style="{style}"/>' + (
                f'<g style="fill: {color}">{dots}</g>' if marker else ""
            )

        self._add(xs, ys, svg)
        self._name(label, lambda a, b: f'<path d="M{_pair(a, b)}h{_SWATCH - 4:g}" style="{style}"/>')

    def scatter(
        self, x: ArrayLike, y: ArrayLike, *, sizes: ArrayLike, color: str, marker: str = "o",
        outline: str = "",
    ) -> None:  # fmt: skip
        """Dots or squares with areas `sizes` (N,) or one for all."""
        xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
        radii = np.broadcast_to(np.sqrt(np.asarray(sizes, np.float64)) / 2, xs.shape)
        edge = f"; stroke: {outline}; stroke-width: 0.4" if outline else ""

        def svg(across: Scale, up: Scale) -> str:
            places = zip(across.place(xs), up.place(ys), radii, strict=True)
            dots = "".join(_dot(marker, *place) for place in places)
            return f'<g style="fill: {color}{edge}">{dots}</g>'

        self._add(xs, ys, svg)

    def bar(
        self, left: ArrayLike, height: ArrayLike, width: float, bottom: ArrayLike = 0.0, *, color: str,
        label: str = "", outline: str = "",
    ) -> None:  # fmt: skip
        """Bars from `left` (N,), one `width` wide, on `bottom`."""
        lefts, heights = np.asarray(left, np.float64), np.asarray(height, np.float64)
        bottoms = np.broadcast_to(np.asarray(bottom, np.float64), heights.shape)
        edge = f"; stroke: {outline}; stroke-width: 0.5" if outline else ""

        def svg(across: Scale, up: Scale) -> str:
            starts, ends = across.place(lefts), across.place(lefts + width)
            lower, upper = up.place(bottoms), up.place(bottoms + heights)
            rows = zip(starts, ends, lower, upper, strict=True)
            bars = "".join(
                f'<rect x="{a:.1f}" y="{d:.1f}" width="{b - a:.1f}" height="{c - d:.1f}"/>'
                for a, b, c, d in rows
                if c - d > 0
            )
            return f'<g style="fill: {color}{edge}">{bars}</g>'

        self._from_zero = True
        self._add(np.concatenate([lefts, lefts + width]), np.append(bottoms + heights, 0.0), svg)
        square = f'width="{_SWATCH - 4:g}" height="7" style="fill: {color}"'
        self._name(label, lambda a, b: f'<rect x="{a:.1f}" y="{b - 3.5:.1f}" {square}/>')

    def fill_between(
        self, x: ArrayLike, low: ArrayLike, high: ArrayLike, *, color: str, alpha: float
    ) -> None:
        """A band from `low` to `high`, (N,) each."""
        xs, lows, highs = (np.asarray(values, np.float64) for values in (x, low, high))

        def svg(across: Scale, up: Scale) -> str:
            there = zip(across.place(xs), up.place(highs), strict=True)
            back = zip(across.place(xs)[::-1], up.place(lows)[::-1], strict=True)
            points = " ".join(_pair(*place) for place in (*there, *back))
            return f'<polygon points="{points}" style="fill: {color}; fill-opacity: {alpha:g}"/>'

        self._add(np.concatenate([xs, xs]), np.concatenate([lows, highs]), svg)

    def errorbar(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, *, color: str, alpha: float) -> None:
        """A thin upright line from `low` to `high` at each x, (N,) each."""
        xs, lows, highs = (np.asarray(values, np.float64) for values in (x, low, high))

        def svg(across: Scale, up: Scale) -> str:
            rows = zip(across.place(xs), up.place(lows), up.place(highs), strict=True)
            path = "".join(f"M{_pair(a, b)}V{c:.1f}" for a, b, c in rows)
            return f'<path d="{path}" style="{_stroke(color, 1)}; stroke-opacity: {alpha:g}"/>'

        self._add(np.concatenate([xs, xs]), np.concatenate([lows, highs]), svg)

    def axvline(
        self, x: float, *, color: str, linestyle: str = "-", linewidth: float = 1.0, label: str = ""
    ) -> None:
        """An upright line across the plot."""
        style = _stroke(color, linewidth, linestyle)
        at, none = np.array([x], np.float64), np.zeros(0)
        self._add(
            at,
            none,
            lambda across, up: (
                f'<path d="M{across.place(at)[0]:.1f} {up.start:.1f}V{up.end:.1f}" style="{style}"/>'
            ),
        )
        self._name(label, lambda a, b: f'<path d="M{_pair(a, b)}h{_SWATCH - 4:g}" style="{style}"/>')

    def set_xlabel(self, text: str) -> None:
        """What the numbers across are."""
        self._labels["x"] = text

    def set_ylabel(self, text: str) -> None:
        """What the numbers upwards are."""
        self._labels["y"] = text

    def set_xlim(self, left: float | None = None, right: float | None = None) -> None:
        """Ends of the axis across; None is where what is drawn ends."""
        self._ends["x"] = [left, right]

    def set_ylim(self, bottom: float | None = None, top: float | None = None) -> None:
        """Ends of the axis upwards."""
        self._ends["y"] = [bottom, top]

    def set_xscale(self, kind: Literal["linear", "log"]) -> None:
        """Whether equal steps across are equal factors."""
        self._log = kind == "log"

    def set_xticks(self, values: Sequence[float] | None = None, *, whole: bool = False) -> None:
        """The numbers that stand below the plot; or `whole` ones alone."""
        self._ticks, self._whole = None if values is None else [float(value) for value in values], whole

    def grid(self, visible: bool, *, axis: Literal["x", "y"]) -> None:
        """Whether lines go through the plot at the numbers of an axis."""
        self._grid[axis] = visible

    def svg(self, name: str, alt: str, width: float, height: float, ink: str, soft: str, rule: str) -> str:
        """The plot as an element; `name` keeps its ids apart from others', colours are of words, axes and grid."""
        legend, legend_height = self._legend(width, soft, ink)
        top, bottom = _TOP + legend_height, height - 2 * _LINE - 6
        low, high = self._limits("y")
        numbers = ticks(low, high, max(2, int((bottom - top) / 28)))
        texts = written(numbers)
        left = _LINE + 8 + _SIZE * _LETTER * max(map(len, texts), default=1)
        up = Scale(low, high, bottom, top)
        across = Scale(*self._limits("x"), left, width - _RIGHT, self._log)
        places = self._ticks
        if places is None:
            most = max(2, int((width - left) / 52))
            places = ticks(across.low, across.high, most, log=self._log, whole=self._whole)
        axis = f"fill: {soft}"
        parts = [
            f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {width:g} {height:g}" '
            f'xmlns="http://www.w3.org/2000/svg" font-size="{_SIZE:g}">',
            f'<clipPath id="{name}-area"><rect x="{left:.1f}" y="{top:.1f}" width="{width - _RIGHT - left:.1f}" '
            f'height="{bottom - top:.1f}"/></clipPath>',
        ]
        lines = [
            f"M{left:.1f} {y:.1f}H{width - _RIGHT:.1f}"
            for y in up.place(np.array(numbers))
            if self._grid["y"]
        ]
        lines += [
            f"M{x:.1f} {top:.1f}V{bottom:.1f}" for x in across.place(np.array(places)) if self._grid["x"]
        ]
        parts.append(f'<path d="{"".join(lines)}" style="{_stroke(rule, 0.8)}"/>')
        marks = "".join(mark.svg(across, up) for mark in self._marks)
        parts.append(f'<g clip-path="url(#{name}-area)">{marks}</g>')
        parts.append(
            f'<path d="M{left:.1f} {top:.1f}V{bottom:.1f}H{width - _RIGHT:.1f}" style="{_stroke(soft, 0.8)}"/>'
        )
        parts += [
            f'<text x="{left - 4:.1f}" y="{y + 3.5:.1f}" text-anchor="end" style="{axis}">{text}</text>'
            for y, text in zip(up.place(np.array(numbers)), texts, strict=True)
        ]
        parts += [
            f'<text x="{x:.1f}" y="{bottom + _LINE:.1f}" text-anchor="middle" style="{axis}">{text}</text>'
            for x, text in zip(across.place(np.array(places)), written(places), strict=True)
        ]
        middle = (left + width - _RIGHT) / 2, (top + bottom) / 2
        parts.append(
            f'<text x="{middle[0]:.1f}" y="{height - 4:.1f}" text-anchor="middle" style="{axis}">'
            f"{escape(self._labels['x'])}</text>"
        )
        parts.append(
            f'<text transform="translate({_SIZE:g} {middle[1]:.1f}) rotate(-90)" text-anchor="middle" style="{axis}">'
            f"{escape(self._labels['y'])}</text>"
        )
        return "".join([*parts, *legend, "</svg>"])

    def _add(self, x: Floats, y: Floats, svg: Callable[[Scale, Scale], str]) -> None:
        self._marks.append(_Mark(x, y, svg))

    def _name(self, label: str, swatch: Callable[[float, float], str]) -> None:
        if label:
            self._named.append(_Named(label, swatch))

    def _limits(self, axis: Literal["x", "y"]) -> tuple[float, float]:
        arrays = [mark.x if axis == "x" else mark.y for mark in self._marks]
        values = np.concatenate([np.zeros(0), *arrays])
        low, high = self._ends[axis]
        across = axis == "x"
        return limits(values, self._log and across, low, high, from_zero=self._from_zero and not across)

    def _legend(self, width: float, soft: str, ink: str) -> tuple[list[str], float]:
        """The names of the marks in lines above the plot, where nothing is drawn, and how high they are."""
        parts, x, y = [], 2.0, _TOP + _LINE / 2
        for named in self._named:
            wide = _SWATCH + _SMALL * _LETTER * len(named.name)
            if x > 2 and x + wide > width:
                x, y = 2.0, y + _LINE
            text = (
                f'<text x="{x + _SWATCH:.1f}" y="{y + 3.3:.1f}" font-size="{_SMALL:g}" style="fill: {ink}">'
            )
            parts.append(f"{named.swatch(x, y)}{text}{escape(named.name)}</text>")
            x += wide + _APART
        return parts, y + _LINE / 2 + 4 - _TOP if parts else 0.0


def _stroke(color: str, width: float, style: str = "-") -> str:
    dashes = f"; stroke-dasharray: {_DASHES[style]}" if _DASHES[style] else ""
    return f"fill: none; stroke: {color}; stroke-width: {width:g}{dashes}"


def _pair(x: float, y: float) -> str:
    return f"{x:.1f} {y:.1f}"


def _dot(marker: str, x: float, y: float, radius: float) -> str:
    if marker == "o":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
    side = 2 * radius
    return f'<rect x="{x - radius:.1f}" y="{y - radius:.1f}" width="{side:.1f}" height="{side:.1f}"/>'
