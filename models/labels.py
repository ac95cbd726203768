"""Class names: read from the files in which frameworks keep them, or the packaged ones of ImageNet."""

from __future__ import annotations

import ast
import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.card import Label
from models.errors import InputError
from models.wording import first_line

_IMAGENET = Path(__file__).parent / "data" / "imagenet_1k.tsv"
BACKGROUND = Label("background", "background")
# Where JSON keeps the names. Sources: transformers' config.json; Ultralytics' data files; Lobe's signature.json;
# plain habit.
_KEYS = ("id2label", "label2id", "names", "class_names", "classes", "labels", "Label")
_METADATA_KEYS = ("names", "id2label", "class_names", "classes", "labels")
# Beside a network, without its name in theirs.
_BESIDE = ("labels.txt", "classes.txt", "synset.txt", "labels.json", "class_indices.json", "config.json")
_INDEXED = re.compile(r"(\d{1,9})[:,]?[ \t]+(\S.*)")  # "0 cat", "0: cat", "0,<tab>cat"
_SYNSET = re.compile(r"(n\d{8})[ ,:]+(\S.*)")  # "n02123045 tabby, tabby cat"
_LONGEST = 4 << 20  # characters of a text that is parsed


def imagenet_labels(classes: int = 1000) -> tuple[Label, ...]:
    """The 1,000 classes of ImageNet; 1,001 puts TensorFlow's background class first."""
    labels = read_labels(_IMAGENET)
    return (BACKGROUND, *labels) if classes == 1001 else labels


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read the names of classes, in the order of a network's outputs.

    Text has one class a line: a name; an id, a tab and a name; a WordNet id and a name; or its index and a name, which
    then decides over the order. Lines beginning with # are left out. JSON is a list of names, a map from index to name
    or from name to index, or holds one under `id2label` (the `config.json` of transformers), `names`, `classes` or
    `labels`. Ids are unique in what is returned: where a name stands twice (ImageNet has two kinds of crane), the
    later ones get their line number.

    Raises:
        InputError: neither of them, or empty.
    """
    text = _text(path)
    try:
        if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
            return _from_json(text, whole=path.suffix.lower() == ".json")
        return _from_lines(text.splitlines())
    except ValueError as exc:
        raise InputError(
            f"{path}: cannot be read as labels ({exc}); expected one class a line, or JSON with a list of names or a "
            "map from index to name."
        ) from exc


def labels_in(metadata: Mapping[str, str]) -> tuple[str, tuple[Label, ...]] | None:
    """The key and the labels in the metadata of an ONNX file, or None: Ultralytics writes `names`, others alike."""
    for key in _METADATA_KEYS:
        text = metadata.get(key, "")
        if text.lstrip()[:1] not in ("{", "[") or len(text) > _LONGEST:
            continue
        try:
            return key, _of_values(_literal(text))
        except ValueError:
            continue
    return None


def labels_beside(path: Path) -> Iterator[Path]:
    """Files beside a network that may hold its labels, those that bear its name first."""
    stem = path.stem
    for beside in sorted(path.parent.glob("*_labels.txt")):
        if stem.startswith(beside.name.removesuffix("_labels.txt")):
            yield beside
    names = (f"{stem}.txt", f"{stem}.json", *_BESIDE)
    # transformers' exports lie in a folder `onnx` below their config.json
    above = [path.parent.parent / "config.json"] if path.parent.name == "onnx" else []
    yield from (file for file in (*(path.parent / name for name in names), *above) if file.is_file())


def _text(path: Path) -> str:
    """The text of a file, UTF-8, or UTF-16 where it begins so: Windows' editors and shells write both."""
    try:
        data = path.read_bytes()
        if len(data) > _LONGEST:
            raise ValueError(f"it has {len(data):,} bytes")
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, ValueError) as exc:  # UnicodeDecodeError is a ValueError
        raise InputError(
            f"{path}: cannot be read as labels ({exc}); expected a text file, one class a line."
        ) from exc


def _from_json(text: str, *, whole: bool) -> tuple[Label, ...]:
    """Labels of JSON; a text that only begins like it has lines, unless it must be JSON as a `whole`."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as exc:
        if whole:
            raise ValueError(first_line(exc)) from exc
        return _from_lines(text.splitlines())
    return _of_values(values)


def _literal(text: str) -> Any:
    """The value that JSON or Python's own notation stands for."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as exc:
        raise ValueError(first_line(exc)) from exc


def _of_values(values: Any) -> tuple[Label, ...]:
    """Labels of a list, or of a map in one of the forms that frameworks write."""
    if isinstance(values, Mapping):
        inner = next((values[key] for key in _KEYS if isinstance(values.get(key), (Mapping, list))), None)
        if inner is not None:
            return _of_values(inner)
        return _unique(map(_label, _in_order(values)))
    if isinstance(values, Sequence) and not isinstance(values, str):
        return _unique(map(_label, values))
    raise ValueError(f"it holds {type(values).__name__}, not names")


def _in_order(values: Mapping[Any, Any]) -> list[Any]:
    """The names of a map from index to name, or from name to index, by index."""
    by_name = all(isinstance(value, int) and not isinstance(value, bool) for value in values.values())
    pairs = [(value, key) if by_name else (key, value) for key, value in values.items()]
    try:
        indexed = {int(index): name for index, name in pairs}
    except (TypeError, ValueError):
        raise ValueError(f"{str(pairs[0][0])[:40]!r} is no index") from None
    missing = sorted(set(range(len(pairs))) - set(indexed))
    if missing:
        raise ValueError(f"it has {len(pairs)} names, and none for index {missing[0]}")
    return [indexed[i] for i in range(len(pairs))]


def _label(value: Any) -> tuple[str, str]:
    """Id and name of an entry: a name, or [id, name] as in Keras' imagenet_class_index.json."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return str(value[0]), str(value[1])
    if not isinstance(value, str | int):
        raise ValueError(f"{str(value)[:40]!r} is no name")
    return str(value).strip(), str(value).strip()


def _from_lines(lines: Sequence[str]) -> tuple[Label, ...]:
    kept = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    indexed = [_INDEXED.fullmatch(line) for line in kept]
    numbers = [int(match[1]) for match in indexed if match]
    # All of 0 to n-1, or of 1 to n: names such as "18 wheeler" do not come so.
    if len(numbers) == len(kept) and sorted(numbers) in (
        list(range(len(kept))),
        list(range(1, len(kept) + 1)),
    ):
        by_index = sorted((int(match[1]), match) for match in indexed if match)
        # Before a tab stands an id, which a number may be.
        return _unique((match[1] if "\t" in match[0] else match[2], match[2]) for _, match in by_index)
    synsets = [_SYNSET.fullmatch(line) for line in kept]
    if all(synsets):
        return _unique((match[1], match[2]) for match in synsets if match)
    parts = [line.partition("\t") for line in kept]
    return _unique((key.strip(), name.strip() or key.strip()) for key, _, name in parts)


def _unique(pairs: Any) -> tuple[Label, ...]:
    """Labels of (id, name), an id that was there already with its place behind it."""
    labels: dict[str, Label] = {}
    for key, name in pairs:
        unique = f"{key} {len(labels) + 1}" if key in labels else key
        while unique in labels:  # another name may end in just that number
            unique += "'"
        labels[unique] = Label(unique, name)
    if not labels:
        raise ValueError("there is none in it")
    return tuple(labels.values())
