"""Features by the content of their images: each setting that changes them has its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.byte_store import ByteStore
from feature_extraction.cache import FeatureCache
from models.devices import Device
from tests.feature_extraction.running import worker


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ByteStore]:
    store = ByteStore(tmp_path / "c.sqlite", 10_000_000)
    yield store
    store.close()


def test_features_depend_on_image_cut_and_preprocessing(
    store: ByteStore, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = FeatureCache(worker(tiny_path).features, store)
    row = np.array([1, 2, 3], np.float32)
    pool.put([(b"a", (row,))])
    (kept,) = FeatureCache(worker(tiny_path, cuts=("pool",)).features, store).get(b"a") or ()
    assert np.array_equal(kept, row)
    assert pool.get(b"b") is None
    assert FeatureCache(worker(tiny_path, cuts=("logits",)).features, store).get(b"a") is None
    assert FeatureCache(worker(tiny_path, normalize="l2").features, store).get(b"a") is None
    assert FeatureCache(worker(tiny_path, dtype="float16").features, store).get(b"a") is None
    monkeypatch.setattr("models.fingerprint.pillow_version", "0.1")
    assert FeatureCache(worker(tiny_path).features, store).get(b"a") is None


def test_devices_do_not_share_features(
    tiny_path: Path, store: ByteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines compute other last bits; of int8 networks OpenVINO's are 2 % away."""
    features = worker(tiny_path).features
    on_cpu = FeatureCache(features, store)
    monkeypatch.setattr(features.model.session, "device", Device("openvino"))
    elsewhere = FeatureCache(features, store)
    row = tuple(np.ones(empty.shape[1:], empty.dtype) for empty in features.blank.values())
    on_cpu.put([(b"image", row)])
    assert on_cpu.get(b"image") is not None
    assert elsewhere.get(b"image") is None
