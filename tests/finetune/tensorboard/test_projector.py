"""Embeddings for TensorBoard's projector, read back by its own plugin."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from finetune import tensorboard
from finetune.tensorboard.projector import write_embedding
from models.errors import GraphError
from tests import optional

optional.library("tensorboardX", extra="tensorboard")
projector_plugin = optional.library("tensorboard.plugins.projector.projector_plugin", extra="test")

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(5, 3)).astype(np.float32)
LABELS = ["T-shirt", "Kleid \N{LATIN SMALL LETTER U WITH DIAERESIS}", "<script>", "a\tb\nc", ""]
IMAGES = RNG.integers(0, 256, (5, 4, 4, 3), np.uint8)


class Plugin:
    """The plugin's answers, asked for over its own routes."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.plugins import base_plugin
        from werkzeug.test import Client

        context = base_plugin.TBContext(logdir=str(folder))
        self.client: Any = {
            route: Client(app)
            for route, app in projector_plugin.ProjectorPlugin(context).get_plugin_apps().items()
        }

    def get(self, route: str, **query: str) -> bytes:
        text = "&".join(f"{key}={quote(value)}" for key, value in query.items())
        answer = self.client[route].get(f"{route}?{text}")
        assert answer.status_code == 200, answer.data
        return bytes(answer.data)


def test_the_plugin_reads_vectors_labels_and_sprites(tmp_path: Path) -> None:
    name = 'val "embedding"'
    with tensorboard.Writer(tmp_path):
        tensorboard.embedding(name, VECTORS, LABELS, IMAGES)
        tensorboard.embedding("plain", VECTORS * 2)
    plugin = Plugin(tmp_path)
    first, second = json.loads(plugin.get("/info", run="."))["embeddings"]
    assert (first["tensorName"], first["tensorShape"]) == (name, [5, 3])
    assert first["sprite"]["singleImageDim"] == [4, 4]
    assert second["tensorName"] == "plain"
    assert "sprite" not in second
    found = np.frombuffer(plugin.get("/tensor", run=".", name=name), np.float32).reshape(5, 3)
    np.testing.assert_allclose(found, VECTORS, rtol=1e-5)
    assert plugin.get("/metadata", run=".", name=name).decode().split("\n")[:5] == [*LABELS[:3], "a b c", "-"]
    sprite = np.asarray(Image.open(io.BytesIO(plugin.get("/sprite_image", run=".", name=name))))
    assert sprite.shape == (12, 12, 3)
    np.testing.assert_array_equal(sprite[4:8, 4:8], IMAGES[4])  # the fifth of three in a row


def test_large_sprites_are_made_smaller(tmp_path: Path) -> None:
    images = np.broadcast_to(IMAGES[:1].repeat(32, 1).repeat(32, 2), (4225, 128, 128, 3))
    assert write_embedding(tmp_path, "many", np.zeros((4225, 1)), None, images).tile == 126
    with Image.open(tmp_path / "many" / "sprite.png") as sprite:
        assert sprite.size == (65 * 126, 65 * 126)


@pytest.mark.parametrize(
    ("vectors", "labels", "images", "message"),
    [
        (np.zeros(3), None, None, r"float64 \(3,\); expected numbers \(N, D\)"),
        (np.zeros((2, 3)), ["one"], None, "1 labels for 2 vectors"),
        (np.zeros((2, 3)), None, IMAGES, r"expected uint8 \(2, S, S, 3\), squares"),
        (np.zeros((5, 3)), None, IMAGES[:, :3], r"uint8 \(5, 3, 4, 3\); expected"),
    ],
)
def test_what_cannot_be_shown_is_said(
    tmp_path: Path, vectors: Any, labels: Any, images: Any, message: str
) -> None:
    with tensorboard.Writer(tmp_path) as writer, pytest.raises(GraphError, match=message):
        writer.embedding("e", vectors, labels, images)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("")
    with (
        tensorboard.Writer(tmp_path) as writer,
        pytest.raises(GraphError, match="the embedding cannot be written there"),
    ):
        writer.embedding("e", VECTORS)
