"""Writes the loss, the weights and the graph of a small regression for TensorBoard.

Known answer: the last point of the curve is the smallest. Look at it with `tensorboard --logdir runs`. Needs
`pip install '.[tensorboard]'` in the folder of the project.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graft import autodiff as ad
from graft import tensorboard


def main(folder: str | Path = "runs/sine", steps: int = 300) -> None:
    inputs = np.linspace(-3, 3, 64, dtype=np.float32)[:, None]
    with ad.Graph() as graph:
        x, y = ad.placeholder((None, 1), name="x"), ad.placeholder((None, 1), name="y")
        hidden = ad.layers.dense(x, 16, ad.ops.activations.tanh, name="hidden")
        curve = ad.layers.dense(hidden, 1, name="output")
        with graph.name_scope("loss"):
            loss = ad.losses.mean_squared_error(curve, y)
        train = ad.optimizers.Adam(0.02).minimize(loss)

    session, losses = ad.Session(graph, "cpu"), []
    feeds = {x: inputs, y: np.sin(inputs)}
    with tensorboard.Writer(folder):
        tensorboard.graph(graph, session.device)
        for step in range(steps):
            _, value = session.run([train, loss], feeds)
            losses.append(float(value))
            tensorboard.scalar("loss", value, step)
            if step % 50 == 0:
                for variable in graph.trainable_variables:
                    tensorboard.histogram(variable.name, session.value(variable), step)
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.6f}; now: tensorboard --logdir {folder}")
    assert losses[-1] < 0.01 * losses[0]


if __name__ == "__main__":
    main()
