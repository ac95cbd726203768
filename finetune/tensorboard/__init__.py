"""Event files for TensorBoard: curves, histograms, the graph itself, and vectors for the embedding projector.

    with tensorboard.Writer("runs/first") as writer:
        tensorboard.graph(graph, device=session.device)
        for step in range(1000):
            value, _ = session.run([loss, train], feeds)
            tensorboard.scalar("loss", value, step)

The functions write to the writer of the innermost `with`; a writer has the same ones as methods. Then
`tensorboard --logdir runs`. Needs the extra `tensorboard`.
"""

from __future__ import annotations

from finetune.tensorboard.writer import Writer, embedding, graph, histogram, scalar

__all__ = ["Writer", "embedding", "graph", "histogram", "scalar"]
