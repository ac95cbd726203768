"""What labelling tools export: Label Studio's and Datumaro's JSON, CVAT's XML, and addresses of Azure and others.

Label Studio: https://labelstud.io/guide/task_format and its "JSON-MIN"; CVAT: https://docs.cvat.ai/docs/other/xml_format,
"CVAT for images", whose `tag` is a class of the whole image; Datumaro: what CVAT exports by that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from feature_extraction.items import printable
from models.errors import SourceError
from models.wording import counted

_SUFFIXES = (".json", ".xml")
_UPLOADED = re.compile(
    r"[0-9a-f]{8}-(.+)", re.DOTALL
)  # Label Studio writes this before the name of what it was given
_CLASSES = (
    "a class of the whole image (choices in Label Studio, in JSON-MIN called choice or label; a tag in CVAT)"
)
_MOST = 256 << 20  # bytes of an export, which is read as a whole

Labelled = tuple[str, list[str], bool]  # an image, its classes, and whether it has boxes or other shapes


@dataclass(frozen=True)
class Export:
    """The images of an export with the classes that somebody gave them, and what is to be said about the others.

    `records`: where each stands, and its columns `image` and `label`: a class, or several as a JSON list.
    """

    records: list[tuple[str, dict[str, str]]]
    notes: tuple[str, ...]


def is_export(path: Path) -> bool:
    """Whether a file may be what a labelling tool has exported, by its name."""
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def exported(path: Path, *, lists: bool = False) -> Export:
    """What an export says of its images. `lists`: one class is a list as well, whatever signs stand in its name.

    Raises:
        SourceError: it cannot be read, is of no tool that is known, or gives no image a class.
    """
    source = printable(str(path))
    read = _xml if path.suffix.lower() == ".xml" else _json
    records: list[tuple[str, dict[str, str]]] = []
    without, shapes = list[str](), 0
    for number, (image, classes, shaped) in enumerate(read(path), 1):
        shapes += shaped
        if not classes:
            without.append(image)
            continue
        one = len(classes) == 1 and not lists
        label = classes[0] if one else json.dumps(classes, ensure_ascii=False)
        records.append((f"{source}, image {number}", {"image": image, "label": label}))
    if not records:
        seen = (
            f"; {counted(shapes, 'image')} with boxes or other shapes, which say where and not what"
            if shapes
            else ""
        )
        raise SourceError(
            f"{source}: none of its {counted(len(without), 'image')} has {_CLASSES}{seen}. Label them, and export "
            "again."
        )
    notes = []
    if without:
        unlabelled = counted(len(without), "image")
        notes.append(
            f"{source}: {unlabelled} not labelled there and not used, such as {printable(without[0])}."
        )
    if shapes:
        notes.append(f"{source}: boxes and other shapes on {counted(shapes, 'image')} are not used.")
    return Export(records, tuple(notes))


def is_upload(file: str) -> bool:
    """Whether a path is one of Label Studio's own server."""
    return file.startswith(("/data/upload/", "/data/local-files/"))


def names_at(file: str) -> Iterator[str]:
    """How the image behind an address may be called in a folder here, the likeliest first."""
    place = urlsplit(file)
    path = unquote(place.path)
    if within := parse_qs(place.query).get("d"):  # Label Studio's local files
        path = within[0]
    name = path.replace("\\", "/").rpartition("/")[2]
    if not name:
        return
    yield name
    if uploaded := _UPLOADED.fullmatch(name):
        yield uploaded[1]


def _json(path: Path) -> list[Labelled]:
    try:
        _check_size(path)
        content = json.loads(path.read_bytes())
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read ({exc.strerror}). Check the file.") from exc
    except (ValueError, RecursionError) as exc:
        raise SourceError(f"{path}: not JSON ({exc}). Export it again.") from exc
    try:
        if isinstance(content, Mapping) and "items" in content and "categories" in content:
            return list(_datumaro(content))
        if isinstance(content, list) and content and all(isinstance(task, Mapping) for task in content):
            return [_task(task) for task in content]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as exc:
        raise SourceError(
            f"{path}: looks like an export of Label Studio or CVAT, and cannot be used ({exc or type(exc).__name__}). "
            "Export it again, or as CSV."
        ) from exc
    raise SourceError(
        f"{path}: JSON of a kind that is not known; expected Label Studio's export (a list of tasks) or CVAT's "
        "Datumaro. Export it as one of them, or as CSV with the columns path and label."
    )


