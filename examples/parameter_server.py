"""A parameter server of Ray actors: workers compute gradients, the server takes the step; and all-reduce beside it.

The server holds the variables. In each step workers ask for them, each computes gradients of its rows of the batch,
and the server adds the gradients up and applies them. With all-reduce there is no server: each process has the
variables, gradients are added up among all, and each applies the sum. Both come to the variables of one process that
has the whole batch.

    pip install '.[workers]'
    python examples/parameter_server.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from graft import autodiff as ad

Array = NDArray[np.float32]

WORKERS, STEPS, BATCH, HIDDEN = 2, 60, 256, 512


class Learner:
    """A network of two hidden layers, whose step comes in two runs."""

    def __init__(self) -> None:
        digits = load_digits()
        self.images = (digits.data / 16).astype(np.float32)  # (1797, 64)
        self.labels = digits.target.astype(np.int64)
        with ad.Graph(seed=0) as graph:
            graph.rows = ad.placeholder((None,), np.int64, name="rows")
            self.rows = graph.rows
            self.x = ad.placeholder((None, 64), name="x")
            self.y = ad.placeholder((None,), np.int64, name="y")
            hidden = self.x
            for _ in range(2):
                hidden = ad.layers.dropout(ad.layers.dense(hidden, HIDDEN, ad.ops.activations.relu), 0.2)
            loss = ad.losses.softmax_cross_entropy(ad.layers.dense(hidden, 10), self.y)
            self.step = ad.optimizers.Momentum(0.1).split(loss)
        self.graph = graph
        self.session = ad.Session(graph, "cpu", threads=1)

    def gradients(self, number: int, part: int = 0, parts: int = 1) -> list[Array]:
        """Of one of so many parts of the batch of a step, weighted by how many rows it has."""
        batch = np.random.default_rng(number).permutation(len(self.labels))[:BATCH]
        rows = np.array_split(np.arange(BATCH), parts)[part]
        feeds = {self.x: self.images[batch[rows]], self.y: self.labels[batch[rows]], self.rows: rows}
        share = np.float32(len(rows) / BATCH)
        return [share * g for g in self.session.run(self.step.gradients, feeds, training=True)]

    def apply(self, gradients: list[Array]) -> None:
        """Take the step."""
        self.session.run(self.step.apply, dict(zip(self.step.reduced, gradients, strict=True)))

    def values(self) -> list[Array]:
        """Of all variables."""
        return [self.session.value(variable) for variable in self.graph.variables]

    def load(self, values: list[Array]) -> None:
        """Set all variables."""
        self.session.load(dict(zip(self.graph.variables, values, strict=True)))


def added(parts: list[list[Array]]) -> list[Array]:
    """Sums of what all parts give, variable by variable."""
    return [np.sum(of_all, axis=0) for of_all in zip(*parts, strict=True)]


def alone() -> tuple[list[Array], float]:
    """The variables after all steps in one process with the whole batch, and the seconds."""
    learner = Learner()
    began = time.perf_counter()
    for number in range(STEPS):
        learner.apply(learner.gradients(number))
    return learner.values(), time.perf_counter() - began


def with_a_server() -> tuple[list[Array], float]:
    """The same with a server and workers, each an actor in a process of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1",
        logging_level="error", runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
    )  # fmt: skip
    actor = ray.remote(num_cpus=1)(Actor)
    server = actor.remote()
    workers = [actor.remote() for _ in range(WORKERS)]
    try:
        ray.get([one.ready.remote() for one in (server, *workers)])
        began = time.perf_counter()
        for number in range(STEPS):
            values = server.values.remote()
            parts = [worker.gradients_at.remote(values, number, part) for part, worker in enumerate(workers)]
            server.take.remote(*parts)
        values = ray.get(server.values.remote())
        return values, time.perf_counter() - began
    finally:
        ray.shutdown()


class Actor(Learner):
    """The server or a worker. What it is given was put into Ray's memory by another actor."""

    def ready(self) -> None:
        """Nothing, when it is there."""

    def gradients_at(self, values: list[Array], number: int, part: int) -> list[Array]:
        """Of a worker's part, with the server's variables."""
        self.load(values)
        return self.gradients(number, part, WORKERS)

    def take(self, *parts: list[Array]) -> None:
        """The server's step."""
        self.apply(added(list(parts)))


def with_all_reduce() -> tuple[list[Array], float] | None:
    """The same in processes that mpiexec starts, without a server; None where there is no mpiexec."""
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if mpiexec is None:
        return None
    done = subprocess.run(
        [mpiexec, "-n", str(WORKERS), sys.executable, __file__, "--all-reduce"],
        env={"HYDRA_IFACE": "lo", **os.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    with np.load(done.stdout.decode().strip()) as arrays:
        *values, seconds = (arrays[name] for name in arrays.files)
    Path(done.stdout.decode().strip()).unlink()
    return values, float(seconds)


def one_of_all() -> None:
    """What each of these processes does; the first leaves the variables in a file, and prints its name."""
    import tempfile

    from finetune.workers.mpi import MpiGroup

    group, learner = MpiGroup(), Learner()
    flat = np.zeros(0, np.float32)
    group.all_reduce(flat)  # all are there
    began = time.perf_counter()
    for number in range(STEPS):
        gradients = learner.gradients(number, group.rank, WORKERS)
        flat = np.concatenate([g.ravel() for g in gradients])
        group.all_reduce(flat)
        ends = np.cumsum([g.size for g in gradients])[:-1]
        learner.apply(
            [part.reshape(g.shape) for part, g in zip(np.split(flat, ends), gradients, strict=True)]
        )
    seconds = time.perf_counter() - began
    if group.rank == 0:
        file, name = tempfile.mkstemp(suffix=".npz")
        with os.fdopen(file, "wb") as stream:
            np.savez(stream, *learner.values(), np.array(seconds))
        print(name)


def main() -> None:
    """Compare the three."""
    expected, seconds = alone()
    count = sum(value.size for value in expected)
    print(f"{STEPS} steps of {BATCH} images, {count:,} numbers in variables, {WORKERS} workers")
    print(f"one process:      {seconds:6.2f} s")
    for name, ended in (("parameter server", with_a_server()), ("all-reduce", with_all_reduce())):
        if ended is None:
            print(f"{name + ':':<18}not run: mpiexec is not installed (pip install '.[workers]')")
            continue
        values, seconds = ended
        difference = max(float(np.abs(a - b).max()) for a, b in zip(values, expected, strict=True))
        print(f"{name + ':':<18}{seconds:6.2f} s, variables within {difference:.1e} of those of one process")
        assert difference < 1e-5, difference


if __name__ == "__main__":
    one_of_all() if "--all-reduce" in sys.argv else main()
