"""Images in stores: what they are, packed, and what comes of them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping

from feature_extraction.items import Tally
from feature_extraction.sources import images
from models.errors import ImageError
from tests.fixtures import plain

RED, GREEN = plain("red"), plain("green")


def contents(spec: str, tally: Tally | None = None) -> dict[str, bytes | str]:
    """The images of a source by their names, as another process reads them: their bytes, or why there are none."""
    result: dict[str, bytes | str] = {}
    for item in pickle.loads(pickle.dumps(list(images(spec, tally)))):
        try:
            result[item.id] = bytes(item.read())
        except ImageError as exc:
            result[item.id] = str(exc)
    return result


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()
