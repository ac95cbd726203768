"""Class names: read from files, or the packaged ones of ImageNet."""

from __future__ import annotations

from pathlib import Path

from models.card import Label
from models.errors import InputError

_IMAGENET = Path(__file__).parent / "data" / "imagenet_1k.tsv"
BACKGROUND = Label("background", "background")


def imagenet_labels(classes: int = 1000) -> tuple[Label, ...]:
    """The 1,000 classes of ImageNet; 1,001 puts TensorFlow's background class first."""
    labels = read_labels(_IMAGENET)
    return (BACKGROUND, *labels) if classes == 1001 else labels


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read one class a line: a name, or an id, a tab and a name. Lines beginning with # are left out.

    Ids are unique in what is returned: where a name stands twice (ImageNet has two kinds of crane), the later
    ones get their line number.

    Raises:
        InputError: not a text file, or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(
            f"{path}: cannot be read as labels ({exc}); expected a text file, one class a line."
        ) from exc
    labels: dict[str, Label] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            key, _, name = line.strip().partition("\t")
            unique = f"{key} {len(labels) + 1}" if key in labels else key
            labels[unique] = Label(unique, name or key)
    if not labels:
        raise InputError(f"{path}: no labels in it; expected one class a line.")
    return tuple(labels.values())
