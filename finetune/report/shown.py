"""Images of kinds that are none of a model's classes, and how many of them it would accept."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.pages.formatting import short
from models.wording import percent


@dataclass(frozen=True)
class Shown:
    """Images of a kind that is none of the classes, and how many of them a model would accept as one."""

    kind: str  # in the plural, such as "documents"
    images: int
    accepted: int
    examples: tuple[
        tuple[str, str, float], ...
    ] = ()  # accepted images, class and probability, the surest first

    def words(self) -> str:
        """ "6 of 6 noise (dress 92.5 %)"."""
        _, name, probability = self.examples[0] if self.examples else ("", "", 0.0)
        surest = f" ({short(name)} {percent(probability)})" if name else ""
        return f"{self.accepted} of {self.images} {self.kind}{surest}"


def shown_words(strangers: tuple[Shown, ...]) -> str:
    """One sentence about all of them; "" where there are none."""
    if not strangers:
        return ""
    images, accepted = sum(one.images for one in strangers), sum(one.accepted for one in strangers)
    beginning = (
        f"Of {images} images that are none of the classes - {', '.join(one.kind for one in strangers)} -"
    )
    if not accepted:
        return f"{beginning} it would accept none."
    which = ", ".join(one.words() for one in strangers if one.accepted)
    return f"{beginning} it would accept {accepted}: {which}."
