"""What stands in the addresses of /v1."""

from __future__ import annotations

from typing import Literal

from models.errors import InputError
from models.settings import setting, settings

MOST_MAPS = 20  # in one answer


@settings
class OfVersion:
    """Which version of a model."""

    version: int | None = setting(
        None, "Version of the model.", unset="the stable one, else the newest", least=1
    )
    label: str | None = setting(None, "A label that stands for a version, such as stable or canary.")

    @property
    def which(self) -> tuple[int | None, str | None]:
        """Version and label, of which one may be given.

        Raises:
            InputError: both are.
        """
        if self.version is not None and self.label is not None:
            raise InputError("the request names a version and a label; expected one of them.")
        return self.version, self.label


@settings
class Choosing(OfVersion):
    """Which model answers, and for how long somebody waits."""

    model: str | None = setting(None, "Name of a model.", unset="the first one that is served")
    timeout_ms: int | None = setting(
        None,
        "Milliseconds until the answer is worth nothing any more; what has not begun by then is dropped.",
        unset="as long as the service allows",
        least=1,
    )


@settings
class Classify(Choosing):
    """Of /v1/classify."""

    top_k: int = setting(5, "How many classes of each image are told.", least=1)


@settings
class FeaturesOf(Choosing):
    """Of /v1/features."""

    cut: str | None = setting(
        None, "Cut point that the model lists.", unset="pool, else what the last layer reads"
    )
    pool: Literal["avg", "max", "none", "flatten"] = setting(
        "avg", "What is done to maps: mean or maximum over positions, nothing, or one long vector."
    )
    normalize: Literal["none", "l2"] = setting("none", "l2 makes vectors of length 1.")
    encoding: Literal["json", "base64"] = setting("json", "How numbers are written.")

    @property
    def norm(self) -> Literal["l2"] | None:
        """The norm that vectors are divided by."""
        return None if self.normalize == "none" else "l2"


@settings
class Explain(Choosing):
    """Of /v1/explain."""

    class_: tuple[str, ...] = setting(
        (),
        "Id or name of a class to look for; may be given several times.",
        unset="the most probable ones, as many as top_k says",
    )
    top_k: int = setting(1, "How many of the most probable classes are looked for.", least=1, most=MOST_MAPS)
    cut: str | None = setting(None, "Feature map to look at.", unset="the last one before the classifier")
    format: Literal["json", "png"] | None = setting(
        None, "Maps as numbers, or a picture with one of them over the photo.", unset="what Accept prefers"
    )
    size: int = setting(
        800, "Longest side of the picture in pixels; it is never larger than the photo.", least=64, most=2048
    )

    def __post_init__(self) -> None:
        if self.class_ and self.top_k != 1:
            raise InputError("class names classes, and top_k counts them; expected one of the two.")
        if len(self.class_) > MOST_MAPS:
            raise InputError(f"class is given {len(self.class_)} times; expected at most {MOST_MAPS}.")


@settings
class OfModel(OfVersion):
    """Of /v1/models/NAME."""

    name: str = setting("", "Name of a model.")


@settings
class NamedModel:
    """Of a model, whichever version answers."""

    name: str = setting("", "Name of a model.")
