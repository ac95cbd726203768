"""Shows on which device every operation of a compiled set runs.

Known answer: asked for the CPU, everything runs there; what is not fetched is not compiled and does not appear.
`python -m examples.device_placement cuda` asks for another device.
"""

from __future__ import annotations

import sys

import numpy as np

from finetune.autodiff import Graph, Session, placeholder

PROVIDERS = {"cpu": {"CPUExecutionProvider"}, "cuda": {"CUDAExecutionProvider"}}


def main(device: str = "cpu") -> None:
    with Graph() as graph:
        a, b = placeholder((2, 3), name="a"), placeholder((3, 2), name="b")
        with graph.name_scope("product"):
            c = a @ b
        difference = c - 1.0

    feeds = {a: np.arange(6, dtype=np.float32).reshape(2, 3), b: np.arange(6, dtype=np.float32).reshape(3, 2)}
    session = Session(graph, device, log_device_placement=True)  # prints the list when something is compiled
    np.testing.assert_array_equal(session.run(c, feeds), [[10, 13], [28, 40]])
    np.testing.assert_array_equal(session.run(difference, feeds), [[9, 12], [27, 39]])
    assert {place.op for place in session.placements(c, feeds)} == {"product/matmul"}
    assert {place.provider for place in session.placements(difference, feeds)} == PROVIDERS[device]


if __name__ == "__main__":
    main(*sys.argv[1:])
