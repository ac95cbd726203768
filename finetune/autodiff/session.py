"""Runs a graph: compiles what is fetched, keeps variables on the device, feeds and fetches arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff import checkpoint
from finetune.autodiff.executable import Executable
from finetune.autodiff.graph import Graph, Operation
from finetune.autodiff.inspection import Placement, RunMetadata, placements, profile
from finetune.autodiff.program import Fetch, compile_program, needed, updates_of
from finetune.autodiff.shapes import show
from finetune.autodiff.tensor import Tensor, Variable
from finetune.autodiff.variables import VariableStore, initial_value
from models.devices import choose_device
from models.errors import FeedError, GraphError
from models.runtime import RuntimeConfig

Array = NDArray[Any]
Feeds = Mapping[Tensor, Any]


class Session:
    """A graph on a device.

    `device`: "auto", "cpu", "cuda" or "cuda:1", for the whole graph. `threads`: of a run, None for one a core.
    `log_device_placement`: say once for each compiled set which node runs where.
    """

    def __init__(
        self,
        graph: Graph,
        device: str = "auto",
        *,
        threads: int | None = None,
        log_device_placement: bool = False,
    ) -> None:
        self.graph = graph
        self.device = choose_device(device)
        self.target = {"cpu": "cpu", "cuda": "cuda", "tensorrt": "cuda"}.get(self.device.kind, "plain")
        # Without the plan, a step of the top of InceptionV3 takes a quarter less memory, in the same time.
        # Nothing decodes while a step runs, so its threads may spin while they wait.
        self.config = RuntimeConfig(str(self.device), threads, spinning=True, memory_pattern=False)
        self.log_device_placement = log_device_placement
        self.runs = 0
        self._store = VariableStore(graph, self.device, self.target)
        self._compiled: dict[Any, Executable] = {}

    def initialize(self) -> None:
        """Set every variable to its initial value. Without it, a variable is set when it is first used."""
        self.load({variable: initial_value(variable) for variable in self.graph.variables})

    @overload
    def run(self, fetches: Tensor, feeds: Feeds | None = None, *, training: bool | None = None) -> Array: ...
    @overload
    def run(
        self, fetches: Operation, feeds: Feeds | None = None, *, training: bool | None = None
    ) -> None: ...
    @overload
    def run(
        self, fetches: Sequence[Fetch], feeds: Feeds | None = None, *, training: bool | None = None
    ) -> list[Any]: ...

    def run(
        self, fetches: Fetch | Sequence[Fetch], feeds: Feeds | None = None, *, training: bool | None = None
    ) -> Any:
        """Compute `fetches`: the value of a tensor, None for an operation, a list for several.

        `feeds`: values of placeholders, or of any other tensors, whose own computation is then left out. `training`:
        whether dropout drops and batch norm looks at the batch; by default it is so where a variable is updated.

        Raises:
            FeedError: a feed is missing, or has the wrong shape or dtype.
            GraphError: a tensor of another graph.
            NumericsError: a number that was asserted to be finite is not; no variable has changed then.
        """
        single = isinstance(fetches, Tensor | Operation)
        wanted: tuple[Fetch, ...] = (fetches,) if isinstance(fetches, Tensor | Operation) else tuple(fetches)
        arrays = self._check_feeds(feeds or {})
        values = self._executable(wanted, arrays, training).run(list(arrays.values()))
        self.runs += 1
        return values[0] if single else values

    def _executable(
        self, fetches: tuple[Fetch, ...], feeds: Mapping[Tensor, Array], training: bool | None
    ) -> Executable:
        key = (fetches, tuple(feeds), training, len(self.graph.assigned), self._store.frozen_version)
        executable = self._compiled.get(key)
        if executable is None:
            executable = self._compiled[key] = self._compile(fetches, tuple(feeds), training)
            if self.log_device_placement:
                print("\n".join(map(str, placements(executable.program, executable.config))))
        return executable

    def _compile(
        self, fetches: tuple[Fetch, ...], fed: tuple[Tensor, ...], training: bool | None
    ) -> Executable:
        for fetch in fetches:
            if not isinstance(fetch, Tensor | Operation):
                raise GraphError(f"cannot fetch {fetch!r}; expected a Tensor or an Operation of the graph.")
            if fetch.graph is not self.graph:
                raise GraphError(f"{fetch.name} belongs to another Graph than this session.")
        ops = needed(fetches, fed)
        used = [t for op in ops for t in op.outputs if isinstance(t, Variable)]
        frozen = [v for v in used if not v.trainable and v not in self.graph.assigned]
        updates = updates_of(ops)
        program = compile_program(
            self.graph,
            fetches,
            fed,
            self.target,
            bool(updates) if training is None else training,
            {variable: self._store.order(variable) for variable in {*used, *updates}},
            {variable: self._store.frozen_value(variable) for variable in frozen},
        )
        return Executable(program, self._store, self.config)

    def _check_feeds(self, feeds: Feeds) -> dict[Tensor, Array]:
        arrays: dict[Tensor, Array] = {}
        batch: tuple[int, Tensor] | None = None
        for tensor, value in feeds.items():
            if not isinstance(tensor, Tensor):
                raise FeedError(f"{tensor!r} cannot be fed; the keys of feeds are tensors of the graph.")
            if tensor.graph is not self.graph:
                raise GraphError(f"{tensor.name} belongs to another Graph than this session.")
            arrays[tensor] = array = _feed(tensor, value)
            if tensor.op.type == "placeholder" and tensor.shape and tensor.shape[0] is None:
                if batch and batch[0] != array.shape[0]:
                    raise FeedError(
                        f"{batch[1].name} was fed a batch of {batch[0]}, {tensor.name} one of {array.shape[0]}; "
                        "the batch is one number in a run."
                    )
                batch = (array.shape[0], tensor)
        return arrays

    def value(self, variable: Variable) -> Array:
        """A copy of the variable's value."""
        return self._store.read(variable)

    def load(self, values: Mapping[Variable, Array]) -> None:
        """Set variables to the given values.

        Raises:
            ShapeError: a value has another shape than its variable.
        """
        for variable, value in values.items():
            self._store.write(variable, value)

    def save(self, path: str | Path) -> None:
        """Write all variables to a safetensors file: all of it, or nothing when something goes wrong.

        Raises:
            OutputError: it cannot be written.
        """
        checkpoint.save(path, {variable.name: self.value(variable) for variable in self.graph.variables})

    def restore(self, path: str | Path) -> None:
        """Set all variables from a file that `save` wrote. A run that goes on from it equals one never stopped.

        Raises:
            WeightsError: not such a file, or one of another graph.
        """
        self.load(checkpoint.restore(path, self.graph.variables))

    def placements(self, fetches: Fetch | Sequence[Fetch], feeds: Feeds | None = None) -> list[Placement]:
        """Which node of the compiled set runs on which execution provider."""
        wanted = (fetches,) if isinstance(fetches, Tensor | Operation) else tuple(fetches)
        return placements(self._executable(wanted, self._check_feeds(feeds or {}), None).program, self.config)

    def profile(
        self, fetches: Fetch | Sequence[Fetch], feeds: Feeds | None = None, runs: int = 3
    ) -> RunMetadata:
        """Run `runs` times and tell where the time went. Variables are updated as in any run."""
        wanted = (fetches,) if isinstance(fetches, Tensor | Operation) else tuple(fetches)
        arrays = self._check_feeds(feeds or {})
        program = self._executable(wanted, arrays, None).program
        return profile(program, self._store, self.config, list(arrays.values()), runs)


def _feed(tensor: Tensor, value: Any) -> Array:
    """`value` as the array to feed; lists and numbers take the tensor's dtype, arrays must have it."""
    array = value if isinstance(value, np.ndarray | np.generic) else np.asarray(value, tensor.dtype)
    fits = len(array.shape) == tensor.rank and all(
        want is None or want == have for want, have in zip(tensor.shape, array.shape, strict=True)
    )
    if not fits or array.dtype != tensor.dtype:
        raise FeedError(
            f"{tensor.name} takes {show(tensor.shape)} {tensor.dtype}; it was fed {show(array.shape)} {array.dtype}. "
            "Reshape or convert the array first."
        )
    return np.ascontiguousarray(array).reshape(array.shape)
