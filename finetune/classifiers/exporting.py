"""Fitted estimators as ONNX nodes.

The nodes are our own: sklearn-onnx (issue 1246) applies the sigmoids of calibrated pipelines wrongly, and its
probabilities come with labels and maps that nobody here reads. Linear methods are float32 throughout, so that they can
be differentiated and run anywhere; what takes differences of large distances computes in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto

from finetune.classifiers.nodes import Array, TopNodes
from finetune.classifiers.result import Fitted
from finetune.classifiers.trees import add_trees
from finetune.heads.top import Top
from models.names import FEATURES, LOGITS, VALUE

_TINY = 1e-6  # divided by the number of classes: probabilities below it are taken for it in logits


def export_top(fitted: Fitted) -> Top:
    """The same as an ONNX model: `features` in, `embedding` and `logits` or `value` out."""
    return Top(_model(fitted), fitted.chosen)


def _model(fitted: Fitted) -> ModelProto:
    estimator = fitted.estimator if fitted.classes is not None else fitted.estimator.regressor_
    nodes = TopNodes(fitted.width)
    answer = written(nodes, fitted, estimator, scaled_features(nodes, estimator))
    if fitted.classes is not None:
        nodes.add("Identity", answer, output=LOGITS)
        return nodes.model(LOGITS, fitted.classes)
    target = fitted.estimator.transformer_
    scaled = nodes.add("Mul", nodes.to_double(answer), nodes.constant("spread", target.scale_, np.float64))
    moved = nodes.add("Add", scaled, nodes.constant("centre", target.mean_, np.float64))
    flat = nodes.add("Reshape", moved, nodes.constant("flat", [-1], np.int64))
    nodes.add("Identity", nodes.to_float(flat), output=VALUE)
    return nodes.model(VALUE, None)


def scaled_features(nodes: TopNodes, pipeline: Any) -> str:
    """The features as the last step of a fitted pipeline takes them."""
    steps = dict(pipeline.named_steps)
    z = FEATURES
    if "scale" in steps:
        z = _standardise(nodes, steps["scale"])
    return _unit(nodes, z) if "unit" in steps else z


def written(nodes: TopNodes, fitted: Fitted, pipeline: Any, z: str) -> str:
    """Logits or values by the last step of a pipeline, from scaled features."""
    return _WRITERS[fitted.kind](nodes, z, pipeline[-1], fitted.classes)


def _standardise(nodes: TopNodes, scaler: Any) -> str:
    """(x - mean) / spread; the mean in two parts, because float32 holds a large one only roughly."""
    mean = scaler.mean_.astype(np.float32)
    rest = scaler.mean_ - mean
    z = nodes.add("Sub", FEATURES, nodes.constant("mean", mean))
    if np.abs(rest / scaler.scale_).max() > 1e-8:
        z = nodes.add("Sub", z, nodes.constant("mean_rest", rest))
    return nodes.add("Mul", z, nodes.constant("spread_inverse", 1.0 / scaler.scale_))


def _unit(nodes: TopNodes, z: str) -> str:
    """Rows divided by their length, of operators that can be differentiated."""
    from finetune.classifiers.estimators import SHORTEST

    squares = nodes.add(
        "ReduceSum", nodes.add("Mul", z, z), nodes.constant("columns", [1], np.int64), keepdims=1
    )
    length = nodes.add("Max", nodes.add("Sqrt", squares), nodes.constant("shortest", SHORTEST))
    return nodes.add("Div", z, length)


def _linear(nodes: TopNodes, z: str, weights: Array, shift: Array) -> str:
    """z W' + b for W (outputs, D); one output of two classes becomes a pair."""
    name = nodes.constant("weights", weights.T)  # (D, outputs)
    return nodes.add("Gemm", z, name, nodes.constant("shift", shift))


def _pair(values: Array, scale: float) -> Array:
    """The one row that scikit-learn has for two classes, as two."""
    return np.concatenate([-values, values]) * scale if len(values) == 1 else values


def _logistic(nodes: TopNodes, z: str, model: Any, classes: int | None) -> str:
    return _linear(nodes, z, _pair(model.coef_, 0.5), _pair(model.intercept_, 0.5))


def _margins(nodes: TopNodes, z: str, model: Any, classes: int | None) -> str:
    linear, scale = model.estimator_, model.scale
    return _linear(nodes, z, scale * _pair(linear.coef_, 1.0), scale * _pair(linear.intercept_, 1.0))


