"""Every error that Graft raises on purpose, in one tree.

    GraftError
    ├── InputError              what the user gave cannot be used
    │   ├── FieldError          a field of a request's JSON cannot be used
    │   ├── ImageError          a file is not an image that can be read
    │   ├── MissingError        nothing has the id that was given
    │   └── SourceError         a path, glob, list or archive that gives no images
    ├── ModelError              a model file, name or card that cannot be used
    │   ├── UnknownModelError   no such model in the zoo, no such file
    │   ├── CutError            no such cut point or tensor
    │   └── WeightsError        weights that do not fit, are damaged or would run code
    ├── StoreError              a download failed
    │   ├── ChecksumError       what came is not what was expected
    │   └── OfflineError        the network or the host cannot be reached
    ├── OutputError             a file that cannot be written, or a folder of results that cannot be continued
    │   └── FullError           no room is left for what is to be kept
    ├── ConflictError           what is asked does not go with what stands there now
    ├── DeviceError             the device that was asked for cannot be had
    ├── LibraryError            a library is not installed, as in the small image
    ├── GraphError              a computation graph that cannot be built or differentiated
    │   ├── ShapeError          shapes that do not fit an operation
    │   └── GradientError       an operation without a gradient, or a variable that cannot have one
    ├── FeedError               a session was fed the wrong thing
    ├── NumericsError           NaN or infinity where a number was needed
    ├── AccessError             who asks may not do that
    │   └── TokenError          without an API token that is known
    ├── BusyError               not now; try again later
    │   └── OverloadedError     too much is waiting already
    ├── UnsupportedError        a part of a protocol that there is not here
    ├── DeadlineError           an answer did not come in the time that its caller gave
    └── CancelledError          nobody waits for the answer any more

Messages say what was given, what was expected, and what to do next. Errors of libraries are translated where
they are met, with `raise ... from exc`.
"""

from __future__ import annotations

from typing import Any


class GraftError(Exception):
    """Root of the tree. `str(error)` is one paragraph that a user can act on."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How it comes from another process: `Exception` would give the constructor the message alone."""
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(kind: type[GraftError], args: tuple[Any, ...]) -> GraftError:
    return kind.__new__(kind, *args)


class InputError(GraftError):
    """What the user gave cannot be used."""


class FieldError(InputError):
    """A field of a request's JSON cannot be used; `field` is its name, or its place such as `input[2]`."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class ImageError(InputError):
    """A file is not an image that can be read."""


class MissingError(InputError):
    """Nothing has the id that was given."""


class SourceError(InputError):
    """A path, glob, list or archive that gives no images."""


class ModelError(GraftError):
    """A model file, name or card that cannot be used."""


class UnknownModelError(ModelError):
    """No such model in the zoo and no such file."""


class CutError(ModelError):
    """No such cut point or tensor."""


class WeightsError(ModelError):
    """Weights that do not fit, are damaged or would run code."""


class StoreError(GraftError):
    """A download failed."""


class ChecksumError(StoreError):
    """What came is not what was expected."""


class OfflineError(StoreError):
    """The network or the host cannot be reached."""


class OutputError(GraftError):
    """A file that cannot be written, or a folder of results that cannot be continued."""


class FullError(OutputError):
    """No room is left for what is to be kept."""


class ConflictError(GraftError):
    """What is asked does not go with what stands there now."""


class DeviceError(GraftError):
    """The device that was asked for cannot be had."""


class LibraryError(GraftError):
    """A library is not installed, as in the small image."""


class GraphError(GraftError):
    """A computation graph that cannot be built."""


class ShapeError(GraphError):
    """Shapes that do not fit an operation."""


class GradientError(GraphError):
    """An operation without a gradient, or a variable that cannot have one."""


class FeedError(GraftError):
    """A session was fed the wrong thing."""


class NumericsError(GraftError):
    """NaN or infinity where a number was needed."""


class AccessError(GraftError):
    """Who asks may not do that."""


class TokenError(AccessError):
    """Without an API token that is known; `challenge` is for the header WWW-Authenticate."""

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


class BusyError(GraftError):
    """Not now; `retry_after` says in how many seconds to try again."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OverloadedError(BusyError):
    """Too much is waiting already."""


class UnsupportedError(GraftError):
    """A part of a protocol that there is not here."""


class DeadlineError(GraftError):
    """An answer did not come in the time that its caller gave."""


class CancelledError(GraftError):
    """Nobody waits for the answer any more."""
