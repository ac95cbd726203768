"""Which graph new operations go to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from models.errors import GraphError

if TYPE_CHECKING:
    from finetune.autodiff.graph import Graph

innermost: ContextVar[Graph | None] = ContextVar("graph", default=None)


def current_graph() -> Graph:
    """The graph of the innermost `with graph:`.

    Raises:
        GraphError: there is none.
    """
    graph = innermost.get()
    if graph is None:
        raise GraphError(
            "no graph to add to: write `with Graph() as graph:` around it, or call the graph's methods."
        )
    return graph
