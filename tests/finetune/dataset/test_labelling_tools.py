"""Exports of labelling tools, in the forms that their documentation gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.dataset.examples import Dataset
from finetune.dataset.list_options import ListOptions
from finetune.dataset.opening import open_dataset
from models.errors import ImageError, SourceError
from tests.finetune.dataset.samples import jpeg, write

ONE = jpeg(1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write(tmp_path / "photos", dict.fromkeys(("a.jpg", "b.jpg", "c d.jpg", "deep/e.jpg"), ONE))


def opened(photos: Path, text: str, name: str = "export.json", **lists: Any) -> Dataset:
    (photos.parent / name).write_text(text, encoding="utf-8")
    return open_dataset(photos.parent / name, lists=ListOptions(images=str(photos), **lists))


def labels(dataset: Dataset) -> list[str]:
    assert all(one.item.read() == ONE for one in dataset.examples)
    return sorted(one.label for one in dataset.examples)


def task(image: str, *choices: str, **more: Any) -> dict[str, Any]:
    """A task of Label Studio with one annotation."""
    result = [{"from_name": "c", "to_name": "i", "type": "choices", "value": {"choices": list(choices)}}]
    annotation = {"id": 1, "was_cancelled": False, "result": result if choices else []} | more
    return {"id": 7, "data": {"image": image}, "annotations": [annotation], "predictions": []}


def cvat(*images: str) -> str:
    meta = "<version>1.1</version><meta><task><id>1</id></task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{meta}{"".join(images)}</annotations>'


def cvat_image(name: str, *inner: str) -> str:
    return f'<image id="0" name="{name}" width="20" height="20">{"".join(inner)}</image>'


TAG = '<tag label="{}" source="manual"></tag>'
BOX = '<box label="x" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0"></box>'


class TestLabelStudio:
    def test_json(self, photos: Path) -> None:
        tasks = [
            task("/data/upload/3/1a2b3c4d-a.jpg", "cat"),
            task("/data/local-files/?d=photos/c%20d.jpg", "dog"),
            task("s3://bucket/some/b.jpg", "cat"),
        ]
        dataset = opened(photos, json.dumps(tasks))
        assert labels(dataset) == ["cat", "cat", "dog"]
        assert any("3 paths of another place found by the last part alone" in note for note in dataset.notes)

    @pytest.mark.parametrize("choice", ["cat", {"choices": ["cat"]}, ["cat"]])
    def test_short_json(self, photos: Path, choice: Any) -> None:
        rows = [
            {"image": "/data/upload/1a2b3c4d-a.jpg", "id": 1, "choice": choice, "annotator": 1},
            {"image": "/data/upload/1a2b3c4d-b.jpg", "id": 2, "choice": "dog", "annotator": 1},
        ]
        assert labels(opened(photos, json.dumps(rows))) == ["cat", "dog"]

    def test_csv(self, photos: Path) -> None:
        text = (
            "annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at\n"
            "1,1,cat,2026-01-01,1,/data/upload/1/1a2b3c4d-a.jpg,2.5,2026-01-01\n"
            "2,1,dog,2026-01-01,2,/data/upload/1/1a2b3c4d-b.jpg,2.5,2026-01-01\n"
        )
        dataset = opened(photos, text, "export.csv")
        assert labels(dataset) == ["cat", "dog"]

    def test_what_is_not_labelled_is_said_and_left_out(self, photos: Path) -> None:
        tasks = [
            task("a.jpg", "cat"),
            task("b.jpg", "dog"),
            task("c d.jpg"),
            task("e.jpg", "dog", was_cancelled=True),
        ]
        dataset = opened(photos, json.dumps(tasks))
        assert labels(dataset) == ["cat", "dog"]
        assert any(
            "2 images not labelled there and not used, such as c d.jpg" in note for note in dataset.notes
        )

    def test_people_who_agree_are_one_and_others_are_named(self, photos: Path) -> None:
        twice = task("b.jpg", "dog")
        twice["annotations"] *= 2
        assert labels(opened(photos, json.dumps([task("a.jpg", "cat"), twice]))) == ["cat", "dog"]
        twice["annotations"] = [*task("", "dog")["annotations"], *task("", "cat")["annotations"]]
        with pytest.raises(
            SourceError, match=r"b.jpg was labelled several times, and not alike: dog and cat"
        ):
            opened(photos, json.dumps([task("a.jpg", "cat"), twice]))

    def test_several_classes_of_one_image_are_no_class(self, photos: Path) -> None:
        with pytest.raises(SourceError, match=r"image 1: label is \[.cat., .dog.\]"):
            opened(photos, json.dumps([task("a.jpg", "cat", "dog"), task("b.jpg", "dog")]))

    def test_a_class_of_a_region_is_none_of_the_image(self, photos: Path) -> None:
        region = task("c d.jpg", "dog")
        region["annotations"][0]["result"][0]["value"] |= {"x": 1, "y": 1, "width": 5, "height": 5}
        dataset = opened(photos, json.dumps([task("a.jpg", "cat"), task("b.jpg", "dog"), region]))
        assert labels(dataset) == ["cat", "dog"]
        notes = " ".join(dataset.notes)
        assert "1 image not labelled there and not used, such as c d.jpg" in notes
        assert "boxes and other shapes on 1 image are not used" in notes

    def test_signs_in_the_name_of_a_label_part_nothing(self, photos: Path) -> None:
        tasks = [task("a.jpg", "Cats, small"), task("b.jpg", "Cats, small", "old"), task("c d.jpg", "[x]")]
        (photos / "export.json").write_text(json.dumps(tasks))
        dataset = open_dataset(photos / "export.json", "multilabel")
        assert dataset.classes == ("Cats, small", "[x]", "old")

    def test_a_choice_that_is_no_text_is_refused(self, photos: Path) -> None:
        wrong = task("a.jpg", "cat")
        wrong["annotations"][0]["result"][0]["value"]["choices"] = ["cat", 3]
        with pytest.raises(SourceError, match="a choice is 3, and no text"):
            opened(photos, json.dumps([wrong, task("b.jpg", "dog")]))


class TestCvat:
    def test_tags(self, photos: Path) -> None:
        text = cvat(
            cvat_image("a.jpg", TAG.format("cat")),
            cvat_image("deep/e.jpg", TAG.format("dog"), BOX),
            cvat_image("b.jpg", BOX),
        )
        dataset = opened(photos, text, "annotations.xml")
        assert labels(dataset) == ["cat", "dog"]
        assert any("1 image not labelled there and not used, such as b.jpg" in note for note in dataset.notes)

    def test_the_unpacked_export_is_a_source_itself(self, tmp_path: Path) -> None:
        root = write(tmp_path / "job", dict.fromkeys(("images/a.jpg", "images/b.jpg"), ONE))
        text = cvat(cvat_image("a.jpg", TAG.format("cat")), cvat_image("b.jpg", TAG.format("dog")))
        (root / "annotations.xml").write_text(text)
        dataset = open_dataset(root)
        assert labels(dataset) == ["cat", "dog"]
        assert any("labels come from" in note for note in dataset.notes)

    def test_boxes_alone_are_no_classes(self, photos: Path) -> None:
        with pytest.raises(SourceError, match=r"none of its 1 image has a class .*; 1 image with boxes"):
            opened(photos, cvat(cvat_image("a.jpg", BOX)), "annotations.xml")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("<html></html>", "begins with <html>; expected CVAT's <annotations>"),
            (
                "<annotations><track id='0'></track></annotations>",
                "tracks of a video. Export it as `CVAT for images",
            ),
            ("<annotations><image/></annotations>", "no XML of CVAT .*name"),
            ("<annotations>", "no XML of CVAT .*no element found"),
            (
                '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>',
                "declares a document type",
            ),
            (cvat(), "none of its 0 images has a class"),
        ],
        ids=["html", "video", "nameless", "cut off", "entities", "empty"],
    )
    def test_what_is_none(self, photos: Path, text: str, reason: str) -> None:
        with pytest.raises(SourceError, match=reason):
            opened(photos, text, "annotations.xml")


def test_datumaro(photos: Path) -> None:
    content: dict[str, Any] = {
        "info": {},
        "categories": {"label": {"labels": [{"name": "cat", "parent": ""}, {"name": "dog", "parent": ""}]}},
        "items": [
            {
                "id": "a",
                "annotations": [{"id": 0, "type": "label", "label_id": 1}],
                "image": {"path": "a.jpg"},
            },
            {
                "id": "deep/e",
                "annotations": [{"id": 0, "type": "label", "label_id": 0}],
                "image": {"path": ""},
            },
            {
                "id": "b",
                "annotations": [{"id": 0, "type": "bbox", "label_id": 0}],
                "image": {"path": "b.jpg"},
            },
        ],
    }
    assert labels(opened(photos, json.dumps(content))) == ["cat", "dog"]
    for index in (-1, 2):
        content["items"][0]["annotations"][0]["label_id"] = index
        with pytest.raises(SourceError, match=f"a label_id is {index}, and there are 2 labels"):
            opened(photos, json.dumps(content))


@pytest.mark.parametrize("scheme", ["AmlDatastore://some", "azureml://subscriptions/1/datastores/d/paths"])
def test_azure(photos: Path, scheme: str) -> None:
    rows = [
        {"image_url": f"{scheme}/a.jpg", "image_details": {"format": "jpg"}, "label": "can"},
        {"image_url": f"{scheme}/b.jpg", "label": "carton", "label_confidence": 1.0},
    ]
    dataset = opened(photos, "\n".join(map(json.dumps, rows)), "export.jsonl")
    assert labels(dataset) == ["can", "carton"]


def test_an_address_that_nothing_here_is_called_after_fails_alone(photos: Path) -> None:
    rows = [
        {"image_url": "AmlDatastore://d/a.jpg", "label": "can"},
        {"image_url": "AmlDatastore://d/missing.jpg", "label": "carton"},
    ]
    dataset = opened(photos, "\n".join(map(json.dumps, rows)), "export.jsonl")
    with pytest.raises(
        ImageError, match=r"nothing here is called missing.jpg. Say where the images lie with"
    ):
        dataset.examples[1].item.read()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "JSON of a kind that is not known"),
        ("[]", "JSON of a kind that is not known"),
        ("[1]", "JSON of a kind that is not known"),
        ('[{"id": 1}]', "cannot be used .a task without an image"),
        ('[{"data": {"image": "a.jpg"}, "annotations": 5}]', "cannot be used"),
        ('{"items": [{}], "categories": {}}', "cannot be used .*label"),
    ],
    ids=["broken", "deep", "object", "empty", "numbers", "nothing", "wrong", "half"],
)
def test_json_that_is_none(photos: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        opened(photos, text)
