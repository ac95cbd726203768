"""A compiled set of fetches that is ready to run: an onnxruntime session and its bindings.

A binding says where inputs are and outputs go. There is one for each way in which the two buffers of the
variables can stand; in training two of them alternate, and a step is: bind the batch, run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from finetune.autodiff.program import Effect, Program
from finetune.autodiff.variables import VariableStore
from models.errors import FeedError, NumericsError
from models.runtime import OnnxSession, RuntimeConfig

Array = NDArray[Any]


class Executable:
    """A program, loaded into onnxruntime, on the variables of `store`."""

    def __init__(self, program: Program, store: VariableStore, config: RuntimeConfig) -> None:
        self.program, self.store, self.config = program, store, config
        # A group of operations that have no effect leaves nothing to run, and onnxruntime takes no empty model.
        idle = not program.model.graph.output
        self.runtime: Any = None if idle else OnnxSession(program.model.SerializeToString(), config).raw
        self._updates = sum(store.bit(variable) for variable in program.updates)
        self._mask = self._updates | sum(store.bit(v) for v in program.reads if v not in program.updates)
        self._bindings: dict[int, onnxruntime.IOBinding] = {}
        self._feeds = list(program.feeds.values())
        self._results = [name for name in program.outputs if name is not None]

    def run(self, feeds: Sequence[Array]) -> list[Array | None]:
        """Run once. `feeds` stand in the order of the program's.

        Raises:
            FeedError: an empty batch that onnxruntime cannot run, or feeds that do not fit each other.
            NumericsError: a number that was asserted to be finite is not; the variables keep their values.
        """
        if self.runtime is None:
            return [None] * len(self.program.outputs)
        if self.program.needs_batch and any(array.ndim and not len(array) for array in feeds):
            raise FeedError(
                "an empty batch was fed to a run that trains a convolution; feed at least one image."
            )
        key = self.store.state & self._mask
        binding = self._bindings.get(key) or self._bind(key)
        for name, array in zip(self._feeds, feeds, strict=True):
            binding.bind_cpu_input(name, array)
        for name in self._results:
            binding.bind_output(name)  # anew: the value that the last run returned belongs to the caller
        for effect in self.program.effects:
            binding.bind_output(effect.output)
        try:
            self.runtime.run_with_iobinding(binding)
        except (RuntimeError, onnxruntime.capi.onnxruntime_pybind11_state.Fail) as exc:
            fed = ", ".join(f"{t.name} {a.shape}" for t, a in zip(self.program.feeds, feeds, strict=True))
            raise FeedError(f"onnxruntime could not run with these feeds: {fed or 'none'} ({exc})") from exc
        values = dict(zip(self._names, binding.get_outputs(), strict=True))
        for effect in self.program.effects:
            self._handle(effect, values[effect.output].numpy())
        self.store.state ^= self._updates
        return [None if name is None else values[name].numpy() for name in self.program.outputs]

    def _bind(self, key: int) -> onnxruntime.IOBinding:
        binding, store = self.runtime.io_binding(), self.store
        for variable, name in self.program.reads.items():
            binding.bind_ortvalue_input(name, store.buffer(variable, store.current(variable)))
        for name in (*self._results, *(effect.output for effect in self.program.effects)):
            binding.bind_output(name)
        for variable, name in self.program.updates.items():
            binding.bind_ortvalue_output(name, store.buffer(variable, 1 - store.current(variable)))
        self._bindings[key] = binding
        return binding

    @property
    def _names(self) -> list[str]:
        """Names of the outputs in the order in which they were bound."""
        return [*self._results, *(e.output for e in self.program.effects), *self.program.updates.values()]

    def _handle(self, effect: Effect, value: Array) -> None:
        op = effect.op
        if op.type == "print":
            print(f"{op.attrs['message'] or op.inputs[0].name}: {np.array2string(value)}")
        elif not value:
            step = op.graph.step_if_any
            when = f"at step {int(self.store.read(step))}" if step is not None else "in this run"
            raise NumericsError(
                f"{op.inputs[0].name} is NaN or infinite {when}; no variable was changed. {op.attrs['hint']}".rstrip()
            )
