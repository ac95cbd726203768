"""Writes the loss, the weights and the graph of a small regression for TensorBoard.

Known answer: the last point of the curve is the smallest. Look at it with `tensorboard --logdir runs`. Needs
`pip install '.[tensorboard]'` in the folder of the project.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finetune import tensorboard
from finetune.autodiff import Graph, Session, placeholder
from finetune.autodiff.layers import dense
from finetune.autodiff.losses import mean_squared_error
from finetune.autodiff.ops.activations import tanh
from finetune.autodiff.optimizers import Adam


def main(folder: str | Path = "runs/sine", steps: int = 300) -> None:
    inputs = np.linspace(-3, 3, 64, dtype=np.float32)[:, None]
    with Graph() as graph:
        x, y = placeholder((None, 1), name="x"), placeholder((None, 1), name="y")
        curve = dense(dense(x, 16, tanh, name="hidden"), 1, name="output")
        with graph.name_scope("loss"):
            loss = mean_squared_error(curve, y)
        train = Adam(0.02).minimize(loss)

    session, losses = Session(graph, "cpu"), []
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