def _task(task: Mapping[str, Any]) -> Labelled:
    """A task of Label Studio, in its long form or in the short one."""
    if "data" not in task:
        choice = task.get("choice", task.get("label"))
        shapes = isinstance(choice, list) and any(isinstance(one, Mapping) for one in choice)
        return _image(task), [] if shapes else _choices(choice), shapes
    given: list[list[str]] = []
    shaped = False
    for annotation in task.get("annotations", task.get("completions", ())):
        if annotation.get("was_cancelled"):
            continue
        values = [result.get("value", {}) for result in annotation.get("result", ())]
        # A choice beside coordinates is the class of a region.
        whole = [value["choices"] for value in values if set(value) == {"choices"}]
        shaped |= len(whole) < len(values)
        given.append([name for choices in whole for name in _choices(choices)])
    given = [names for names in given if names]
    image = _image(task["data"])
    if any(set(names) != set(given[0]) for names in given):
        raise ValueError(
            f"{image} was labelled several times, and not alike: {' and '.join('+'.join(names) for names in given)}"
        )
    return image, list(dict.fromkeys(given[0])) if given else [], shaped


def _image(data: Mapping[str, Any]) -> str:
    """The image of a task: what is called so, or the only thing that is a path."""
    if isinstance(data.get("image"), str):
        return str(data["image"])
    paths = [value for value in data.values() if isinstance(value, str) and ("/" in value or "." in value)]
    if len(paths) != 1:
        raise ValueError("a task without an image")
    return paths[0]


def _choices(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = value.get("choices", ())
    names = list(value or ())
    if wrong := [one for one in names if not isinstance(one, str)]:
        raise ValueError(f"a choice is {wrong[0]!r:.60}, and no text")
    return names


def _datumaro(content: Mapping[str, Any]) -> Iterator[Labelled]:
    names = [label["name"] for label in content["categories"]["label"]["labels"]]
    for item in content["items"]:
        annotations = item.get("annotations", ())
        classes = [_name(names, one["label_id"]) for one in annotations if one["type"] == "label"]
        image = item.get("image", {}).get("path") or item["id"]
        yield str(image), list(dict.fromkeys(classes)), any(one["type"] != "label" for one in annotations)


def _name(names: list[str], index: int) -> str:
    if not 0 <= index < len(names):
        raise ValueError(f"a label_id is {index}, and there are {len(names)} labels")
    return str(names[index])


def _xml(path: Path) -> list[Labelled]:
    try:
        _check_size(path)
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_Builder())).getroot()
        if root.tag != "annotations":
            raise SourceError(
                f"{path}: XML that begins with <{root.tag[:40]}>; expected CVAT's <annotations>. Export it as "
                "`CVAT for images 1.1`."
            )
        if root.find("track") is not None:
            raise SourceError(
                f"{path}: tracks of a video. Export it as `CVAT for images 1.1`, which has an image for each frame."
            )
        return [_cvat_image(image) for image in root.iter("image")]
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read ({exc.strerror or exc}). Check the file.") from exc
    except (ElementTree.ParseError, KeyError, ValueError) as exc:
        raise SourceError(f"{path}: no XML of CVAT ({exc}). Export it again.") from exc


def _cvat_image(element: ElementTree.Element) -> Labelled:
    classes = [tag.attrib["label"] for tag in element.iter("tag")]
    shaped = any(child.tag != "tag" for child in element)
    return element.attrib["name"], list(dict.fromkeys(classes)), shaped


class _Builder(ElementTree.TreeBuilder):
    """Builds no tree of a file with a document type, in which entities could be made to explode."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        """Refuse it."""
        raise ValueError("it declares a document type, which no export of CVAT does")


def _check_size(path: Path) -> None:
    if path.stat().st_size > _MOST:
        raise SourceError(f"{path}: larger than {_MOST >> 20} MiB; no export is that large. Check the file.")
