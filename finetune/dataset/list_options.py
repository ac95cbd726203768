"""How a list of images is read where its header or its place do not say."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class ListOptions:
    """What a caller says of a list: where its images lie, and which columns name them and their classes."""

    images: str | None = field(default=None, metadata={"help": "Folder in which a list's images lie."})
    path_column: str | None = field(default=None, metadata={"help": "A list's column that names the image."})
    label_column: str | None = field(
        default=None, metadata={"help": "A list's column with the class, or the number of a regression."}
    )
    label_separator: str | None = field(
        default=None, metadata={"help": "What parts several labels in a cell (multilabel), such as ';'."}
    )
    allow_urls: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Hosts from which a list's images are fetched by their address: name, name:port, *.domain, or * "
            "for all; never from addresses that are not public."
        },
    )

    @property
    def given(self) -> list[str]:
        """The options that say something, as the command line calls them."""
        return [f"--{one.name.replace('_', '-')}" for one in fields(self) if getattr(self, one.name)]
