"""How numbers and names are written on pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

NONE = "–"


def percent(share: float | None, digits: int = 1) -> str:
    """0.8817 as "88.2 %"; a dash where there is no number."""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}\u00a0%"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent where that is readable."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0 or 1e-3 <= abs(value) < 10**digits:
        text = f"{value:.{digits}g}"
    elif 1 <= abs(value) < 1e9:
        text = f"{value:,.0f}".replace(",", "\u202f")
    else:
        text = f"{value:.{digits - 1}e}"
    return text.replace("-", "\u2212", 1) if value < 0 else text


def count(value: int) -> str:
    """An integer with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def seconds(value: float) -> str:
    """A time in the unit that suits it: 0.012 as "12 ms", 75 as "1 min 15 s"."""
    if not math.isfinite(value):
        return NONE
    if 0 < value < 0.0005:
        return "under 1\u00a0ms"
    if value < 1:
        return f"{1000 * value:.3g}\u00a0ms"
    if value < 59.95:
        return f"{value:.1f}\u00a0s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min {rest}\u00a0s"
    return f"{minutes // 60}\u00a0h {minutes % 60}\u00a0min"


def size(octets: int) -> str:
    """Bytes as "1.2 MB"."""
    value = float(octets)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g}\u00a0{unit}"
        value /= 1000
    return f"{value:.3g}\u00a0GB"


def short(text: str, most: int = 60) -> str:
    """The beginning of a long text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quoted(name: str) -> str:
    """A name between quotation marks, cut where it is long."""
    return f"“{short(name)}”"


def tail(text: str, most: int = 48) -> str:
    """The end of a long text, which is what tells paths apart."""
    return text if len(text) <= most else f"…{text[1 - most :]}"


def plural(items: int, word: str) -> str:
    """ "1 image", "2 images", "2 classes"."""
    return f"{count(items)} {word}{'' if items == 1 else 'es' if word.endswith('s') else 's'}"


def flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of a table: names in words, values as text; what is not set is left out."""
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows += flatten(value, f"{name}: ")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value, 1):
                rows += flatten(one, f"{name} {number}: " if len(value) > 1 else f"{name}: ")
        elif (text := _value(value)) != NONE:
            rows.append((name, text))
    return rows


def _value(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, (list, tuple)) and not value):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return str(value)


FILTERS: dict[str, Callable[..., str]] = {
    "percent": percent,
    "number": number,
    "count": count,
    "seconds": seconds,
    "size": size,
    "short": short,
    "tail": tail,
    "plural": plural,
}
