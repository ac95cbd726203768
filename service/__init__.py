"""HTTP service and command line.

The life of a request, behind the front (`front/`, `server.py`), bytes to JSON in five hops:

1. view    `protocols/v1.py`  Flask finds the view, or `direct.py` for the routes that have to be fast; parameters are
                              checked, and `registry.py` gives the model
2. decode  `decoding.py`      the images of `bodies/` become pixels, beside the runs of other requests
3. queue   `batching.py`      they wait for the model with those of others, or are turned away; where nobody waits,
                              the same thread goes on at once, and keeps the core on which it decoded (`turns.py`);
                              under load it works on several requests side by side (`steps.py`)
4. run     `served.py`        onnxruntime runs the batch on the model's device
5. encode  `encoding.py`      rows become JSON; errors of any hop do so in `errors.py`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.app import create_app
    from service.config import ServiceConfig
else:
    from models.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "ServiceConfig": "service.config:ServiceConfig",
            "create_app": "service.app:create_app",
        },
    )

__all__ = [
    "ServiceConfig",
    "create_app",
]
