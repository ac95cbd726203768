"""What a user may know of a network that comes without a card."""

from __future__ import annotations

from typing import Literal

from models.card import SCALES, Channels, Label, Normalization, Scale
from models.errors import InputError
from models.preprocessing import Interpolation
from models.settings import setting, settings

Layout = Literal["nchw", "nhwc"]


@settings
class ImportOptions:
    """What the user knows of a network; None is read, computed or guessed, and what was guessed is said."""

    name: str | None = setting(None, "What the model is called.", unset="the file's name")
    labels: tuple[Label, ...] | None = setting(
        None, "Text with one class a line, or JSON.", unset="read or guessed", metavar="FILE"
    )
    task: Literal["features", "classify", "multilabel", "regression"] | None = setting(
        None, "What the network gives: features, classes, labels of which several may hold, or a number.",
        unset="by its last layer",
    )  # fmt: skip
    output_name: str | None = setting(
        None, "The output to read, of several.", unset="by the last layer", metavar="NAME"
    )
    size: tuple[int, int] | None = setting(
        None, "Input size: 224, or HEIGHTxWIDTH.", least=1, unset="guessed", metavar="SIZE"
    )
    resize: Literal["shorter", "squash", "pad"] | None = setting(
        None,
        "shorter:256 scales the shorter side and crops; squash scales both; pad:224x320 fits the whole image in and "
        "pads it.",
        unset="guessed",
        metavar="HOW",
    )
    resize_to: int | None = setting(
        None, "Length of the shorter side before it is cropped.", unset="guessed", least=1
    )
    pad_value: int = setting(0, "Grey that --resize pad pads with; Ultralytics' is 114.", least=0, most=255)
    crop_fraction: float = setting(1.0, "Central part of both sides that is kept first.", above=0, most=1)
    interpolation: Interpolation | None = setting(None, "How pixels are resampled.", unset="guessed")
    scale: Scale | Normalization | None = setting(
        None,
        f"Values that the network takes: {', '.join(SCALES)}, or mean/std as r,g,b/r,g,b.",
        unset="computed or guessed",
        metavar="SCALE",
    )
    channels: Channels | None = setting(
        None, "Order of the colours that the network takes.", unset="read, computed or rgb"
    )
    layout: Layout | None = setting(None, "Order of the axes of its input.", unset="guessed")

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: grey to pad with, and nothing is padded.
        """
        if self.pad_value and self.resize != "pad":
            raise InputError("pad_value is for resize pad; leave it out, or ask for pad.")
