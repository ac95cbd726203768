"""Shows on which device every operation of a compiled set runs.

Known answer: asked for the CPU, everything runs there; what is not fetched is not compiled and does not appear.
`python examples/device_placement.py cuda` asks for another device.
"""

from __future__ import annotations

import sys

import numpy as np

from graft import autodiff as ad

PROVIDERS = {"cpu": {"CPUExecutionProvider"}, "cuda": {"CUDAExecutionProvider"}}


def main(device: str = "cpu") -> None:
    with ad.Graph() as graph:
        a, b = ad.placeholder((2, 3), name="a"), ad.placeholder((3, 2), name="b")
        with graph.name_scope("product"):
            c = a @ b
        difference = c - 1.0

    feeds = {a: np.arange(6, dtype=np.float32).reshape(2, 3), b: np.arange(6, dtype=np.float32).reshape(3, 2)}
    # Prints the list when something is compiled.
    session = ad.Session(graph, device, log_device_placement=True)
    np.testing.assert_array_equal(session.run(c, feeds), [[10, 13], [28, 40]])
    np.testing.assert_array_equal(session.run(difference, feeds), [[9, 12], [27, 39]])
    assert {place.op for place in session.placements(c, feeds)} == {"product/matmul"}
    assert {place.provider for place in session.placements(difference, feeds)} == PROVIDERS[device]


if __name__ == "__main__":
    main(*sys.argv[1:])
