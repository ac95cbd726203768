"""Where training stands, and its checkpoint: one file, replaced as a whole, from which a run goes on to the bit."""

from __future__ import annotations

import dataclasses
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff import Session, checkpoint
from finetune.autodiff.tensor import Variable
from finetune.training.events import Marks
from finetune.training.network import Network
from finetune.training.result import Epoch, Phase
from models.errors import OutputError
from models.files import half_written
from models.wording import differences

Array = NDArray[Any]

NAME = "training.safetensors"
INTERVAL = 2.0  # seconds of work that a kill may cost
_SHARE = 20.0  # at most one part in so many of the time goes into checkpoints
_FILE = "graft.training"
_SUM = "graft.crc32"  # of all that is in the file; those written before have none
_DIGESTS = {"data": "the images or their labels are others", "model": "the network is another"}


@dataclass
class State:
    """All that decides how training goes on besides the variables.

    `epoch`: whole epochs of this phase that are done, `step`: steps of the next one. `loss` and `hits`: sums of it.
    """

    phase: str = ""
    learning_rate: float = 0.0
    finder: list[tuple[float, float]] = field(default_factory=list)
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    hits: float = 0.0
    rate: float = 0.0  # of the last step
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0  # 0: what the phase before gave
    best_loss: float | None = None  # `val_refined` of that epoch
    start: Epoch | None = None  # what the phase began with, measured
    finished: bool = False  # this phase
    earlier: list[Phase] = field(default_factory=list)
    seconds: float = 0.0
    marks: Marks = field(default_factory=list)  # event files and their sizes

    def as_phase(self) -> Phase:
        """The history of this phase."""
        return Phase(
            self.phase,
            self.learning_rate,
            self.best_epoch,
            tuple(self.epochs),
            tuple(self.finder),
            self.start,
        )

    def begin(self, phase: str, rate: float, finder: list[tuple[float, float]]) -> None:
        """Go over to another phase."""
        if self.phase:
            self.earlier.append(self.as_phase())
        fresh = State(phase, rate, finder, earlier=self.earlier, seconds=self.seconds, marks=self.marks)
        self.__dict__.update(fresh.__dict__)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> State:
        """From what `dataclasses.asdict` and JSON made of it."""
        state = cls(**values)
        state.epochs = [Epoch(**e) for e in values["epochs"]]
        state.start = _epoch(values.get("start"))
        state.finder = [(r, v) for r, v in values["finder"]]
        state.marks = [(n, s) for n, s in values["marks"]]
        state.earlier = [
            Phase(
                p["name"],
                p["learning_rate"],
                p["best_epoch"],
                tuple(Epoch(**e) for e in p["epochs"]),
                tuple((r, v) for r, v in p["finder"]),
                _epoch(p.get("start")),
            )
            for p in values["earlier"]
        ]
        return state


def _epoch(values: Mapping[str, Any] | None) -> Epoch | None:
    return None if values is None else Epoch(**values)


class Checkpoint:
    """The file in the folder `work`. `identity`: of settings and data; only a run that has the same may go on."""

    def __init__(self, work: Path, identity: Mapping[str, Any], interval: float = INTERVAL) -> None:
        self.path = work / NAME
        self.identity = json.loads(json.dumps(identity))
        self.interval = interval
        self.state = State()
        self.now: dict[str, Array] = {}
        self.best: dict[str, Array] = {}
        self._started = self._written = time.monotonic()
        self._cost = 0.0
        try:
            work.mkdir(parents=True, exist_ok=True)
            for left in half_written(self.path):
                left.unlink()
        except OSError as exc:
            raise OutputError(f"{work}: cannot be written ({exc}). Choose a folder of yours.") from exc

    def open(self, resume: bool) -> None:
        """Take up what the file holds, or with `resume` False remove it.

        Raises:
            OutputError: the file is of other settings or data, or no checkpoint.
        """
        if not resume:
            self.path.unlink(missing_ok=True)
        if not self.path.exists():
            return
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(self.path), "np") as file:
                metadata = file.metadata() or {}
                header = json.loads(metadata[_FILE])
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it has no __iter__)
            if metadata.get(_SUM) not in (None, _checksum(metadata[_FILE], values)):
                raise ValueError("damaged: its checksum is another")
            self._require_same(header["identity"])
            self.state = State.from_json(header["state"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as exc:
            raise OutputError(
                f"{self.path}: no checkpoint of a training ({exc!r}). Start anew without resuming."
            ) from exc
        for name, value in values.items():
            which, _, variable = name.partition("/")
            (self.now if which == "now" else self.best)[variable] = value

    def _require_same(self, saved: Mapping[str, Any]) -> None:
        different = [
            _DIGESTS.get(text.partition(" ")[0], text) for text in differences(dict(saved), self.identity)
        ]
        if different:
            raise OutputError(
                f"{self.path}: this training cannot be resumed: {'; '.join(different)}. Go on with the same settings "
                "and images, or start anew without resuming."
            )

    def load(self, network: Network, session: Session) -> None:
        """Set the variables of this phase from the file that was opened."""
        variables = {v.name: v for v in network.kept}
        if self.now.keys() != variables.keys():
            raise OutputError(
                f"{self.path}: it holds other variables than this training. Start anew without resuming."
            )
        session.load({variables[name]: value for name, value in self.now.items()})
        self.now = {}

    def due(self) -> bool:
        """Whether enough time has gone by since the last one; writing takes a small part of the time only."""
        return time.monotonic() - self._written >= max(
            self.interval, _SHARE * self._cost if self.interval else 0
        )

    def seconds(self) -> float:
        """Spent on this training, resumed runs and those before together."""
        return self.state.seconds + time.monotonic() - self._started

    def save(self, network: Network, session: Session) -> None:
        """Write the file.

        Raises:
            OutputError: it cannot be written, for example since the disk is full; the one before stays.
        """
        begin = time.monotonic()
        values = {f"now/{v.name}": session.value(v) for v in network.kept}
        values |= {f"best/{name}": value for name, value in self.best.items()}
        state = dataclasses.asdict(dataclasses.replace(self.state, seconds=self.seconds()))
        header = json.dumps({"identity": self.identity, "state": state})
        checkpoint.save(self.path, values, {_FILE: header, _SUM: _checksum(header, values)})
        self._written = time.monotonic()
        self._cost = self._written - begin


def _checksum(header: str, values: Mapping[str, Array]) -> str:
    """A changed byte in a weight would be learned on from, and shipped, with nobody the wiser."""
    total = zlib.crc32(header.encode())
    for name in sorted(values):
        flat = np.ascontiguousarray(values[name]).reshape(-1)
        total = zlib.crc32(flat.view(np.uint8).data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


def values_of(session: Session, variables: list[Variable]) -> dict[str, Array]:
    """Copies of the values of variables by their names."""
    return {variable.name: np.asarray(session.value(variable)) for variable in variables}
