"""`graft models any-size`: the file, and the refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.names import INPUT, PROBABILITIES
from models.runtime import OnnxSession
from tests.fixtures import encoded, photo, tiny_classifier
from tests.service.running import Run


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    return tiny_classifier(tmp_path / "tiny.onnx")


def test_writes_a_file_for_other_runtimes(graft: Run, tiny: Path) -> None:
    result = graft("models", "any-size", "tiny.onnx", "--out", "web/tiny.onnx")
    assert result.exit_code == 0, result.stderr
    assert "web/tiny.onnx: differs from the model by 0.00" in result.stdout
    session = OnnxSession(tiny.parent / "web" / "tiny.onnx")
    (answer,) = session.run({INPUT: np.asarray(photo((91, 50)))[None]}, [PROBABILITIES])
    assert answer.shape == (1, 3)
    assert graft("models", "any-size", "tiny.onnx").exit_code == 0
    assert (tiny.parent / "tiny.any-size.onnx").is_file()


def test_other_commands_refuse_the_file(graft: Run, tiny: Path) -> None:
    assert graft("models", "any-size", "tiny.onnx", "--out", "web.onnx").exit_code == 0
    (tiny.parent / "photo.png").write_bytes(encoded(photo()))
    for arguments in (
        ("classify", "photo.png", "--model", "web.onnx"),
        ("models", "info", "web.onnx"),
        ("models", "import", "web.onnx", "--out", "again.onnx"),
        ("models", "any-size", "web.onnx", "--out", "again.onnx"),
        ("features", "photo.png", "--model", "web.onnx", "--out", "vectors"),
        ("serve", "web.onnx", "--check"),
    ):
        result = graft(*arguments)
        assert result.exit_code != 0, arguments
        assert "an any-size file" in result.output + result.stderr, arguments
        assert "It is for other runtimes" in " ".join((result.output + result.stderr).split()), arguments
    assert not (tiny.parent / "again.onnx").exists()


def test_nothing_is_written_where_it_cannot_be(graft: Run, tiny: Path) -> None:
    onnx.save(onnx.load(tiny_classifier(tiny.parent / "four.onnx", batch_size=4)), "four.onnx")
    result = graft("models", "any-size", "four.onnx", "--out", "web.onnx")
    assert result.exit_code != 0
    assert "takes 4 images at a time" in result.stderr
    assert not (tiny.parent / "web.onnx").exists()
