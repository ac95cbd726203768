"""Real pretrained networks on real photos; they lie where GRAFT_MODELS says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage

from models.importing import import_model
from models.model import Model
from models.runtime import RuntimeConfig
from tests import optional

PHOTOS = [Path(skimage.__file__).parent / "data" / name for name in ("chelsea.png", "coffee.png")]
CPU = RuntimeConfig(device="cpu")


def test_mobilenet_knows_a_cat_and_a_coffee(tmp_path: Path) -> None:
    path = optional.pretrained("mobilenet_v2_1.0_224.onnx")
    raw = Model.open(path, CPU)
    proto, notes = import_model(path)
    (tmp_path / "imported.onnx").write_bytes(proto.SerializeToString())
    imported = Model.open(tmp_path / "imported.onnx", CPU)
    assert notes
    assert raw.notes == notes
    assert imported.notes == ()
    cat, coffee = raw.classify(PHOTOS, 1)
    assert "cat" in cat[0].label.name
    assert coffee[0].label.name == "espresso"
    batch = np.stack([raw.decode(photo) for photo in PHOTOS])
    np.testing.assert_allclose(imported.probabilities(batch), raw.probabilities(batch), atol=1e-5)


def test_inception_trunk_gives_features() -> None:
    model = Model.open(optional.pretrained("inception_v3_2015_trunk.onnx"), CPU, outputs=["mixed_7a", "pool"])
    batch = np.stack([model.decode(photo) for photo in PHOTOS])
    mixed, pool = model.run(batch)
    assert mixed.shape == (2, 1280, 8, 8)
    np.testing.assert_allclose(pool, mixed.mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert model.card.task == "features"
