"""One image of a request."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import ImageError, InputError


@dataclass(frozen=True)
class Upload:
    """One image of a request: the client's name for it, and its bytes or why there are none."""

    name: str
    data: bytes | ImageError

    @property
    def content(self) -> bytes:
        """Its bytes.

        Raises:
            ImageError: there are none.
        """
        if isinstance(self.data, ImageError):
            raise self.data
        return self.data


def too_many_images(count: int, most: int) -> InputError:
    """The refusal of more images than go together."""
    return InputError(f"the request holds {count} images; at most {most} go together. Send several requests.")
