"""A file that resizes photos itself does it as Pillow does, in each way; Graft's own commands refuse it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from models.any_size import TOLERANCE, any_size, checked_any_size, gap_between
from models.card import ANY_SIZE, Label, ModelCard, card_of, write_card
from models.errors import ModelError
from models.importing import import_model
from models.model import Model
from models.names import INPUT, PROBABILITIES, REJECT_SCORE, VALUE
from models.opset import IR_VERSION
from models.preprocessing import Preprocessing
from models.proof_making import write_proof
from models.serialized import session_of
from tests.fixtures import photo, tiny_classifier
from tests.models.nets import nhwc_net, residual_net, token_net
from tests.tuned import described_classifier, tuned_classifier, tuned_regression

# (width, height): larger and smaller than the input, wide, upright, of odd sides, of the same size, and strips.
SIZES = ((97, 64), (61, 203), (20, 15), (9, 14), (32, 24), (33, 33), (1, 1), (3, 300), (301, 2))
PLANS = {
    "shorter": Preprocessing((24, 24)),
    "shorter, cropped": Preprocessing((24, 24), resize_to=29, interpolation="bicubic"),
    "fraction": Preprocessing((24, 32), crop_fraction=0.875, interpolation="bicubic"),
    "fraction of a squashed": Preprocessing((24, 32), "squash", crop_fraction=0.7),
    "squash": Preprocessing((24, 32), "squash", interpolation="bicubic"),
    "pad": Preprocessing((24, 32), "pad", pad_value=114),
    "pad, upright": Preprocessing((33, 24), "pad", interpolation="bicubic"),
}
MOST_LEVELS = {"bicubic": 1, "bilinear": 12}  # a pixel, in single rows and columns
MEAN_LEVELS = {"bicubic": 0.3, "bilinear": 0.3}


def pixels_net(plan: Preprocessing, opset: int = 18) -> ModelProto:
    """A network that gives the pixels that it is given."""
    height, width = plan.size
    graph = helper.make_graph(
        [helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT)],
        "pixels",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", height, width, 3])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", height, width, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    write_card(model, ModelCard("pixels", "features", plan))
    return model


def array(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A photo as pixels, uint8 (H, W, 3)."""
    return np.asarray(photo(size, seed))


# Of strips that are 32 times as long as wide only the middle is resized: another test.
CASES = [
    pytest.param(plan, size, id=f"{name}-{size[0]}x{size[1]}")
    for name, plan in PLANS.items()
    for size in SIZES
    if max(size) <= 32 * min(size) or plan.resize != "shorter"
]


@pytest.mark.parametrize(("plan", "size"), CASES)
def test_pixels_are_those_of_pillow(plan: Preprocessing, size: tuple[int, int]) -> None:
    session = session_of(any_size(pixels_net(plan)))
    given = array(size)
    (pixels,) = session.run({INPUT: given[None]})
    expected = plan.load(given)
    assert pixels.shape == (1, *plan.size, 3)
    gap = np.abs(pixels[0] - expected)
    assert gap.max() <= MOST_LEVELS[plan.interpolation]
    assert gap.mean() <= MEAN_LEVELS[plan.interpolation]


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_of_a_strip_only_the_middle_is_resized(size: tuple[int, int]) -> None:
    plan = Preprocessing((24, 24), interpolation="bicubic")
    given = np.full((size[1], size[0], 3), 200, np.uint8)
    long = int(np.argmax(given.shape))
    middle = [slice(None)] * 3
    middle[long] = slice(10_000 - 8, 10_000 + 8)
    given[tuple(middle)] = 40
    (pixels,) = session_of(any_size(pixels_net(plan))).run({INPUT: given[None]})
    assert np.unique(pixels).tolist() == [40.0]