def _ridge(nodes: TopNodes, z: str, model: Any, classes: int | None) -> str:
    return _linear(nodes, z, np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_))


def _distances(nodes: TopNodes, z: str, others: Array) -> str:
    """Squared distances, float64 (N, M), to rows (M, D) that float32 holds exactly."""
    double = nodes.to_double(z)
    axis = nodes.constant("last", [1], np.int64)
    own = nodes.add("ReduceSum", nodes.add("Mul", double, double), axis, keepdims=1)
    stored = nodes.to_double(nodes.constant("rows", others))
    products = nodes.add("Gemm", double, stored, transB=1, alpha=-2.0)
    squares = nodes.constant("row_squares", (others.astype(np.float64) ** 2).sum(axis=1), np.float64)
    summed = nodes.add("Add", nodes.add("Add", products, own), squares)
    return nodes.add("Max", summed, nodes.constant("none", 0.0, np.float64))


def _rbf(nodes: TopNodes, z: str, model: Any, classes: int | None) -> str:
    machines = [model] if classes is None else model.estimator_.estimators_
    used = np.unique(np.concatenate([machine.support_ for machine in machines]))
    rows = np.empty((len(used), machines[0].shape_fit_[1]))
    weights = np.zeros((len(used), len(machines)))
    for column, machine in enumerate(machines):
        places = np.searchsorted(used, machine.support_)
        rows[places] = machine.support_vectors_
        weights[places, column] = machine.dual_coef_[0]
    shift = np.array([machine.intercept_[0] for machine in machines])
    if classes is not None:
        weights = model.scale * _pair(weights.T, 1.0).T
        shift = model.scale * _pair(shift, 1.0)
    gamma = nodes.constant("gamma", -machines[0]._gamma, np.float64)
    kernel = nodes.add("Exp", nodes.add("Mul", _distances(nodes, z, rows), gamma))
    names = nodes.constant("weights", weights, np.float64), nodes.constant("shift", shift, np.float64)
    return nodes.to_float(nodes.add("Gemm", kernel, *names))


def _knn(nodes: TopNodes, z: str, model: Any, classes: int | None) -> str:
    from finetune.classifiers.estimators import FAINT

    nearest, places = nodes.top_k(_distances(nodes, z, model._fit_X), model.n_neighbors)
    axis = nodes.constant("neighbours", [1], np.int64)
    farthest = nodes.add("ReduceMax", nearest, axis, keepdims=1)
    faint = nodes.constant("faint", FAINT, np.float64)
    weights = nodes.add("Add", nodes.add("Sub", farthest, nearest), faint)  # (N, k)
    total = nodes.add("ReduceSum", weights, axis, keepdims=1)
    shares = nodes.add("Div", weights, total)
    targets = np.asarray(model._y).reshape(-1)
    kind = np.float64 if classes is None else np.int64
    theirs = nodes.add("Gather", nodes.constant("targets", targets, kind), places)  # (N, k)
    if classes is None:
        return nodes.add("ReduceSum", nodes.add("Mul", shares, theirs), axis, keepdims=1)
    rows = nodes.add("Shape", z, end=1)
    shape = nodes.add("Concat", rows, nodes.constant("classes", [classes], np.int64), axis=0)
    none = nodes.add("Expand", nodes.constant("no_vote", [[0.0]], np.float64), shape)  # (N, classes)
    votes = nodes.add("ScatterElements", none, theirs, shares, axis=1, reduction="add")
    return _logits(nodes, nodes.to_float(votes), classes)


def _forest(nodes: TopNodes, z: str, model: Any, classes: int | None) -> str:
    answer = add_trees(nodes, z, [tree.tree_ for tree in model.estimators_], classes)
    return answer if classes is None else _logits(nodes, answer, classes)


def _logits(nodes: TopNodes, probabilities: str, classes: int) -> str:
    """log(max(p, tiny)), whose softmax is p but for tiny."""
    return nodes.add("Log", nodes.add("Max", probabilities, nodes.constant("tiny", _TINY / classes)))


_WRITERS: dict[str, Callable[[TopNodes, str, Any, int | None], str]] = {
    "logistic": _logistic,
    "linear-svm": _margins,
    "rbf-svm": _rbf,
    "knn": _knn,
    "forest": _forest,
    "nearest-mean": _margins,
    "ridge": _ridge,
}
