"""The trees of a forest as one TreeEnsembleRegressor, which adds up what their leaves say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetune.classifiers.nodes import ML, Array, TopNodes


def add_trees(nodes: TopNodes, x: str, trees: Sequence[Any], classes: int | None) -> str:
    """The mean of what scikit-learn's `trees` say of x, float32 (N, classes) or (N, 1).

    scikit-learn compares float32 features with float64 thresholds. Of all float32 numbers those that are no larger
    than a threshold are the same as those no larger than the threshold rounded down to float32, so with that the
    comparisons come out alike to the last bit.
    """
    parts: dict[str, list[Array]] = {
        name: []
        for name in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids", "values", "leaf")
    }
    votes: dict[str, list[Array]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(trees):
        leaf = tree.children_left < 0
        ids = np.arange(tree.node_count)
        for name, column in (
            ("treeids", np.full(tree.node_count, number)),
            ("nodeids", ids),
            ("featureids", np.where(leaf, 0, tree.feature)),
            ("truenodeids", np.where(leaf, 0, tree.children_left)),
            ("falsenodeids", np.where(leaf, 0, tree.children_right)),
            ("values", np.where(leaf, 0, round_down(tree.threshold))),
            ("leaf", leaf),
        ):
            parts[name].append(column)
        leaves = tree.value[leaf].reshape(leaf.sum(), -1).astype(np.float64)  # (leaves, classes)
        if classes is not None:
            leaves /= leaves.sum(axis=1, keepdims=True)
        rows, columns = np.nonzero(leaves) if classes is not None else np.indices(leaves.shape).reshape(2, -1)
        votes["treeids"].append(np.full(len(rows), number))
        votes["nodeids"].append(ids[leaf][rows])
        votes["ids"].append(columns)
        votes["weights"].append(leaves[rows, columns] / len(trees))
    joined = {name: np.concatenate(columns) for name, columns in parts.items()}
    modes = np.where(joined.pop("leaf"), "LEAF", "BRANCH_LEQ")
    targets = {name: np.concatenate(columns) for name, columns in votes.items()}
    return nodes.add(
        "TreeEnsembleRegressor",
        x,
        domain=ML,
        n_targets=classes or 1,
        nodes_modes=modes.tolist(),
        **{f"nodes_{name}": column.tolist() for name, column in joined.items()},
        **{f"target_{name}": column.tolist() for name, column in targets.items()},
    )


def round_down(thresholds: Array) -> Array:
    """The largest float32 numbers that are not above float64 `thresholds`."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
