"""Sessions: feeds, fetches, variables on the device, saving, and looking inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from finetune.autodiff import Graph, Operation, Session, Tensor, constant, placeholder, variable
from finetune.autodiff.layers import batch_norm, conv2d, dense, dropout, flatten
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.ops.state import assert_finite, group, print_tensor
from finetune.autodiff.optimizers import SGD, Adam
from finetune.autodiff.program import compile_program
from models.errors import FeedError, GraphError, NumericsError, OutputError, ShapeError, WeightsError


def session(graph: Graph) -> Session:
    return Session(graph, device="cpu", threads=1)


def network() -> tuple[Graph, Tensor, Tensor, Tensor, Operation]:
    """A little of everything: convolution, batch norm, dropout, dense, Adam."""
    with Graph(seed=3) as graph:
        x, y = placeholder((None, 4, 6, 6), name="x"), placeholder((None,), np.int64, name="y")
        h = batch_norm(conv2d(x, 4, 3, relu, strides=2))
        loss = softmax_cross_entropy(dense(dropout(flatten(h), 0.3), 3), y)
        train = Adam(0.01).minimize(loss)
    return graph, x, y, loss, train


def batch(step: int, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(step)
    return rng.standard_normal((size, 4, 6, 6)).astype(np.float32), rng.integers(0, 3, size)


def test_fetches_come_back_as_they_were_asked_for() -> None:
    with Graph() as graph:
        x = placeholder((None,), name="x")
        double, done = 2.0 * x, group([x])
    s = session(graph)
    assert s.run(double, {x: [1.0]}) == [2.0]
    assert s.run(done, {x: [1.0]}) is None
    values = s.run([x, done, double, double], {x: [1.0, 3.0]})
    assert [v if v is None else v.tolist() for v in values] == [[1, 3], None, [2, 6], [2, 6]]


def test_any_tensor_can_be_fed() -> None:
    with Graph() as graph:
        x = placeholder((None, 2), name="x")
        w = variable(np.ones((2, 2)), name="w")
        h = x @ w
        y = h + 1.0
    s = session(graph)
    assert s.run(y, {h: np.zeros((1, 2), np.float32)}).tolist() == [[1, 1]]  # and x is not missed
    assert s.run(y, {x: [[1.0, 2.0]], w: [[0.0, 1.0], [1.0, 0.0]]}).tolist() == [[3, 2]]


def test_values_that_were_fetched_do_not_change_later() -> None:
    with Graph() as graph:
        w = variable(np.zeros(3), name="w")
        step = w.assign(w + 1.0)
    s = session(graph)
    seen = [s.run([step, w]) for _ in range(4)]
    assert [[float(v[0]) for v in pair] for pair in seen] == [[1, 0], [2, 1], [3, 2], [4, 3]]


def test_readers_see_the_value_from_before_the_step() -> None:
    """The trap that double buffering avoids: a reader that runs after the update."""
    with Graph() as graph:
        w = variable(np.ones(1000), name="w")
        update = w.assign(w * 2.0)
        late = (update * 0.0 + w).sum()  # cannot run before the update
    s = session(graph)
    assert [float(s.run([update, late])[1]) for _ in range(3)] == [1000, 2000, 4000]


def test_sets_that_update_different_variables_alternate() -> None:
    with Graph() as graph:
        a, b = variable(1.0, name="a"), variable(10.0, name="b")
        up_a, up_b, both = a.assign(a + b), b.assign(b + a), a + b
    s = session(graph)
    expected = [1.0, 10.0]
    for which in "aabbabaabbb":
        s.run(up_a if which == "a" else up_b)
        expected["ab".index(which)] = sum(expected)
        assert float(s.run(both)) == sum(expected)
        assert [float(s.value(v)) for v in (a, b)] == expected


def test_a_variable_keeps_no_link_to_the_array_it_was_given() -> None:
    array = np.zeros(2, np.float32)
    with Graph() as graph:
        w = variable(array, name="w")
        y = w * 1.0
    s = session(graph)
    array += 1.0
    assert s.run(y).tolist() == [0, 0]
    given = np.ones(2, np.float32)
    s.load({w: given})
    given += 5.0
    s.value(w)[:] = 7.0
    assert s.run(y).tolist() == [1, 1]


def test_frozen_weights_are_in_the_model_and_follow_load() -> None:
    with Graph() as graph:
        w, v = variable(2.0, name="w", trainable=False), variable(3.0, name="v")
        y = w * v
    program = compile_program(graph, [y], (), "cpu", False, {v: ()}, {w: np.float32(2.0)})
    assert [i.name for i in program.model.graph.input] == ["variable/v"]
    s = session(graph)
    assert s.run(y) == 6.0
    s.load({w: np.float32(5.0)})
    assert s.run(y) == 15.0
    assert s.value(w) == 5.0


def test_a_frozen_variable_that_is_assigned_later_is_not_frozen() -> None:
    with Graph() as graph:
        w = variable(2.0, name="w", trainable=False)
        y = w * 1.0
        s = session(graph)
        assert s.run(y) == 2.0
        s.run(w.assign(w + 1.0))
    assert s.run(y) == 3.0


def test_models_are_valid_onnx() -> None:
    graph, x, y, _, train = network()
    s = session(graph)
    s.run(train, dict(zip((x, y), batch(0), strict=True)))
    for executable in s._compiled.values():
        onnx.checker.check_model(executable.program.model, full_check=True)


def test_a_step_compiles_once() -> None:
    graph, x, y, loss, train = network()
    s = session(graph)
    for step in range(4):
        s.run([train, loss], dict(zip((x, y), batch(step, 4 + step), strict=True)))
    assert len(s._compiled) == 1
    assert len(next(iter(s._compiled.values()))._bindings) == 2


def test_training_learns_and_evaluation_is_repeatable() -> None:
    graph, x, y, loss, train = network()
    s = session(graph)
    feeds = dict(zip((x, y), batch(0), strict=True))
    first = s.run(loss, feeds)
    for _ in range(30):
        s.run(train, feeds)
    last = s.run(loss, feeds)
    assert last < 0.5 * first
    assert s.run(loss, feeds) == last  # neither dropout nor batch statistics outside of training
    assert s.run(loss, feeds, training=True) != last


def test_a_run_that_is_resumed_equals_one_never_stopped(tmp_path: Path) -> None:
    graph, x, y, _, train = network()

    def steps(s: Session, numbers: range) -> None:
        for step in numbers:
            s.run(train, dict(zip((x, y), batch(step), strict=True)))

    whole, first, second = session(graph), session(graph), session(graph)
    steps(whole, range(6))
    steps(first, range(3))
    first.save(tmp_path / "half.safetensors")
    second.restore(tmp_path / "half.safetensors")
    steps(second, range(3, 6))
    for v in graph.variables:
        np.testing.assert_array_equal(second.value(v), whole.value(v), err_msg=v.name)


def test_initialize_starts_again() -> None:
    graph, x, y, loss, train = network()
    s = session(graph)
    feeds = dict(zip((x, y), batch(0), strict=True))
    first = s.run(loss, feeds)
    s.run(train, feeds)
    assert s.run(loss, feeds) != first
    s.initialize()
    assert s.run(loss, feeds) == first


def test_initial_values_depend_on_seed_and_name_alone() -> None:
    def weights(seed: int, others: int) -> np.ndarray:
        with Graph(seed=seed) as graph:
            for i in range(others):
                dense(placeholder((1, 2)), 3, name=f"other{i}")
            dense(placeholder((1, 2)), 3, name="it")
            it = next(v for v in graph.variables if v.name == "it/weights")
        return session(graph).value(it)

    np.testing.assert_array_equal(weights(1, 0), weights(1, 3))
    assert not np.array_equal(weights(1, 0), weights(2, 0))


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Graph() as graph:
        w = variable(1.0, name="w")
    s, path = session(graph), tmp_path / "w.safetensors"
    s.save(path)
    before = path.read_bytes()
    s.load({w: np.float32(2.0)})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(
        OutputError, match=r"cannot be written \(disk full\)\. What was saved before is whole"
    ):
        s.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert path.read_bytes() == before


def test_restore_refuses_what_does_not_fit(tmp_path: Path) -> None:
    with Graph() as one:
        variable(1.0, name="w")
    with Graph() as two:
        variable(1.0, name="v")
    with Graph() as three:
        variable([1.0], name="w")
    path = tmp_path / "w.safetensors"
    session(one).save(path)
    with pytest.raises(WeightsError, match="of another graph: it lacks v and has w besides"):
        session(two).restore(path)
    with pytest.raises(WeightsError, match=r"w is \(\) float32, the variable \(1,\) float32"):
        session(three).restore(path)
    path.write_bytes(b"no")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        session(one).restore(path)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, r"x \(\?, 2\) is not fed, and total needs it"),
        ({"x": np.zeros((3, 5), np.float32)}, r"x takes \(\?, 2\) float32; it was fed \(3, 5\) float32"),
        ({"x": np.zeros((3, 2))}, r"x takes \(\?, 2\) float32; it was fed \(3, 2\) float64"),
        (
            {"x": np.zeros((3, 2), np.float32), "y": np.zeros((4, 2), np.float32)},
            "x was fed a batch of 3, y one of 4",
        ),
    ],
)
def test_feeds_that_do_not_fit(feeds, message) -> None:
    with Graph() as graph:
        tensors = {name: placeholder((None, 2), name=name) for name in "xy"}
        total = graph.create("add", list(tensors.values()), name="total").output
    with pytest.raises(FeedError, match=message):
        session(graph).run(total, {tensors[name]: value for name, value in feeds.items()})


def test_an_empty_batch_trains_no_depthwise_convolution() -> None:
    with Graph() as graph:
        x = placeholder((None, 2, 4, 4), name="x")
        y = conv2d(x, 2, 3, groups=2)
        train = SGD(0.1).minimize((y * y).sum())
    s, empty = session(graph), np.zeros((0, 2, 4, 4), np.float32)
    assert s.run(y, {x: empty}).shape == (0, 2, 4, 4)
    with pytest.raises(FeedError, match="an empty batch was fed to a run that trains a convolution"):
        s.run(train, {x: empty})


def test_what_cannot_be_fed_or_fetched() -> None:
    with Graph() as graph:
        w = variable([1.0, 2.0], name="w")
        twice = [w.assign(w + 1.0), w.assign(w + 2.0)]
    s = session(graph)
    with pytest.raises(FeedError, match="'w' cannot be fed; the keys of feeds are tensors"):
        s.run(w, {"w": 1.0})  # type: ignore[dict-item]
    with pytest.raises(GraphError, match="cannot fetch 'w'"):
        s.run(["w"])  # type: ignore[list-item]
    with pytest.raises(GraphError, match="w would be assigned twice in one run"):
        s.run(twice)
    with pytest.raises(ShapeError, match=r"w is \(2,\); it was given a value of shape \(3,\)"):
        s.load({w: np.zeros(3)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_assert_finite(bad: float) -> None:
    with Graph() as graph:
        x = placeholder((None,), name="x")
        y = assert_finite(x, "Look at x.") * 2.0
    s = session(graph)
    assert s.run(y, {x: [1.0]}) == [2.0]
    with pytest.raises(
        NumericsError, match=r"x is NaN or infinite in this run; no variable was changed. Look at x\."
    ):
        s.run(y, {x: [1.0, bad]})


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    with Graph() as graph:
        y = print_tensor(constant([1.0, 2.0]) * 2.0, "twice") + 1.0
    session(graph).run(y)
    assert capsys.readouterr().out == "twice: [2. 4.]\n"


def test_device_placement_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    with Graph() as graph:
        x = placeholder((None, 2), name="x")
        y = dense(x, 3, relu, name="layer")
    s = Session(graph, device="cpu", threads=1, log_device_placement=True)
    for _ in range(2):
        s.run(y, {x: [[1.0, 2.0]]})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "layer/matmul (Gemm): CPUExecutionProvider"
    assert {placement.provider for placement in s.placements(y, {x: [[1.0, 2.0]]})} == {
        "CPUExecutionProvider"
    }
    assert len(lines) == len(s.placements(y, {x: [[1.0, 2.0]]}))  # said once


def test_profile_names_operations() -> None:
    graph, x, y, _, train = network()
    found = session(graph).profile(train, dict(zip((x, y), batch(0), strict=True)))
    assert {"conv2d/conv2d", "dense/matmul"} <= {op.op for op in found.ops}
    assert found.microseconds == pytest.approx(sum(op.microseconds for op in found.ops))
    assert "dense/matmul (Gemm)" in str(found)
