"""Numbers, or elements of BYTES, that stand in a field of a message of their own, not in raw bytes."""

from __future__ import annotations

from typing import Any

from models.errors import InputError
from service.bodies.memory import Share
from service.protocols.asking import JSON_VALUES

_VALUE_BYTES = 32  # of a number in a list, as an object


def listed(message: Any, field: str, name: str, raw: str, share: Share) -> list[Any]:
    """The values of a field, with whole numbers for BOOL. `name`: of the tensor; `raw`: the field for more of them.

    Raises:
        InputError: there are too many.
        BusyError: there is no memory for them now.
    """
    values = getattr(message, field)
    if len(values) > JSON_VALUES:
        raise InputError(
            f"{name[:60]!r} has {len(values):,} numbers in {field}; at most {JSON_VALUES:,} are taken there. Send them "
            f"in {raw}."
        )
    share.take(len(values) * _VALUE_BYTES)
    return list(map(int, values)) if field.startswith("bool_") else list(values)
