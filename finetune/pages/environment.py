"""Templates of pages: everything is escaped, unknown names are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from finetune.pages.formatting import FILTERS

_STYLE = Path(__file__).parent / "style.css"


def environment(folder: Path) -> Any:
    """Jinja's environment for the templates in a folder.

    Has the filters of `finetune.pages.formatting` and the global `style`, the common style sheet.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    made.globals["style"] = Markup(_STYLE.read_text(encoding="utf-8"))
    return made
