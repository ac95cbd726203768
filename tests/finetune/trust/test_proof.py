"""The proof in a fresh process: what passes, what is refused, and that nothing is inherited."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from finetune.trust import proof
from finetune.trust.proof import FreshProcess, prove
from models.errors import InputError, ModelError
from models.model import Model
from models.runtime import RuntimeConfig
from tests.fixtures import encoded, photo
from tests.tuned import tuned_classifier, tuned_regression

CPU = RuntimeConfig("cpu", threads=1)
Images = list[tuple[str, "bytes | Path"]]


@pytest.fixture
def images(tmp_path: Path) -> Images:
    path = tmp_path / "photos" / "a b.jpg"
    path.parent.mkdir()
    path.write_bytes(encoded(photo(seed=1), "JPEG"))
    return [("0.png", encoded(photo())), ("a b.jpg", path), ("2.jpg", encoded(photo(seed=2), "JPEG"))]


def expected(path: Path, images: Images, *outputs: str) -> dict[str, NDArray[np.float32]]:
    model = Model.open(path, CPU)
    batch = np.stack([model.decode(content) for _, content in images])
    return dict(zip(outputs, model.run(batch, outputs), strict=True))


def test_right_file_passes(tmp_path: Path, images: Images) -> None:
    path = tuned_classifier(tmp_path)
    found = prove(path, images, expected(path, images, "probabilities", "reject_score"), device="cpu")
    assert (found.images, found.tolerance) == (3, 1e-4)
    assert found.difference == max(found.differences.values()) < 1e-6
    assert found.differences.keys() == {"probabilities", "reject_score"}
    assert path.is_file()


def test_decoded_images_of_any_kind(tmp_path: Path) -> None:
    path = tuned_regression(tmp_path)
    pixels = np.asarray(photo((16, 16)))
    values = Model.open(path, CPU).values(np.stack([pixels, pixels]))
    assert (
        prove(path, [("a", pixels), ("b", photo((16, 16)))], {"value": values}, device="cpu").difference
        < 1e-6
    )


def test_changed_weight_is_refused_and_the_file_kept_aside(tmp_path: Path, images: Images) -> None:
    path = tuned_classifier(tmp_path)
    right = expected(path, images, "probabilities")
    model = onnx.load(path)
    weights = next(value for value in model.graph.initializer if value.name == "weights")
    changed = numpy_helper.to_array(weights).copy()
    changed[0, 0] *= 1.001
    weights.CopyFrom(numpy_helper.from_array(changed, "weights"))
    onnx.save(model, path)
    with pytest.raises(
        ModelError, match=r"probabilities that differ .* by [\d.e-]+; expected at most 0\.0001 on 3 images"
    ):
        prove(path, images, right, device="cpu")
    assert not path.exists()
    assert (tmp_path / "tuned.refused.onnx").is_file()


def test_what_rounding_changes_is_no_difference(tmp_path: Path, images: Images) -> None:
    path = tuned_classifier(tmp_path)
    scores = expected(path, images, "reject_score")["reject_score"]
    off = {"reject_score": scores + np.float32(0.002)}
    rounded = prove(path, images, off, device="cpu", rounding={"reject_score": 0.004})
    assert rounded.difference == pytest.approx(5e-5, rel=0.1)
    with pytest.raises(ModelError, match="reject_score that differ"):
        prove(path, images, off, device="cpu", rounding={"reject_score": 0.001})


def test_what_cannot_be_loaded_is_refused(tmp_path: Path, images: Images) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"broken")
    with pytest.raises(
        ModelError, match=r"a fresh process cannot use it \(ModelError: .*kept as .*broken\.refused\.onnx"
    ):
        prove(path, images, {"probabilities": np.zeros((3, 3))}, device="cpu")


def test_output_that_is_not_there(tmp_path: Path, images: Images) -> None:
    with pytest.raises(ModelError, match="a fresh process cannot use it"):
        prove(tuned_classifier(tmp_path), images, {"value": np.zeros(3)}, device="cpu")


def test_answers_that_are_not_numbers_never_pass(
    tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_ask", lambda *_: {"probabilities": np.full((3, 3), np.nan)})
    with pytest.raises(ModelError, match="differ from those of the training by inf"):
        prove(tmp_path / "none.onnx", images, {"probabilities": np.zeros((3, 3))})


def test_nothing_to_compare(tmp_path: Path, images: Images) -> None:
    with pytest.raises(InputError, match=r"3 images and expected probabilities \[2, 3\]"):
        prove(tmp_path / "none.onnx", images, {"probabilities": np.zeros((2, 3))})
    with pytest.raises(InputError, match="0 images and expected nothing"):
        prove(tmp_path / "none.onnx", [], {})


def test_process_inherits_nothing(tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that would lie for the file, and settings, in this process' environment: none of it arrives."""
    (tmp_path / "lies").mkdir()
    (tmp_path / "lies" / "numpy.py").write_text("raise SystemExit('a lie was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lies"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "lies" / "numpy.py"))
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "lies"))
    monkeypatch.setattr(proof, "_PROGRAM", "import os, sys; " + proof._PROGRAM + _LOOK)
    path = tuned_classifier(tmp_path)
    prove(path, images, expected(path, images, "probabilities"), device="cpu")


# Runs behind the answers: fails where training code, or anything of the parent's, is there.
_LOOK = """
assert not {'finetune', 'sklearn', 'onnx', 'feature_extraction', 'service'} & set(sys.modules), 'training code'
assert not [name for name in os.environ if name.startswith(('GRAFT', 'PYTHON'))], 'environment'
"""


def test_look_itself_can_fail(tmp_path: Path, images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        proof,
        "_PROGRAM",
        "import os, sys; " + proof._PROGRAM + "\nimport sqlite3" + _LOOK.replace("'onnx'", "'sqlite3'"),
    )
    path = tuned_classifier(tmp_path)
    with pytest.raises(ModelError, match="training code"):
        prove(path, images, expected(path, images, "probabilities"), device="cpu")
    assert sys.executable


def test_a_process_that_waits_already(tmp_path: Path, images: Images) -> None:
    with FreshProcess() as fresh:
        path = tuned_classifier(tmp_path)  # it comes into being while the process waits
        right = expected(path, images, "probabilities")
        assert prove(path, images, right, device="cpu", fresh=fresh).difference < 1e-6
        folder = fresh.folder
    assert not folder.exists()


def test_a_process_that_is_not_needed_ends_at_once() -> None:
    with FreshProcess() as fresh:
        (process,) = [fresh._process]
        assert process is not None
        assert process.poll() is None
    assert process.returncode is not None
    assert not fresh.folder.exists()


def test_a_process_whose_parent_is_gone_ends_without_doing_anything() -> None:
    with FreshProcess() as fresh:
        process = fresh._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert list(fresh.folder.iterdir()) == []
