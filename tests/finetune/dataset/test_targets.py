"""The numbers that a regression learns, from wherever they come."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.dataset.given_labels import given_labels
from finetune.dataset.list_options import ListOptions
from finetune.dataset.opening import open_dataset
from finetune.dataset.tables import from_tables, tables_in
from finetune.dataset.targets import target_in
from models.errors import InputError, SourceError
from tests.feature_extraction.test_tables import arrow
from tests.fixtures import plain


@pytest.mark.parametrize("value", [2.5, "2.5", np.float32(2.5), Decimal("2.5"), np.array(2.5), " 2.5 "])
def test_a_number(value: Any) -> None:
    assert target_in(value) == 2.5


@pytest.mark.parametrize(
    "value", ["", "3,5", None, "nan", float("inf"), 1e39, "-1e39", 10**400, [1.0], b"", np.zeros(2), 1j]
)
def test_no_number_to_learn(value: Any) -> None:
    assert target_in(value) is None


def test_a_number_that_is_infinite_in_32_bits_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    images = [plain("red"), plain("blue")]
    with pytest.raises(
        InputError, match=r"the number of image 1 is 1e\+39; expected a finite one of 32 bits"
    ):
        given_labels([1, 1e39], "regression")
    with pytest.raises(SourceError, match=r"row 1: target is 1e\+39; expected a finite number of 32 bits"):
        from_tables(tables_in(arrow({"image": images, "target": [1, 1e39]})), "regression", ListOptions())
    (tmp_path / "0.png").write_bytes(images[0])
    (tmp_path / "list.csv").write_text("path,target\n0.png,1e39\n")
    with pytest.raises(SourceError, match=r"line 2: '1e39' is no finite number of 32 bits"):
        open_dataset(tmp_path / "list.csv", "regression")
