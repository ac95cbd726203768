from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetune.report.findings import Findings, History, Interval, Previous, Rejection
from models.errors import InputError
from tests.finetune.report.making import regression, run


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"truth": np.zeros(2, np.int64)}, r"truth has shape \(2,\); expected \(300,\)"),
        ({"truth": np.full(300, 3)}, "truth goes from 3 to 3; expected indices 0 to 2"),
        ({"truth": np.full(300, -1)}, "expected indices 0 to 2"),
        ({"after": np.zeros((300, 2))}, "after has shape"),
        ({"before": np.zeros((300, 4))}, "before has shape"),
        ({"leaks": np.array([300])}, "leaks goes from 300 to 300; expected indices 0 to 299"),
        ({"previous": Previous("old", np.zeros(299, np.int64))}, "previous.predicted has shape"),
        ({"rejection": Rejection("energy", 0.0, np.zeros(1))}, "rejection.known has shape"),
        ({"counts": {"train": np.zeros(2, np.int64)}}, r"counts\['train'\] has shape"),
        ({"history": History(np.zeros(3), np.zeros(2))}, "history.val_loss has shape"),
        ({"history": History(np.zeros(3), best=3)}, "history.best is 3; expected an epoch, 0 to 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(**changes)


def test_interval_needs_a_row_for_each_image() -> None:
    with pytest.raises(InputError, match=r"interval\.low has shape"):
        regression(interval=Interval(0.9, np.zeros(3), np.zeros(3)))


def test_nothing_is_needed_but_names() -> None:
    assert not Findings("pets", "builtin", "sklearn").measured


def test_a_repr_says_how_good_it_is_and_stays_short() -> None:
    # 240 of 300; scipy's Wilson interval, as in tests/finetune/trust/test_measures.py
    assert (
        repr(run())
        == "<Findings pets: head on A small network.; 80.0 % (75.1 to 84.1) on 300 images of test>"
    )
    assert "; off by " in repr(regression())
    assert (
        repr(Findings("pets", "builtin", "sklearn"))
        == "<Findings pets: sklearn on builtin; nothing measured>"
    )


def test_a_notebook_shows_a_table() -> None:
    html = run(title="<i>pets", names=tuple(f"class {i}" for i in range(30)))._repr_html_()
    assert "<table><tr><th>Findings</th><td>&lt;i&gt;pets</td></tr>" in html
    assert "class 4 and 25 more" in html
    assert len(html) < 1000
