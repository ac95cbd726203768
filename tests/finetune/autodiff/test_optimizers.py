"""Optimizers against the trajectories of published implementations (see scripts/golden/optimizers.py)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from finetune.autodiff import (
    Graph,
    Operation,
    Session,
    Variable,
    optimizers,
    placeholder,
    schedules,
    variable,
)
from finetune.autodiff.clipping import by_global_norm, by_norm, by_value
from finetune.autodiff.layers import batch_norm, conv2d, dense, dropout, flatten
from finetune.autodiff.losses import mean_squared_error, softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.ops.shape import stack, transpose
from finetune.autodiff.ops.winograd_cpu import MANY
from finetune.autodiff.optimizers import (
    FTRL,
    SGD,
    Adadelta,
    Adagrad,
    AdagradDA,
    Adam,
    AdamW,
    Momentum,
    MovingAverages,
    Optimizer,
    RMSProp,
)
from models.errors import GradientError, GraphError, NumericsError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "optimizers.json").read_text())
OURS: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: SGD(0.1),
    "sgd, weight decay": lambda: SGD(0.1, weight_decay=0.1),
    "momentum": lambda: Momentum(0.1, 0.9),
    "nesterov": lambda: Momentum(0.1, 0.9, nesterov=True),
    "adagrad": lambda: Adagrad(0.1),
    "adagrad, initial": lambda: Adagrad(0.1, initial=0.1),
    "adadelta": lambda: Adadelta(1.0, 0.9),
    "rmsprop": lambda: RMSProp(0.01),
    "rmsprop, momentum": lambda: RMSProp(0.01, 0.9, momentum=0.9),
    "rmsprop, centered": lambda: RMSProp(0.01, centered=True),
    "adam": lambda: Adam(0.1),
    "adam, weight decay": lambda: Adam(0.1, weight_decay=0.1),
    "adamw": lambda: AdamW(0.1, decay=0.1),
    "ftrl": lambda: FTRL(0.1),
    "ftrl, l1 and l2": lambda: FTRL(0.1, l1=0.3, l2=0.1),
    "adagrad_da": lambda: AdagradDA(0.1),
    "adagrad_da, l1 and l2": lambda: AdagradDA(0.1, l1=0.3, l2=0.1),
}


def test_every_trajectory_is_compared() -> None:
    assert sorted(OURS) == sorted(GOLDEN["optimizers"])


def test_every_optimizer_has_a_trajectory() -> None:
    kinds = {getattr(optimizers, name) for name in optimizers.__all__}
    assert {kind for kind in kinds if issubclass(kind, Optimizer)} - {Optimizer} == {
        type(make()) for make in OURS.values()
    }


@pytest.mark.parametrize("name", sorted(OURS))
def test_trajectory(name: str) -> None:
    with Graph(np.float64) as graph:
        w = variable(np.array(GOLDEN["weights"]), name="w")
        g = placeholder((4,), name="g")
        train = OURS[name]().apply([g], [w])
    session = Session(graph, device="cpu", threads=1)
    steps = []
    for gradient in GOLDEN["gradients"]:
        session.run(train, {g: np.array(gradient)})
        steps.append(session.value(w))
    golden = GOLDEN["optimizers"][name]
    # TensorFlow keeps learning rates and penalties in single precision beside weights in double.
    tolerance = 1e-6 if golden["source"].startswith("TensorFlow") else 1e-9
    np.testing.assert_allclose(steps, golden["steps"], rtol=tolerance, atol=1e-12)
    assert session.value(graph.step) == 5


def walk(optimizer: Optimizer, start: float = 1.0, steps: int = 1, target: float = 0.0) -> np.ndarray:
    """A variable after some steps down (w - target)^2."""
    with Graph() as graph:
        w = variable(start, name="w")
        train = optimizer.minimize((w - target) ** 2)
    session = Session(graph, device="cpu", threads=1)
    for _ in range(steps):
        session.run(train)
    return session.value(w)


def test_weights_reach_the_minimum() -> None:
    assert walk(Adam(0.1), steps=200, target=3.0) == pytest.approx(3.0, abs=1e-3)


def test_clipping_by_value() -> None:
    assert walk(SGD(0.1, clip=by_value(0.5))) == pytest.approx(1.0 - 0.1 * 0.5)


@pytest.mark.parametrize(("limit", "expected"), [(1.0, 0.9), (5.0, 0.8)])
def test_clipping_by_norm(limit: float, expected: float) -> None:
    assert walk(SGD(0.1, clip=by_norm(limit))) == pytest.approx(expected)


def test_clipping_by_the_global_norm_keeps_the_direction() -> None:
    with Graph() as graph:
        xs = [placeholder((2,)), placeholder((1,))]
        clipped = by_global_norm(6.5)(xs)
    values = Session(graph, device="cpu", threads=1).run(clipped, {xs[0]: [3.0, 4.0], xs[1]: [12.0]})
    np.testing.assert_allclose(np.concatenate(values), np.array([3.0, 4.0, 12.0]) / 2)


def test_rates_of_single_variables() -> None:
    with Graph() as graph:
        a, b = variable(1.0, name="a"), variable(1.0, name="b")
        train = SGD(0.1, rates={b: 0.1}).minimize(a + b)
    session = Session(graph, device="cpu", threads=1)
    session.run(train)
    assert [float(session.value(v)) for v in (a, b)] == pytest.approx([0.9, 0.99])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.constant(0.5), [0.5] * 5),
        (schedules.exponential(1.0, 2, 0.25), [1.0, 0.5, 0.25, 0.125, 0.0625]),
        (schedules.exponential(1.0, 2, 0.25, staircase=True), [1.0, 1.0, 0.25, 0.25, 0.0625]),
        (schedules.cosine(1.0, 4), [1.0, 0.853553, 0.5, 0.146447, 0.0]),
        (schedules.cosine(1.0, 4, final=0.5, warmup=2), [0.5, 1.0, 1.0, 0.75, 0.5]),
        # torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=5, pct_start=0.5)
        (schedules.one_cycle(1.0, 5, rise=0.5), [0.04, 0.76, 0.904509, 0.345494, 0.000004]),
    ],
    ids=["constant", "exponential", "staircase", "cosine", "warm-up", "one cycle"],
)
def test_schedule(schedule: schedules.Schedule, expected: list[float]) -> None:
    with Graph() as graph:
        step = placeholder((), name="step")
        rate = schedule(step)
    session = Session(graph, device="cpu", threads=1)
    np.testing.assert_allclose(
        [session.run(rate, {step: i}) for i in range(5)], expected, rtol=1e-5, atol=1e-6
    )


def test_a_schedule_follows_the_steps() -> None:
    assert walk(SGD(schedules.exponential(0.1, 1, 0.5)), steps=2) == pytest.approx(0.8 - 0.05 * 1.6)


def averaged() -> tuple[Graph, Variable, MovingAverages, Operation]:
    with Graph() as graph:
        w = variable(1.0, name="w")
        averages = MovingAverages(0.5)
        train = averages.follow(SGD(0.25).minimize(w**2))
    return graph, w, averages, train


def test_moving_averages() -> None:
    graph, w, averages, train = averaged()
    session = Session(graph, device="cpu", threads=1)
    average, weight = 0.0, 1.0
    for step in range(4):
        session.run(train)
        weight *= 0.5
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    assert session.value(w) == pytest.approx(weight)
    averages.use(session)
    assert session.value(w) == pytest.approx(average)


def test_a_bad_step_changes_nothing() -> None:
    with Graph() as graph:
        x = placeholder((), name="x")
        w = variable(1.0, name="w")
        train = SGD(0.1).minimize(w * x)
    session = Session(graph, device="cpu", threads=1)
    session.run(train, {x: 1.0})
    with pytest.raises(
        NumericsError, match=r"multiply is NaN or infinite at step 1; .*Lower the learning rate"
    ):
        session.run(train, {x: float("nan")})
    assert session.value(w) == pytest.approx(0.9)
    assert session.value(graph.step) == 1


def test_refuses_a_loss_that_is_no_scalar() -> None:
    with Graph(), pytest.raises(GraphError, match="expected a scalar"):
        SGD(0.1).minimize(stack([variable(1.0), variable(2.0)]))


def test_refuses_to_train_nothing() -> None:
    with Graph(), pytest.raises(GraphError, match="depends on no trainable variable"):
        SGD(0.1).minimize(mean_squared_error(variable([1.0], trainable=False), [1.0]))


def test_refuses_a_variable_that_does_not_matter() -> None:
    with Graph(), pytest.raises(GradientError, match="does not depend on other"):
        SGD(0.1).minimize(variable(1.0) ** 2, [variable(2.0, name="other")])


def test_averages_need_a_training_step() -> None:
    with Graph() as graph, pytest.raises(GraphError, match="changes no trainable variable"):
        MovingAverages().follow(graph.create("group", [variable(1.0)]))


SIZE, WEIGHTS = 24, (0.5, 1.0, 4.0)


class Learner:
    """Convolutions, dropout, a weighted loss, clipping and decay: a step as a whole, or in two runs."""

    def __init__(
        self,
        make: Callable[..., Optimizer] = Adam,
        *,
        split: bool,
        parts: bool = False,
        filters: Sequence[int] = (4,),
        padding: str = "SAME",
    ) -> None:
        with Graph(seed=1) as graph:
            if parts:
                graph.rows = placeholder((None,), np.int64, name="rows")
            x, y = placeholder((None, 3, 6, 6), name="x"), placeholder((None,), np.int64, name="y")
            h = x
            for count in filters:
                h = conv2d(h, count, 3, relu, padding=padding)
            h = dropout(flatten(h), 0.3)
            loss = softmax_cross_entropy(dense(dropout(h, 0.2), 3), y, 0.1, WEIGHTS)
            optimizer = make(schedules.cosine(0.01, 20), weight_decay=0.01, clip=by_global_norm(0.5))
            self.step = optimizer.split(loss) if split else None
            self.train = None if split else optimizer.minimize(loss)
        self.graph, self.x, self.y, self.loss = graph, x, y, loss
        self.session = Session(graph, device="cpu", threads=1)

    def gradients(self, x: np.ndarray, y: np.ndarray, rows: np.ndarray | None = None) -> list[np.ndarray]:
        assert self.step is not None
        feeds = {self.x: x, self.y: y}
        if self.graph.rows is not None:
            assert rows is not None
            feeds[self.graph.rows] = rows
        loss, *computed = self.session.run([self.step.loss, *self.step.gradients], feeds, training=True)
        assert np.isfinite(loss)
        return computed

    def apply(self, computed: Sequence[np.ndarray]) -> None:
        assert self.step is not None
        self.session.run(self.step.apply, dict(zip(self.step.reduced, computed, strict=True)))

    def values(self) -> dict[str, np.ndarray]:
        return {v.name: self.session.value(v) for v in self.graph.variables}


def drawn(step: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(step)
    return rng.standard_normal((SIZE, 3, 6, 6)).astype(np.float32), rng.integers(0, 3, SIZE)


@pytest.mark.parametrize("make", [Adam, AdamW, Momentum, RMSProp, Adagrad, Adadelta])
def test_a_step_in_two_runs_is_to_the_bit_that_in_one(make: Callable[..., Optimizer]) -> None:
    whole, split = Learner(make, split=False), Learner(make, split=True)
    assert whole.train is not None
    for step in range(20):
        x, y = drawn(step)
        whole.session.run(whole.train, {whole.x: x, whole.y: y})
        split.apply(split.gradients(x, y))
    assert whole.values().keys() == split.values().keys()  # so a checkpoint of one is one of the other
    for name, value in whole.values().items():
        np.testing.assert_array_equal(split.values()[name], value, err_msg=name)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])  # from images of 6 x 6, and of 4 x 4
def test_nor_does_a_bit_change_where_convolutions_go_over_tiles(padding: str) -> None:
    filters = (MANY, MANY + 3)  # the second takes tiles for the result and both gradients
    whole, split = (Learner(split=way, filters=filters, padding=padding) for way in (False, True))
    assert whole.train is not None
    for step in range(3):
        x, y = drawn(step)
        whole.session.run(whole.train, {whole.x: x, whole.y: y})
        split.apply(split.gradients(x, y))
    for name, value in whole.values().items():
        np.testing.assert_array_equal(split.values()[name], value, err_msg=name)


@pytest.mark.parametrize("cuts", [[12], [1, 9], [5, 5, 20]], ids=["halves", "uneven", "one of them empty"])
def test_gradients_of_parts_come_to_the_step_of_the_whole_batch(cuts: list[int]) -> None:
    whole, parts = Learner(split=False), Learner(split=True, parts=True)
    assert whole.train is not None
    for step in range(20):
        x, y = drawn(step)
        whole.session.run(whole.train, {whole.x: x, whole.y: y})
        counts = np.array(WEIGHTS)[y]
        total = [np.zeros(v.sizes, np.float32) for v in parts.graph.trainable_variables]
        for rows in np.split(np.arange(SIZE), cuts):
            if len(rows):
                share = np.float32(counts[rows].sum() / counts.sum())
                for sum_, g in zip(total, parts.gradients(x[rows], y[rows], rows), strict=True):
                    sum_ += share * g
        parts.apply(total)
    for name, value in whole.values().items():
        np.testing.assert_allclose(parts.values()[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_what_is_not_of_the_batch_is_dropped_alike_in_each_part() -> None:
    with Graph(seed=1) as graph:
        graph.rows = placeholder((None,), np.int64)
        x, factor = placeholder((None, 4)), placeholder(())
        dropped = x @ dropout(factor * variable(np.eye(4)) + 1.0, 0.5)
    session, rows, eye = Session(graph, device="cpu"), np.arange(4), np.eye(4, dtype=np.float32)
    whole, *parts = (
        session.run(dropped, {x: eye[part], factor: 1.0, graph.rows: part}, training=True)
        for part in (rows, rows[:2], rows[2:])
    )
    assert 0.0 in whole
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("perm", [(1, 0, 2), (1, 2, 0)])
def test_rows_that_are_not_the_first_axis_are_refused(perm: tuple[int, ...]) -> None:
    with Graph() as graph:
        x = transpose(placeholder((None, 5, 2)), perm)
        dropout(x, 0.5)
        graph.rows = placeholder((None,), np.int64)
        with pytest.raises(GraphError, match=r"is \(5, .*expected the images of the batch as its first axis"):
            dropout(x, 0.5)


def test_a_first_run_that_is_not_finite_changes_nothing() -> None:
    split = Learner(split=True)
    x, y = drawn(0)
    before = split.values()
    x[3] = np.nan
    with pytest.raises(
        NumericsError, match=r"is NaN or infinite at step 0; no variable was changed\. Lower the"
    ):
        split.gradients(x, y)
    for name, value in before.items():
        np.testing.assert_array_equal(split.values()[name], value, err_msg=name)


def test_statistics_of_a_batch_are_not_split() -> None:
    with Graph():
        x, y = placeholder((None, 3, 6, 6)), placeholder((None,), np.int64)
        loss = softmax_cross_entropy(dense(flatten(batch_norm(conv2d(x, 4, 3))), 3), y)
        with pytest.raises(GraphError, match=r"depends on 2 statistics of its batch .*Freeze the statistics"):
            Adam(0.1).split(loss)
