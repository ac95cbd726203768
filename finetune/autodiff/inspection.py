"""Looks into compiled sets: which node runs where, and how long each operation takes."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from finetune.autodiff.executable import Executable
from finetune.autodiff.program import Program
from finetune.autodiff.variables import VariableStore
from models.runtime import OnnxSession, RuntimeConfig

_RECORD = {"session.record_ep_graph_assignment_info": "1"}


@dataclass(frozen=True)
class Placement:
    """One node: the operation for which it was written, its ONNX type, and where it runs."""

    op: str
    onnx_type: str
    provider: str

    def __str__(self) -> str:
        """`dense/matmul (Gemm): CPUExecutionProvider`."""
        return f"{self.op} ({self.onnx_type}): {self.provider}"


@dataclass(frozen=True)
class OpTime:
    """Time in one operation's node: `microseconds` in a run, on average."""

    op: str
    onnx_type: str
    provider: str
    microseconds: float


@dataclass(frozen=True)
class RunMetadata:
    """What a profiled run found, slowest first. Nodes that onnxruntime fused count for the first of them."""

    ops: Sequence[OpTime]

    @property
    def microseconds(self) -> float:
        """All nodes together."""
        return sum(op.microseconds for op in self.ops)

    def __str__(self) -> str:
        """A table: microseconds, share, operation, ONNX type, provider."""
        total = self.microseconds or 1.0
        rows = (
            f"{o.microseconds:12.0f} us {o.microseconds / total:6.1%}  {o.op} ({o.onnx_type}) {o.provider}"
            for o in self.ops
        )
        return "\n".join(rows)


def placements(program: Program, config: RuntimeConfig) -> list[Placement]:
    """Which node of a program runs on which execution provider, as onnxruntime assigns them."""
    session = OnnxSession(program.model.SerializeToString(), replace(config, session_options=_RECORD)).raw
    return [
        Placement(_owner(program, node.name), node.op_type, part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def profile(
    program: Program, store: VariableStore, config: RuntimeConfig, feeds: Sequence[NDArray[Any]], runs: int
) -> RunMetadata:
    """Run a program `runs` times after one to warm up, and add up the time of its nodes."""
    with tempfile.TemporaryDirectory() as folder:
        executable = Executable(program, store, replace(config, profile=Path(folder) / "profile"))
        if executable.runtime is None:
            return RunMetadata([])
        for _ in range(1 + runs):
            executable.run(feeds)
        events = json.loads(Path(executable.runtime.end_profiling()).read_text())
    times: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = event["name"].removesuffix("_kernel_time")
            key = (_owner(program, node), event["args"]["op_name"], event["args"].get("provider", ""))
            times[key].append(event["dur"])
    rows = [OpTime(*key, sum(t) / (1 + runs)) for key, t in times.items()]
    return RunMetadata(sorted(rows, key=lambda row: -row.microseconds))


def _owner(program: Program, node: str) -> str:
    """The operation to which a node belongs; onnxruntime's own nodes carry the name of one they replace, or none."""
    if node in program.owners:
        return program.owners[node]
    names = [name for name in program.owners if name in node]
    return program.owners[max(names, key=len)] if names else node or "(onnxruntime)"
