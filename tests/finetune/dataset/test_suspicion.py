import numpy as np
import pytest

from feature_extraction.items import file_item
from finetune.dataset import suspicion
from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.suspicion import label_errors, out_of_fold, outliers

CLASSES = 3
EACH = 30


def blobs(width: int = 16):
    """Three classes of well separated vectors, and their dataset."""
    generator = np.random.default_rng(0)
    centres = np.eye(CLASSES, width) * 4 + 1
    rows = np.concatenate([centre + 0.3 * generator.standard_normal((EACH, width)) for centre in centres])
    labels = np.repeat(np.arange(CLASSES), EACH)
    return rows.astype(np.float32), labels


def dataset(labels) -> Dataset:
    examples = tuple(Example(file_item(f"{i}.jpg"), f"c{label}") for i, label in enumerate(labels))
    return Dataset("x", "classification", examples, tuple(f"c{i}" for i in range(CLASSES)))


@pytest.mark.parametrize("logistic", [True, False])
def test_swapped_labels_are_found_worst_first(monkeypatch, logistic):
    monkeypatch.setattr(suspicion, "_ONE_BY_ONE", 100 if logistic else 0)
    rows, labels = blobs()
    labels[3], labels[40] = 2, 0
    rows[70] = np.nan
    data = dataset(labels)
    likely = out_of_fold(data, rows, [])
    assert likely is not None
    assert np.isnan(likely[70]).all()
    found = label_errors(data, likely)
    assert {(one.index, one.predicted) for one in found} == {(3, "c0"), (40, "c1")}
    assert found[0].confidence <= found[1].confidence < 0.5


def test_copies_do_not_vouch_for_each_other():
    rows, labels = blobs()
    rows[0] = rows[1] = rows[2] = rows[80]  # three copies of a picture of the third class, all called c0
    apart = out_of_fold(dataset(labels), rows, [Group((0, 1, 2), "near")])
    assert apart is not None
    found = label_errors(dataset(labels), apart)
    assert {one.index for one in found} == {0, 1, 2}


def test_too_few_images_for_folds():
    assert out_of_fold(dataset([0]), np.ones((1, 4), np.float32), []) is None


def test_classes_with_fewer_images_than_folds():
    rows, labels = blobs()
    few = [0, 1, 2, 30, 31, 60]  # three, two and one image
    likely = out_of_fold(dataset(labels[few]), rows[few], [])
    assert likely is not None
    assert np.isfinite(likely[:5]).all()
    assert np.isnan(likely[5]).all()  # its class was never learned without it


def test_confident_learning_by_hand():
    labels = [0, 0, 1, 1, 2]
    # Thresholds: 0.65, 0.6, 0.6.
    likely = np.array(
        [[0.9, 0.1, 0], [0.4, 0.6, 0], [0.2, 0.7, 0.1], [0.5, 0.5, 0], [0.2, 0.2, 0.6]], np.float32
    )
    (only,) = label_errors(dataset(labels), likely)
    assert (only.index, only.predicted) == (1, "c1")


def test_outliers_and_their_copies():
    rows, labels = blobs()
    rows[5] = rows[6] = np.eye(1, 16, 9) * 5  # two copies of something else
    alone = outliers(dataset(labels), rows, [Group((5, 6), "near")])
    assert [one.index for one in alone][:2] == [5, 6]
    assert alone[0].distance > 10 * alone[0].typical
    assert all(one.index in (5, 6) for one in alone)
