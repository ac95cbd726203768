from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from finetune.report.answers import Earlier, mistakes_of, read_earlier
from finetune.report.page import write_report
from finetune.report.summary import summarise
from models.errors import InputError
from tests.finetune.report.making import NAMES, answers, regression, run


def test_mistakes_lie_beside_the_report_the_surest_first(tmp_path: Path) -> None:
    truth = np.arange(30) % 3
    after = answers(truth, np.where(np.arange(30) < 4, (truth + 1) % 3, truth), 3)
    after[2] = [0.95, 0.03, 0.02]
    write_report(tmp_path, run(images=30, after=after, before=None, wrong=4, rejection=None, previous=None))
    with (tmp_path / "mistakes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [f"test/{NAMES[i % 3]}/{i}.jpg" for i in (2, 0, 1, 3)]
    assert rows[0] == {
        "id": "test/cup/2.jpg", "label": "cup", "predicted": "cat", "probability": "0.9500", "correction": "",
    }  # fmt: skip
    report = json.loads((tmp_path / "report.json").read_text())
    assert [one.id for one in mistakes_of(report)] == [row["id"] for row in rows]


def test_a_regression_has_none(tmp_path: Path) -> None:
    write_report(tmp_path, regression())
    assert not (tmp_path / "mistakes.csv").exists()


def test_only_images_that_both_have_measured_are_compared() -> None:
    found = run()
    ids = found.ids
    before = Earlier("the earlier run", {**dict.fromkeys(ids[:100], "dog"), "other.jpg": "cat"})
    previous = before.previous(ids, NAMES)
    assert previous is not None
    comparison = summarise(run(previous=previous)).classification.comparison  # type: ignore[union-attr]
    assert comparison is not None
    assert comparison.new.images == comparison.previous.images == 100
    assert comparison.previous.count == 33  # every third is a dog
    assert before.previous(("new.jpg",), NAMES) is None
    gone = Earlier("the earlier run", {ids[0]: "bird"}).previous(ids[:2], NAMES)
    assert gone is not None
    assert (gone.predicted.tolist(), gone.rows.tolist()) == ([-1, -1], [0])  # type: ignore[union-attr]


def test_an_earlier_run_is_read_from_its_report(tmp_path: Path) -> None:
    write_report(tmp_path, run())
    earlier = read_earlier(tmp_path / "report.json")
    assert earlier.name == "the earlier run (head on builtin)"
    assert earlier.answers["test/cat/0.jpg"] == "dog"
    assert len(earlier.answers) == 300


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"classification": {"images": [{"id": 1}]}, "data": {"classes": []}}']
)
def test_what_is_no_report(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match="no report of an earlier run"):
        read_earlier(tmp_path / "report.json")
    write_report(tmp_path, regression())
    with pytest.raises(InputError, match="holds no answers"):
        read_earlier(tmp_path / "report.json")
