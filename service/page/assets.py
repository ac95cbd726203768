"""The files of the page, read once: the document, its scripts and style sheets, packed and named by their content."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from markupsafe import escape

HERE = Path(__file__).parent / "assets"
STRINGS = "strings.js"
MEDIA = {".css": "text/css", ".js": "text/javascript", ".html": "text/html", ".svg": "image/svg+xml"}
_INDEX = "index.html"
_PLACE = re.compile(r"{{ (\w+(?:\.\w+)*) }}")


@dataclass(frozen=True)
class Asset:
    """A file of the page: its bytes, the same packed with gzip, its media type, and its entity tag."""

    body: bytes
    packed: bytes
    media: str
    tag: str


def strings() -> dict[str, str]:
    """All texts of the page by their keys; the file is a module for browsers whose value is JSON."""
    text = (HERE / STRINGS).read_text(encoding="utf-8")
    texts: dict[str, str] = json.loads(text.partition("\nexport default ")[2].strip().rstrip(";"))
    return texts


def read_assets() -> tuple[str, dict[str, Asset]]:
    """A digest of all files, and each of them by its name.

    The document names its scripts and style sheets below the digest: they may be kept for ever, and a page never runs
    scripts of two releases.
    """
    texts = {file.name: file.read_bytes() for file in sorted(HERE.iterdir()) if file.suffix in MEDIA}
    digest = hashlib.sha256(b"".join(name.encode() + texts[name] for name in texts)).hexdigest()[:16]
    texts[_INDEX] = _filled(texts[_INDEX].decode(), digest, sorted(texts)).encode()
    return digest, {name: _asset(name, body) for name, body in texts.items()}


def _filled(document: str, digest: str, names: list[str]) -> str:
    """The document with its texts, and with the names of all files, so that a browser asks for them at once."""
    folder = f"page/{digest}"
    styles = [f'<link rel="stylesheet" href="{folder}/{name}">' for name in names if name.endswith(".css")]
    modules = [name for name in names if name.endswith(".js") and name != "frame.js"]
    scripts = [f'<link rel="modulepreload" href="{folder}/{name}">' for name in modules]
    values = {"folder": folder, "styles": "\n".join(styles), "scripts": "\n".join(scripts)}
    texts = strings()
    return _PLACE.sub(lambda place: values.get(place[1]) or str(escape(texts[place[1]])), document)


def _asset(name: str, body: bytes) -> Asset:
    media = MEDIA[Path(name).suffix]
    tag = hashlib.sha256(body).hexdigest()[:32]
    return Asset(body, gzip.compress(body, 9, mtime=0), f"{media}; charset=utf-8", tag)
