from __future__ import annotations

import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from finetune.report import plots
from finetune.report.findings import Findings, History, LearningPoint, Previous, Rejection
from finetune.report.page import draw, write_report
from finetune.report.summary import Classification
from models.errors import OutputError
from tests.finetune.report.making import regression, run, thumbnail

VOID = {"meta", "br", "img", "link", "input", "hr"}
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> ' & {{ 7 * 7 }} $x$",
    "ممسحة \u202e evil \u0000 name",
    "长" * 5000,
    "]]></svg><style>*{display:none}</style>",
)


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order, ids used once, links that lead somewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        ids = [value for name, value in self.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        for name, value in self.attributes:
            if name in ("href", "xlink:href"):
                assert value is not None
                assert value[:1] == "#"
                assert value[1:] in ids

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page(folder: Path, findings: Findings, **how: Any) -> Page:
    return Page(write_report(folder, findings, **how))


def numbers(folder: Path) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A report with everything in it."""
    return page(tmp_path_factory.mktemp("whole"), run(), thumbnails=lambda row: thumbnail())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the plots out, which take the most time, where a test is about something else."""
    monkeypatch.setattr(plots, "draw", lambda name, alt, paint, size=None: Markup("<svg></svg>"))


def test_whole_report(whole: Page) -> None:
    found = whole
    for heading in (
        "Numbers",
        "Mistakes",
        "Classes",
        "Training",
        "Calibration",
        "None of these",
        "Learning curve",
    ):
        assert heading in found.text
    for words in (
        "80.0 % of 300 test images",
        "cat taken for dog : 20 images",
        "train/cat/broken.jpg",
        "Three images are grey.",
        "training: rate 0.001",
        "graft classify photo.jpg --model model.onnx",
        "How well that works was measured on photos of clouds.",
        "No measured image has a duplicate",
        "the largest difference was 1.0e-07",
        "Unknown images rejected 85.0 % 255 of 300",
        "Known images rejected 5.0 % 15 of 300; 0 of them would have been wrong",
    ):
        assert words in found.text
    assert "Not in this report" not in found.text
    assert found.html.count("data:image/jpeg;base64,") >= 20


def test_every_measure_is_in_the_numbers_for_programs(undrawn: None, tmp_path: Path) -> None:
    page(tmp_path, run())
    table = numbers(tmp_path)["classification"]
    image_by_image = {"truth", "predicted", "confidence"}  # under "images"
    measures = {field.name for field in dataclasses.fields(Classification)} - image_by_image
    assert measures <= {*table, *table["calibration"]}


def test_page_requests_nothing(whole: Page) -> None:
    found = whole
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in found.html
    assert not {"script", "link", "iframe", "object", "form"} & set(found.tags)
    assert found.tags.count("style") == 1  # none inside a drawing, where it would reach the whole page
    assert "@import" not in found.html
    assert "url(http" not in found.html
    assert all(str(value).startswith("data:image/jpeg") for name, value in found.attributes if name == "src")


def test_each_picture_is_shown_once(whole: Page) -> None:
    named = re.findall(r'<span class="file soft" title="([^"]*)"', whole.html)
    assert len(named) == len(set(named)) > 8
    assert "of the 12 surest stand above already" in " ".join(whole.text.split())


def test_the_curve_says_why_it_ends_elsewhere_than_the_headline(whole: Page, tmp_path: Path) -> None:
    text = " ".join(whole.text.split())
    assert "The curve ends at 80.0" not in text  # where both are 80.0 %
    points = (LearningPoint(50, 1.0, 0.7, 0.7, 0.01), LearningPoint(150, 0.99, 0.8, 0.71, 0.02))
    other = " ".join(page(tmp_path, run(learning_curve=points)).text.replace("\u00a0", " ").split())
    assert "The curve ends at 71.0 %, and the model itself is right on 80.0 %" in other


def test_pictures_and_drawings_have_words(whole: Page) -> None:
    found = whole
    labels = [value for name, value in found.attributes if name in ("aria-label", "alt")]
    assert all(labels)
    assert found.tags.count("img") == sum(name == "alt" for name, _ in found.attributes)
    drawings = [value for name, value in found.attributes if name == "role" and value == "img"]
    assert len(drawings) == 8


def test_same_findings_give_the_same_page(whole: Page, tmp_path: Path) -> None:
    assert page(tmp_path, run(), thumbnails=lambda row: thumbnail()).html == whole.html


@pytest.mark.usefixtures("undrawn")
def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    findings = run(
        HOSTILE, title=HOSTILE[0], warnings=HOSTILE, failed=tuple((name, name) for name in HOSTILE)
    )
    found = page(tmp_path, findings, thumbnails=lambda row: b"no picture")
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in found.text
    assert "{{ 7 * 7 }}" in found.text
    assert len(found.html) < 300_000
    assert numbers(tmp_path)["data"]["classes"] == list(HOSTILE)


@pytest.mark.usefixtures("undrawn")
def test_hostile_names_in_a_drawn_matrix(tmp_path: Path) -> None:
    names = tuple(f"{HOSTILE[i % 5]}{i}" for i in range(40))
    found = page(tmp_path, run(names, images=400))
    assert "script" not in found.tags
    assert "Confusion matrix of 40 classes" in found.html


@pytest.mark.usefixtures("undrawn")
def test_file_names_that_are_no_unicode(tmp_path: Path) -> None:
    broken = "caf\udce9.jpg"
    write_report(tmp_path, run(failed=((broken, "unreadable"),)))
    assert "caf?.jpg" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert numbers(tmp_path)["data"]["failed"][0]["image"] == broken


@pytest.mark.usefixtures("undrawn")
def test_ten_thousand_classes(tmp_path: Path) -> None:
    classes = 10_000
    truth = np.arange(300, dtype=np.int64)
    after = np.zeros((300, classes), np.float16)
    after[np.arange(300), truth + np.arange(300) % 2] = 0.9
    names = tuple(f"class {i} {'x' * 40}" for i in range(classes))
    findings = run(
        names,
        truth=truth,
        after=after,
        before=None,
        previous=None,
        ids=tuple(f"{i}/{'y' * 200}" for i in truth),
    )
    found = page(tmp_path, findings, thumbnails=lambda row: thumbnail(2000))
    assert len(found.html) < 3_000_000
    assert "With 10 000 classes a confusion matrix cannot be read" in found.text
    assert len(numbers(tmp_path)["classification"]["classes"]) == classes


def test_size_is_bounded_when_everything_is_long(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noisy = random.integers(0, 256, (500, 500, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "PNG")
    long = np.abs(random.normal(size=50_000))
    findings = run(
        tuple(f"{i} {'n' * 300}" for i in range(100)),
        images=3000,
        wrong=3000,
        history=History(long, long, long, long),
        settings={f"{i}": "v" * 1000 for i in range(1000)},
        warnings=("w" * 2000,) * 1000,
        failed=(("f" * 2000, "r" * 2000),) * 1000,
        learning_curve=tuple(LearningPoint(i + 1, 1.0, 0.5, 0.5, 1.0) for i in range(500)),
    )
    found = page(tmp_path, findings, thumbnails=lambda row: stream.getvalue())
    assert len(found.html) < 3_000_000


def test_one_test_image(tmp_path: Path) -> None:
    found = page(tmp_path, run(images=1, wrong=0, rejection=Rejection("energy", 0.5, np.zeros(1))))
    assert "few to judge by" in found.text
    assert "None of the" in found.text


@pytest.mark.usefixtures("undrawn")
def test_no_test_set(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("truth", "before", "after", "rejection", "leaks", "previous"))
    found = page(tmp_path, run(**nothing, ids=(), learning_curve=None, proof=None))
    assert "It is not known how good this model is" in found.text
    assert "there were no test images, so accuracy, confusions" in found.text
    assert "Learning curve : was not measured" in found.text
    assert numbers(tmp_path)["classification"] is None


@pytest.mark.usefixtures("undrawn")
def test_no_validation_set(tmp_path: Path) -> None:
    found = page(tmp_path, run(history=History(np.array([3.0, 2, 1]))))
    assert "Without validation images nothing can be said about over-fitting." in found.text
    assert "Validation curve : there were no validation images." in found.text


def test_nan_in_curves(tmp_path: Path) -> None:
    broken = np.array([1.0, np.nan, np.inf, 0.5])
    curve = (
        LearningPoint(50, 1.0, float("nan"), None, 0.1),
        LearningPoint(90, 1.0, float("nan"), None, float("nan")),
    )
    findings = run(history=History(broken, broken, broken, broken * np.nan), learning_curve=curve)
    assert "became infinite or not a number in epoch 2" in page(tmp_path, findings).text
    assert numbers(tmp_path)["training"]["history"]["train_loss"] == [1.0, None, None, 0.5]


@pytest.mark.usefixtures("undrawn")
def test_answers_without_numbers(tmp_path: Path) -> None:
    found = page(tmp_path, run(after=np.full((300, 3), np.nan), before=None))
    assert "300 answers held no numbers" in found.text


def test_scores_without_numbers(tmp_path: Path) -> None:
    scores = Rejection("energy", float("nan"), np.full(300, np.nan))
    assert "score is above – " in page(tmp_path, run(rejection=scores)).text


def test_one_class(tmp_path: Path) -> None:
    assert "100.0 %" in page(tmp_path, run(("only",), wrong=0)).text


@pytest.mark.usefixtures("undrawn")
def test_comparison_in_words(tmp_path: Path) -> None:
    truth = np.arange(300) % 3
    found = page(tmp_path, run(previous=Previous("v1 <b>.onnx", np.where(truth == 0, -1, truth)), wrong=0))
    assert "100 answers changed: 100 became right and 0 became wrong" in found.text
    assert "The gain is significant" in found.text
    assert numbers(tmp_path)["classification"]["comparison"]["significant"] is True


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("measured_on", "same"), [("test", False), ("val", True), ("cross-fitting", True)])
def test_what_the_measured_images_set_is_no_test_of_it(measured_on: str, same: bool, tmp_path: Path) -> None:
    text = page(tmp_path, run(measured_on=measured_on)).text
    assert ("the temperature in the file is 1.8; it was chosen by the same images" in text) is same
    assert ("The threshold was set by the measured images themselves" in text) is same
    text = page(tmp_path, regression(measured_on=measured_on)).text
    assert ("its width was set by the errors of these images" in text) is same
    assert ("as they should" in text) is not same
    truth = np.arange(900).reshape(300, 3) % 2
    labels = run(
        measured_on=measured_on, task="multilabel", truth=truth, after=np.full((300, 3), 0.5),
        before=None, history=None, previous=None, leaks=None, rejection=None, thresholds=(0.4, 0.5, 0.5),
    )  # fmt: skip
    text = page(tmp_path, labels).text
    assert ("The measured images are those that it was chosen on" in text) is same
    assert ("Measured images 300 each asked of a model without it" in text) is (
        measured_on == "cross-fitting"
    )


@pytest.mark.usefixtures("undrawn")
def test_a_comparison_counts_the_images_that_both_have_measured(tmp_path: Path) -> None:
    previous = Previous("earlier", np.zeros(300, np.int64), np.arange(120))
    assert "The same 120 images, by both models." in page(tmp_path, run(previous=previous)).text


@pytest.mark.usefixtures("undrawn")
def test_leaks_in_numbers(tmp_path: Path) -> None:
    found = page(tmp_path, run(leaks=np.arange(60, 160)))
    assert "100 measured images have duplicates" in found.text
    leaks = numbers(tmp_path)["classification"]["leaks"]
    assert (leaks["without"]["count"], leaks["without"]["images"], leaks["leaked"]["count"]) == (
        140,
        200,
        100,
    )
    assert leaks["ids"][0] == "test/cat/60.jpg"


def test_regression_report(tmp_path: Path) -> None:
    found = page(tmp_path, regression())
    for words in (
        "Mean absolute error",
        "0.5 kg",
        "as they should",
        "Without them the mean absolute error is",
    ):
        assert words in found.text
    assert "answer minus true value (kg)" in found.text
    table = numbers(tmp_path)["regression"]
    assert table["errors"]["mae"] == pytest.approx(0.5)
    assert table["coverage"]["inside"]["count"] == 180
    assert table["comparison"]["previous"] == pytest.approx(1.0)
    assert len(table["images"]) == 200


@pytest.mark.parametrize("unit", ["$", "°C", "<b>", "グラム", "x" * 500])
def test_units_of_all_kinds(tmp_path: Path, unit: str) -> None:
    assert "b" not in page(tmp_path, regression(images=3, unit=unit, interval=None)).tags


@pytest.mark.usefixtures("undrawn")
def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_report(tmp_path / "file", run())


def test_what_is_drawn_before_the_file_is_proven_makes_the_same_page(tmp_path: Path) -> None:
    early = draw(run(proof=None, timings={}, file_bytes=None), lambda row: thumbnail())
    first, second = tmp_path / "first", tmp_path / "second"
    write_report(first, run(), lambda row: thumbnail())
    write_report(second, run(), drawn=early)
    assert (first / "report.html").read_bytes() == (second / "report.html").read_bytes()
