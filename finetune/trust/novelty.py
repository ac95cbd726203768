"""Scores that say how little an image is like anything known, in NumPy and as ONNX nodes. Larger = less alike.

Distances are measured between embeddings of length 1 (Mueller & Hein 2025, "Mahalanobis++"), on their principal
components. docs/trust.md has the measurements that the kinds, their order and all constants come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.runtime import Array

if TYPE_CHECKING:
    from models.nodes import Nodes

Kind = Literal["combined", "relative", "mahalanobis", "neighbour", "energy", "confidence"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # in order of preference
BY_DISTANCE: tuple[Kind, ...] = ("relative", "mahalanobis", "neighbour")
COMPONENTS = 128
REMEMBERED = 2000  # training images that neighbours are sought among, at most
SHARE = 0.9  # of the distance to all images, taken off in "relative"; at 1 images that are far from all look known
# Of "combined": what the parts that tell a missing class from known ones are bounded by from below, and divided by;
# how much, how steeply, and from which deviation on the distance counts that tells anything else, which is this times
# the logarithm of a class's images; and how much the residual counts beside it, for each image of a class, and at most:
# few images tell less of missing classes, and their components leave more.
_LOWEST, _NEAR, _FAR, _STEEP, _FROM, _REST, _MOST_REST = -1.0, 1.5, 3.0, 2.0, 1 / 3, 20.0, 4.0
_RESIDUAL = 1e-7  # added to the square of the residual: less is rounding
_LEVEL = 1e-3  # of their size, in how much parts of "combined" vary at least if they are to be divided by it
_TINY = 1e-12
_WHOLE = 1024  # up to which size all eigenvectors are computed: NumPy lets other threads work meanwhile
_DIRECT = 2048  # |a - b|^2 keeps its digits; of more pairs only |a|^2 - 2 ab + |b|^2 fits into memory
# Of the mean variance, added to each: float32 has to carry the distances, and small sets have none.
_FLOOR = 0.01
# The deviation that is added at least, of embeddings of length 1: networks in float32 agree on them to a millionth, and
# distances in units of less would be made of rounding.
_ROUNDING = 3e-5

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Space:
    """The known embeddings, seen along their principal components, whitened by what varies within classes."""

    mean: NDArray[np.float64]  # (D,)
    components: NDArray[np.float64]  # (D, R)
    whitening: NDArray[np.float64]  # (R, R)
    background: NDArray[np.float64]  # (R, R), from whitened within classes to whitened over all classes
    centres: NDArray[np.float64]  # (classes, R), whitened class means
    priors: NDArray[np.float64]  # (classes,) logarithms of the classes' shares
    means: NDArray[np.float64]  # (classes, R), class means along the components, not whitened
    distance: NDArray[np.float64]  # (R, R), whitening as far as all dimensions of the embedding know it
    beyond: float  # variance within classes of each dimension that the components leave
    remembered: NDArray[np.float64]  # (M, R) along the components, not whitened
    each: float  # images of a class, on average

    @classmethod
    def fit(cls, embeddings: Array, y: NDArray[np.int64], seed: int = 0) -> Space:
        """Learn from known embeddings (N, D) of the classes `y` (N,); classes without images do not count."""
        x = unit(embeddings)
        mean = x.mean(axis=0)
        components = principal(x - mean, seed)  # (D, R)
        z = (x - mean) @ components  # (N, R)
        present, place, counts = np.unique(y, return_inverse=True, return_counts=True)
        means = np.zeros((len(present), z.shape[1]))
        np.add.at(means, place, z)
        means /= counts[:, None]
        inside, one = z - means[place], np.eye(z.shape[1])
        within, _ = shrunk_covariance(inside)
        whitening = _whitening(within + max(_FLOOR * float((z**2).mean()), _ROUNDING**2) * one)
        lengths = ((x - mean) ** 2).sum(axis=1)
        left = np.maximum(lengths - (z**2).sum(axis=1), 0)
        floor = max(_FLOOR * float(lengths.mean()) / x.shape[1], _ROUNDING**2)
        everywhere, beyond = shrunk_covariance(inside, left, x.shape[1])
        centres, shares = means @ whitening, counts / counts.sum()
        kept = np.sort(np.random.default_rng(seed).permutation(len(z))[:REMEMBERED])
        return cls(
            mean,
            components,
            whitening,
            _whitening(one + (centres.T * shares) @ centres),
            centres,
            np.log(shares),
            means,
            _whitening(everywhere + floor * one),
            beyond + floor,
            z[kept],
            len(z) / len(present),
        )

    def parts(self, embeddings: Array) -> NDArray[np.float64]:
        """The parts of "combined" of embeddings (M, D), not weighed yet: (4, M)."""
        return np.stack(_parts(self._combined(), embeddings))

    def arrays(self, kind: Kind, scale: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
        """What a score of this kind needs, in the precision in which it is stored; `scale`: see `scaling`."""
        if kind == "combined":
            return self._combined() | {"scale": scale.astype(np.float32)}
        if kind not in BY_DISTANCE:
            return {}
        if kind == "neighbour":
            arrays = {"mean": self.mean, "project": self.components, "known": self.remembered}
        else:
            project = self.components @ self.whitening
            arrays = {"mean": self.mean, "project": project, "known": self.centres}
            if kind == "relative":
                arrays["background"] = self.background
        return {name: values.astype(np.float32) for name, values in arrays.items()}

    def _combined(self) -> dict[str, NDArray[np.float32]]:
        arrays = {
            "mean": self.mean,
            "components": self.components,
            "whitening": self.whitening,
            "background": self.background,
            "known": self.centres,
            "priors": self.priors - (self.centres**2).sum(axis=1) / 2,
            "distance": self.distance,
            "apart": self.means @ self.distance,
            "beyond": np.array(1 / self.beyond),
            "from": np.array(_FROM * np.log(self.each)),
            "rest": np.array(min(_REST / self.each, _MOST_REST)),
        }
        return {name: values.astype(np.float32) for name, values in arrays.items()}

    def discriminant(self, embeddings: Array) -> NDArray[np.float64]:
        """Logits (N, classes) of the linear discriminant, a classifier that is fitted in closed form.

        z . m - |m|^2 / 2 + log prior, z and m whitened. Source: Fisher 1936.
        """
        z = (unit(embeddings) - self.mean) @ self.components @ self.whitening
        return np.asarray(z @ self.centres.T - (self.centres**2).sum(axis=1) / 2 + self.priors)


def scaling(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """By what "combined" weighs its parts: their means and deviations, (2, 4).

    `parts` (4, M): of known images, each in a space that was not fitted to it.
    """
    spread = parts.std(axis=1)
    scale = np.where(spread > _LEVEL * np.maximum(np.abs(parts).max(axis=1), 1), spread, 1)
    return np.stack([parts.mean(axis=1), scale])


def unit(embeddings: Array) -> NDArray[np.float64]:
    """Embeddings (N, D) divided by their lengths."""
    x = np.asarray(embeddings, np.float64)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), _TINY))


def score(
    kind: Kind, arrays: Arrays, embedding: Array, logits: Array, *, length: float = 1.0
) -> NDArray[np.float64]:
    """The score (N,) of embeddings (N, D) and logits (N, classes), without temperature; `length`: see `_parts`.

    confidence: 1 - max softmax(logits) (Hendrycks & Gimpel 2017). energy: -logsumexp(logits) (Liu et al. 2020).
    mahalanobis: the squared distance to the nearest class mean, in units of the covariance that all classes share (Lee
    et al. 2018). relative: the same, less `SHARE` times that to the mean of all images (after Ren et al. 2021, who
    take all of it). neighbour: the distance to the nearest training image (Sun et al. 2022).

    combined: of four parts, each in deviations of known images, the sum of those that tell missing classes - relative,
    and the energy of a linear discriminant - and of what tells everything else, where it is more than usual: the
    distance to the nearest class mean in all dimensions of the embedding, and the part of the embedding that the
    principal components leave (Wang et al. 2022, "ViM", add that to the energy). For the distance the dimensions that
    the components leave vary alike (Moghaddam and Pentland 1997, "Probabilistic visual learning for object
    representation").
    """
    if kind == "combined":
        return _combined(arrays, embedding, length)
    if kind in ("energy", "confidence"):
        z = np.asarray(logits, np.float64)
        top = z.max(axis=1)
        total = np.exp(z - top[:, None]).sum(axis=1)
        return np.asarray(-top - np.log(total) if kind == "energy" else 1 - 1 / total)
    z = (length * unit(embedding) - arrays["mean"]) @ arrays["project"].astype(np.float64)  # (N, R)
    known = arrays["known"].astype(np.float64)  # (M, R)
    nearest = np.maximum(_squares(z, known).min(axis=1), 0)
    if kind == "neighbour":
        return np.asarray(np.sqrt(nearest))
    if kind == "mahalanobis":
        return np.asarray(nearest)
    return np.asarray(nearest - SHARE * ((z @ arrays["background"]) ** 2).sum(axis=1))


def _parts(arrays: Arrays, embedding: Array, length: float = 1.0) -> list[NDArray[np.float64]]:
    """The parts of "combined", (N,) each: relative, energy, logarithms of the distance and of the residual.

    `length`: that embeddings are brought to, which is 1 but for rounding.
    """
    centred = length * unit(embedding) - arrays["mean"]
    components = arrays["components"].astype(np.float64)
    along = centred @ components
    z = along @ arrays["whitening"].astype(np.float64)  # (N, R)
    known = arrays["known"].astype(np.float64)  # (M, R)
    nearest = _squares(z, known).min(axis=1)
    over_all = ((z @ arrays["background"].astype(np.float64)) ** 2).sum(axis=1)
    logits = z @ known.T + arrays["priors"]
    top = logits.max(axis=1)
    energy = -top - np.log(np.exp(logits - top[:, None]).sum(axis=1))
    residual = ((centred - along @ components.T) ** 2).sum(axis=1)
    apart = _squares(along @ arrays["distance"].astype(np.float64), arrays["apart"].astype(np.float64))
    distance = np.maximum(apart.min(axis=1), 0) + residual * float(arrays["beyond"])
    return [nearest - SHARE * over_all, energy, np.log(distance + 1), np.log(residual + _RESIDUAL)]


def _squares(z: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances (N, M) between rows."""
    return np.asarray((z**2).sum(axis=1)[:, None] - 2 * z @ known.T + (known**2).sum(axis=1))


def _combined(arrays: Arrays, embedding: Array, length: float = 1.0) -> NDArray[np.float64]:
    middle, spread = arrays["scale"].astype(np.float64)
    relative, energy, distance, residual = (
        np.stack(_parts(arrays, embedding, length)) - middle[:, None]
    ) / spread[:, None]
    near = (np.maximum(relative, _LOWEST) + np.maximum(energy, _LOWEST)) / _NEAR
    far = [np.logaddexp(0, _STEEP * (part - float(arrays["from"]))) for part in (distance, residual)]
    return np.asarray(near + _FAR * far[0] + float(arrays["rest"]) * far[1])


def _combined_nodes(nodes: Nodes, arrays: Arrays, embedding: str, rows: str, output: str) -> None:
    add, constant = nodes.add, nodes.constant
    centred = centred_nodes(nodes, embedding, rows, arrays["mean"])
    components = constant("components", arrays["components"])
    along = add("MatMul", centred, components)  # (N, R)
    z = add("MatMul", along, constant("whitening", arrays["whitening"]))
    known = arrays["known"].astype(np.float64)
    cross = add("MatMul", z, constant("known", known.T))  # (N, M)
    nearest = _nearest_nodes(nodes, "nearest", z, known, rows)
    behind = add("MatMul", z, constant("background", arrays["background"]))
    over_all = add("ReduceSumSquare", behind, rows, keepdims=0)
    logits = add("Add", cross, constant("priors", arrays["priors"]))
    energy = add("Neg", add("ReduceLogSumExp", logits, rows, keepdims=0))
    again = add("Gemm", along, components, transB=1)
    residual = add("ReduceSumSquare", add("Sub", centred, again), rows, keepdims=0)
    further = add("MatMul", along, constant("distance", arrays["distance"]))
    means = arrays["apart"].astype(np.float64)
    apart = _nearest_nodes(nodes, "apart", further, means, rows)
    distance = add("Add", apart, add("Mul", residual, constant("beyond", arrays["beyond"])))
    parts = [
        add("Sub", nearest, add("Mul", over_all, constant("share", SHARE))),
        energy,
        add("Log", add("Add", distance, constant("one", 1.0))),
        add("Log", add("Add", residual, constant("least", _RESIDUAL))),
    ]
    middle, spread = arrays["scale"].astype(np.float64)
    scaled = [
        add("Div", add("Sub", part, constant(f"middle{i}", middle[i])), constant(f"spread{i}", spread[i]))
        for i, part in enumerate(parts)
    ]
    lowest, start, steep = (
        constant(name, value)
        for name, value in (("lowest", _LOWEST), ("from", arrays["from"]), ("steep", _STEEP))
    )
    near = add("Add", *(add("Max", part, lowest) for part in scaled[:2]))
    far = [add("Softplus", add("Mul", add("Sub", part, start), steep)) for part in scaled[2:]]
    total = add("Add", add("Div", near, constant("near", _NEAR)), add("Mul", far[0], constant("far", _FAR)))
    add("Add", total, add("Mul", far[1], constant("rest", arrays["rest"])), output=output)


def _nearest_nodes(nodes: Nodes, name: str, z: str, known: NDArray[np.float64], rows: str) -> str:
    """The least squared distance (N,) of `z` (N, R) from rows of `known` (M, R)."""
    add, constant = nodes.add, nodes.constant
    if len(known) <= _DIRECT:
        apart = add("Sub", add("Unsqueeze", z, rows), constant(name, known))  # (N, M, R)
        squares = add("ReduceSumSquare", apart, constant(f"{name}_last", [2], np.int64), keepdims=0)
    else:
        cross = add("MatMul", z, constant(name, -2 * known.T))  # (N, M)
        partly = add("Add", cross, constant(f"{name}_lengths", (known**2).sum(axis=1)))
        squares = add("Add", partly, add("ReduceSumSquare", z, rows, keepdims=1))
    return add("Max", add("ReduceMin", squares, rows, keepdims=0), constant(f"{name}_least", 0.0))


def score_nodes(kind: Kind, arrays: Arrays, embedding: str, logits: str, output: str) -> Nodes:
    """The same as ONNX nodes of opset 18, from two tensors to `output`, float32 (N,)."""
    from models.nodes import Nodes

    nodes = Nodes(f"{output}/")
    add, constant = nodes.add, nodes.constant
    rows = constant("rows", [1], np.int64)
    if kind == "combined":
        _combined_nodes(nodes, arrays, embedding, rows, output)
        return nodes
    if kind == "energy":
        add("Neg", add("ReduceLogSumExp", logits, rows, keepdims=0), output=output)
        return nodes
    if kind == "confidence":
        best = add("ReduceMax", add("Softmax", logits, axis=1), rows, keepdims=0)
        add("Sub", constant("one", 1.0), best, output=output)
        return nodes
    centred = centred_nodes(nodes, embedding, rows, arrays["mean"])
    z = add("MatMul", centred, constant("project", arrays["project"]))  # (N, R)
    known = arrays["known"].astype(np.float64)
    nearest = _nearest_nodes(nodes, "known", z, known, rows)
    if kind == "mahalanobis":
        add("Identity", nearest, output=output)
    if kind == "neighbour":
        add("Sqrt", nearest, output=output)
    if kind == "relative":
        over_all = add("MatMul", z, constant("background", np.sqrt(SHARE) * arrays["background"]))
        add("Sub", nearest, add("ReduceSumSquare", over_all, rows, keepdims=0), output=output)
    return nodes


def centred_nodes(nodes: Nodes, embedding: str, rows: str, mean: Array) -> str:
    """`unit` of a tensor (N, D), less a mean (D,), as nodes; `rows` is the name of a constant [1]."""
    length = nodes.add(
        "Max", nodes.add("ReduceL2", embedding, rows, keepdims=1), nodes.constant("tiny", _TINY)
    )
    return nodes.add("Sub", nodes.add("Div", embedding, length), nodes.constant("mean", mean))


def shrunk_covariance(
    x: NDArray[np.float64], left: NDArray[np.float64] | float = 0.0, width: int | None = None
) -> tuple[NDArray[np.float64], float]:
    """The covariance (R, R) of centred rows (N, R), drawn towards a multiple of 1 as far as few rows demand.

    Of rows of `width` dimensions `x` may be the first ones along principal axes: `left` (N,) is what the squares of the
    others come to, which are taken to vary alike; the second value is the variance of each of them.
    Source: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices". The same is
    in scikit-learn, the import of which would be a fifth of the time of a run whose features are cached.
    """
    n, along = x.shape
    width = width or along
    covariance = x.T @ x / n
    rest, others = float(np.mean(left)), max(width - along, 1)
    level = (float(np.trace(covariance)) + rest) / width
    squared = float(np.square(covariance).sum()) + rest**2 / others
    spread = squared - width * level**2
    fourth = float(np.square(np.square(x).sum(axis=1) + left).sum()) / n
    noise = min((fourth - squared) / n, spread)
    share = noise / spread if spread > 0 else 0.0
    drawn = (1 - share) * covariance + share * level * np.eye(along)
    return np.asarray(drawn), (1 - share) * rest / others + share * level


def principal(centred: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Directions (D, R) in which the rows vary most, those in which they do not vary left out."""
    n, width = centred.shape
    most = min(n, width)
    if most > 2048:  # exactly it would take seconds; below, this takes longer
        from sklearn.utils.extmath import randomized_svd

        _, sizes, rows = randomized_svd(centred, COMPONENTS, random_state=seed)
        directions = rows.T
    else:
        squared = centred @ centred.T if n < width else centred.T @ centred
        squares, vectors = _largest(squared, COMPONENTS)
        sizes, vectors = np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1]
        directions = centred.T @ vectors / np.maximum(sizes, _TINY) if n < width else vectors
    count = int((sizes > 1e-6 * max(sizes[0], _TINY)).sum())
    return np.asarray(directions[:, : max(count, 1)])


def _largest(matrix: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `count` largest eigenvalues of a symmetric matrix, ascending, and their vectors (N, count)."""
    size = len(matrix)
    if size <= _WHOLE:
        values, vectors = np.linalg.eigh(matrix)
        return values[-count:], vectors[:, -count:]
    from scipy.linalg import eigh

    values, vectors = eigh(matrix, subset_by_index=[max(0, size - count), size - 1], driver="evx")
    return values, vectors


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix W for which W W^T is the inverse of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors / np.sqrt(np.maximum(values, _TINY)))
