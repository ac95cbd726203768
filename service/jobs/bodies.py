"""What requests to datasets and jobs carry: archives, which go to the disk, and small JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from flask import Request, request

from models.errors import FieldError, InputError
from models.wording import listed
from service.front.spooling import SPOOLED
from service.jobs.workspace import Workspace, new_id
from service.registry import Registry

_STEP = 1 << 20
_TEXT_MOST = 10_000  # characters of one field
DATASETS = "/v1/datasets"
ZIP = "application/zip"
ARCHIVES = (ZIP, "application/x-zip-compressed", "application/octet-stream")  # content types of archives


def json_fields(registry: Registry, known: Collection[str], needed: Collection[str] = ()) -> dict[str, Any]:
    """The fields of the request's JSON object.

    Raises:
        InputError: it is no object, or has fields that are not known, or lacks one.
    """
    with registry.bodies.memory.share() as share:
        body = registry.bodies.body(request, share)
    form = f"a JSON object with {listed(sorted(known), 20)}"
    try:
        values: Any = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"the body is no JSON ({str(exc)[:100]}); expected {form}.") from exc
    if not isinstance(values, dict):
        raise InputError(f"the body is no object; expected {form}.")
    for name in values:
        if name not in known:
            raise FieldError(f"the field {name[:60]!r} is not known; expected {form}.", name[:60])
    for name in needed:
        if name not in values:
            raise FieldError(f"{name} is missing; expected {form}.", name)
    return values


def text_fields(registry: Registry, known: Collection[str], needed: Collection[str] = ()) -> dict[str, str]:
    """`json_fields` of which all are texts.

    Raises:
        InputError: as `json_fields`, or one is no text.
    """
    values = json_fields(registry, known, needed)
    for name, value in values.items():
        if not isinstance(value, str) or len(value) > _TEXT_MOST:
            raise FieldError(f"{name} is {repr(value)[:60]}; expected text.", name)
    return values


@contextlib.contextmanager
def received(given: Request, workspace: Workspace) -> Iterator[Path]:
    """The body of a request as a file, which is gone when the block ends.

    Raises:
        FullError: there is no room for it.
    """
    file = given.environ.get(SPOOLED) or workspace.incoming / f"{new_id()}.zip"
    try:
        if SPOOLED not in given.environ:
            with file.open("xb") as target:
                while data := given.environ["wsgi.input"].read(_STEP):
                    workspace.require(len(data))
                    target.write(data)
        yield file
    finally:
        file.unlink(missing_ok=True)
        workspace.count_again()
