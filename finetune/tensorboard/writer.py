"""Writes event files, and files of vectors beside them, for TensorBoard."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from finetune.autodiff.inspection import Placement
from finetune.autodiff.shapes import Shape
from finetune.autodiff.tensor import Tensor
from finetune.tensorboard.projector import Embedding, write_config, write_embedding
from models.devices import Device
from models.errors import GraphError, NumericsError
from models.extras import how_to_install

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter

    from finetune.autodiff.graph import Graph, Operation

BINS = 40  # of a histogram; TensorBoard redraws what it reads with 30

_current: ContextVar[Writer | None] = ContextVar("writer", default=None)


class Writer:
    """An event file in `folder`, which is made if need be; runs in sibling folders are compared by TensorBoard.

    Raises:
        GraphError: the extra `tensorboard` is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        # The library names files after the second and the machine, and overwrites: two writers need more than that.
        self._file = _events_writer(self.folder / "events", f".{os.getpid()}.{uuid.uuid4().hex[:8]}")
        self._tokens: list[Token[Writer | None]] = []
        self._embeddings: dict[str, Embedding] = {}

    def __enter__(self) -> Self:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._tokens.pop())
        if not self._tokens:
            self.close()

    def scalar(self, name: str, value: ArrayLike, step: int) -> None:
        """Add a point to the curve `name`; NaN and infinity are shown as such.

        Raises:
            GraphError: a tensor, which has no value yet, or more than one number.
        """
        array = _numbers(name, value)
        if array.size != 1:
            raise GraphError(
                f"summary {name}: expected one number, got {array.shape}; use histogram, or its mean."
            )
        self._summary(step, tag=name, simple_value=float(array.reshape(())))

    def histogram(self, name: str, values: ArrayLike, step: int) -> None:
        """Add a histogram of numbers of any shape.

        Raises:
            GraphError: a tensor, which has no values yet, or no numbers at all.
            NumericsError: NaN or infinity among them.
        """
        from tensorboardX.proto.summary_pb2 import HistogramProto

        array = _numbers(name, values).astype(np.float64).reshape(-1)
        if not array.size:
            raise GraphError(f"summary {name}: no numbers; expected at least one.")
        if not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise NumericsError(
                f"summary {name}, step {step}: {bad} of {array.size} numbers are NaN or infinite. "
                "assert_finite(...) in the graph tells where they come from."
            )
        low, high = array.min(), array.max()
        # Too close for that many edges between them.
        if high - low < 2 * BINS * np.spacing(np.abs(array).max()):
            low, high = low - 0.5, high + 0.5
        counts, edges = np.histogram(array, BINS, (low, high))
        histogram = HistogramProto(
            min=array.min(),
            max=array.max(),
            num=array.size,
            sum=array.sum(),
            sum_squares=array @ array,
            bucket_limit=edges,
            bucket=[0, *counts],  # limits are upper ones: an empty bucket gives the first its lower one
        )
        self._summary(step, tag=name, histo=histogram)

    def graph(self, graph: Graph, device: Device | str | Sequence[Placement] = "cpu") -> None:
        """Write the graph for TensorBoard's graph tab: name scopes as boxes, shapes on the edges, devices as colours.

        `device`: of the session; or what `session.placements` tells, then operations that did not run have none.
        """
        from tensorboardX.proto.graph_pb2 import GraphDef

        definition = GraphDef()
        definition.versions.producer = 22
        everywhere = _device_name(str(device)) if isinstance(device, Device | str) else ""
        placed = (
            {} if isinstance(device, Device | str) else {p.op: _provider_name(p.provider) for p in device}
        )
        for op in graph.operations():
            _describe(definition.node.add(), op, placed.get(op.name, everywhere))
        self._event(graph_def=definition.SerializeToString())

    def embedding(
        self,
        name: str,
        vectors: ArrayLike,
        labels: Sequence[str] | None = None,
        images: np.ndarray[Any, Any] | None = None,
    ) -> None:
        """Show vectors (N, D) in the projector, with a label and a thumbnail, uint8 (N, S, S, 3), for each.

        Raises:
            GraphError: shapes that do not fit, or a folder that cannot be written.
        """
        self._embeddings[name] = write_embedding(self.folder, name, vectors, labels, images)
        write_config(self.folder, self._embeddings)

    def flush(self) -> None:
        """Bring everything to the disk, where a running TensorBoard sees it."""
        self._file.flush()

    def close(self) -> None:
        """Finish the file. `with` does it."""
        self._file.close()

    def _summary(self, step: int, **value: Any) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        self._event(step=step, summary=Summary(value=[Summary.Value(**value)]))

    def _event(self, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._file.write_event(Event(wall_time=time.time(), **content))


def scalar(name: str, value: ArrayLike, step: int) -> None:
    """Add a point to a curve of the current writer; see `Writer.scalar`."""
    _writer().scalar(name, value, step)


def histogram(name: str, values: ArrayLike, step: int) -> None:
    """Add a histogram to the current writer; see `Writer.histogram`."""
    _writer().histogram(name, values, step)


def graph(graph: Graph, device: Device | str | Sequence[Placement] = "cpu") -> None:
    """Write a graph to the current writer; see `Writer.graph`."""
    _writer().graph(graph, device)


def embedding(
    name: str,
    vectors: ArrayLike,
    labels: Sequence[str] | None = None,
    images: np.ndarray[Any, Any] | None = None,
) -> None:
    """Show vectors in the projector of the current writer; see `Writer.embedding`."""
    _writer().embedding(name, vectors, labels, images)


def _writer() -> Writer:
    writer = _current.get()
    if writer is None:
        raise GraphError(
            "no summary writer: write `with tensorboard.Writer(folder):` around it, or use its methods."
        )
    return writer


def _events_writer(prefix: Path, suffix: str) -> EventsWriter:
    try:
        from tensorboardX.event_file_writer import EventsWriter
    except ImportError as exc:
        raise GraphError(
            f"summaries are written with tensorboardX, which is not installed: {how_to_install('tensorboard')}."
        ) from exc
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        return EventsWriter(str(prefix), suffix)
    except OSError as exc:
        raise GraphError(
            f"{prefix.parent}: no event file can be written there ({exc}). Choose another folder."
        ) from exc


def _numbers(name: str, value: ArrayLike) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor):
        raise GraphError(
            f"summary {name}: {value.name} has no value while the graph is built; fetch it with session.run and "
            "pass what comes back."
        )
    array = np.asarray(value)
    if array.dtype.kind not in "bfiu":
        raise GraphError(f"summary {name}: expected numbers, got {array.dtype}.")
    return array


def _describe(node: Any, op: Operation, device: str) -> None:
    """Fill a NodeDef: TensorFlow's words for an operation."""
    node.name, node.op, node.device = op.name, op.type, device
    node.input.extend(tensor.name for tensor in op.inputs)
    for key, value in op.attrs.items():
        if not isinstance(value, np.ndarray | Tensor):
            node.attr[key].s = str(value).encode()
    shapes = node.attr["_output_shapes"].list  # TensorBoard reads this one for its edges
    for tensor in op.outputs:
        _fill_shape(shapes.shape.add(), tensor.shape)


def _fill_shape(proto: Any, shape: Shape) -> None:
    for size in shape:
        proto.dim.add(size=-1 if size is None else size)


def _device_name(device: str) -> str:
    """`cuda:1` as TensorBoard expects it: `/device:CUDA:1`."""
    kind, _, number = device.partition(":")
    return f"/device:{kind.upper()}:{number or 0}"


def _provider_name(provider: str) -> str:
    """The same for onnxruntime's name, `CUDAExecutionProvider`."""
    return _device_name(provider.removesuffix("ExecutionProvider"))
