"""What a run makes of its images before anything learns: splits, copies, what is unreadable, what teaches nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.errors import GraftError, InputError
from tests.finetune.job.running import run
from tests.finetune.shades import SHADES, folder_of, list_of_numbers

pytestmark = pytest.mark.usefixtures("brief")


def test_own_splits_leaks_and_classes_nobody_teaches(tiny_path: Path, tmp_path: Path) -> None:
    root = tmp_path / "own"
    folder_of(root / "train", 12)
    folder_of(root / "test", 4, {**SHADES, "night": (10, 10, 20)})
    shutil.copy(root / "train" / "sky" / "000.jpg", root / "test" / "sky" / "copy.jpg")
    found = run(root, tmp_path / "out", tiny_path).findings
    assert found is not None
    assert found.classes == tuple(SHADES)
    assert any("night" in text for text in found.warnings)
    leaks = [text for text in found.warnings if "for testing or validation with a duplicate" in text]
    assert leaks == [
        f"{len(found.leaks)} image{'s' * (len(found.leaks) > 1)} for testing or validation with a duplicate among "
        "those for training"
    ]
    assert any(text.endswith("the splits of the folders or the list stay") for text in found.warnings)
    leaked = {found.ids[i] for i in found.leaks}
    assert "test/sky/copy.jpg" in leaked


def test_what_cannot_be_read_is_reported(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 10)
    (folder / "sky" / "broken.jpg").write_bytes(b"\xff\xd8no photo")
    (folder / "sky" / "empty.jpg").write_bytes(b"")
    found = run(folder, tmp_path / "out", tiny_path).findings
    assert found is not None
    assert {Path(name).name for name, _ in found.failed} == {"broken.jpg", "empty.jpg"}
    left_out = [text for text in found.warnings if "left out, because it cannot be read: 1 image" in text]
    assert ["empty (0 bytes)" in text for text in left_out] == [False, True]
    assert any("fewer than 20 images to train on in 3 classes: " in t for t in found.warnings)


def test_a_class_of_which_nothing_can_be_read_is_named(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 8)
    (folder / "night").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "night" / name).write_bytes(b"no photo")
    outcome = run(folder, tmp_path / "out", tiny_path).findings
    assert outcome is not None
    assert outcome.classes == tuple(SHADES)
    assert "class left out, because none of its images can be read: night" in outcome.warnings
    for name in SHADES:
        if name != "sky":
            shutil.rmtree(folder / name)
    with pytest.raises(
        InputError, match=r"of 1 class \(sky\); expected at least two; of night no image can be read"
    ):
        run(folder, tmp_path / "one", tiny_path)


def test_numbers_that_are_all_equal_teach_nothing(tiny_path: Path, tmp_path: Path) -> None:
    numbers = list_of_numbers(tmp_path / "numbers", 12)
    head, *rows = numbers.read_text().splitlines()
    numbers.write_text("\n".join([head, *(row.partition(",")[0] + ",5" for row in rows)]))
    with pytest.raises(InputError, match="have the same number, 5"):
        run(numbers, tmp_path / "out", tiny_path, task="regression")


def test_one_class_is_refused(tiny_path: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 5, {"sky": SHADES["sky"]})
    with pytest.raises(GraftError, match=r"(?i)class"):
        run(folder, tmp_path / "out", tiny_path)