@pytest.mark.parametrize("make", [residual_net, nhwc_net, token_net])
@pytest.mark.parametrize("opset", [17, 18])
def test_imported_networks_keep_their_answers(make: object, opset: int, tmp_path: Path) -> None:
    model, _ = import_model(make(tmp_path / "net.onnx", opset=opset))  # type: ignore[operator]
    write_proof(model)
    before = model.SerializeToString()
    made, gap = checked_any_size(model)
    assert gap <= TOLERANCE
    assert model.SerializeToString() == before
    session = session_of(made)
    assert session.outputs == session_of(model).outputs
    assert [dim.dim_param or dim.dim_value for dim in made.graph.input[0].type.tensor_type.shape.dim] == [
        1, "height", "width", 3,
    ]  # fmt: skip
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    card = card_of(model)
    assert card is not None
    assert ModelCard.from_json(metadata.pop(ANY_SIZE)) == card
    assert not metadata
    assert next(entry.version for entry in made.opset_import if not entry.domain) == 18


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_graph_holds_nothing_that_no_node_reads(plan: Preprocessing) -> None:
    """onnxruntime warns of it each time it loads such a file."""
    graph = any_size(pixels_net(plan)).graph
    assert {weight.name for weight in graph.initializer} <= {
        name for node in graph.node for name in node.input
    }


def test_a_photo_gets_the_probabilities_of_the_model(tmp_path: Path) -> None:
    file = tiny_classifier(tmp_path / "tiny.onnx")
    model = Model.open(file)
    session = session_of(any_size(onnx.load(file)))
    for seed, size in enumerate(SIZES):
        given = array(size, seed)
        (answer,) = session.run({INPUT: given[None]}, [PROBABILITIES])
        assert np.abs(answer - model.probabilities(model.decode(given)[None])).max() <= TOLERANCE


@pytest.mark.parametrize("make", [tuned_classifier, tuned_regression, described_classifier])
def test_fine_tuned_files_keep_all_that_they_say(make: Callable[[Path], Path], tmp_path: Path) -> None:
    file = make(tmp_path)
    made, gap = checked_any_size(onnx.load(file))
    assert gap <= TOLERANCE
    model, session = Model.open(file), session_of(made)
    given = array((91, 40))
    names = [name for name in session.outputs if name in (REJECT_SCORE, VALUE, PROBABILITIES)]
    assert names
    for expected, answer in zip(
        model.run(model.decode(given)[None], names), session.run({INPUT: given[None]}, names), strict=True
    ):
        assert answer == pytest.approx(expected, rel=0.02, abs=0.02)


def test_a_difference_is_noticed(tmp_path: Path) -> None:
    file = tiny_classifier(tmp_path / "tiny.onnx")
    model = onnx.load(file)
    made = any_size(model)
    other = onnx.load(file)
    card = card_of(other)
    assert card is not None
    write_card(
        other, ModelCard("other", "classification", Preprocessing((16, 16), "pad"), labels=card.labels)
    )
    assert gap_between(model, made) <= TOLERANCE
    assert gap_between(other, made) > TOLERANCE


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for interpolation in ("lanczos", "nearest"):
        refusal = (
            f"resized by '{interpolation}', which no ONNX operator does as Pillow does; expected bilinear"
        )
        with pytest.raises(ModelError, match=refusal):
            any_size(pixels_net(Preprocessing((8, 8), interpolation=interpolation)))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="takes 4 images at a time; expected any number, or one"):
        any_size(onnx.load(tiny_classifier(tmp_path / "four.onnx", batch_size=4)))
    checked_any_size(onnx.load(tiny_classifier(tmp_path / "one.onnx", batch_size=1)))
    with pytest.raises(ModelError, match="has no model card"):
        any_size(onnx.load(residual_net(tmp_path / "net.onnx")))


def test_a_network_that_magnifies_is_not_written() -> None:
    plan = Preprocessing((24, 24))
    model = pixels_net(plan)
    model.graph.node.append(helper.make_node("Sin", ["pixels"], ["probabilities"]))
    model.graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None))
    labels = tuple(Label(str(i), str(i)) for i in range(24))
    write_card(model, ModelCard("waves", "classification", plan, labels=labels))
    with pytest.raises(ModelError, match=r"differs by \d\.\d+ from the model itself; expected 0\.02 at most"):
        checked_any_size(model)


def test_graft_refuses_the_file_with_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "web.onnx"
    onnx.save(any_size(onnx.load(tiny_classifier(tmp_path / "tiny.onnx"))), file)
    refusal = "web.onnx: an any-size file, .* It is for other runtimes"
    with pytest.raises(ModelError, match=refusal):
        Model.open(file)
    with pytest.raises(ModelError, match=refusal):
        Model.open(file, outputs=["logits"])
    with pytest.raises(ModelError, match=refusal):
        import_model(file)
    with pytest.raises(ModelError, match="an any-size file"):
        any_size(onnx.load(file))
