"""HTTP service and command line.

The life of a request, bytes to JSON in five hops:

1. view       `protocols/v1.py`  Flask finds the view; parameters are checked, and `registry.py` gives the model
2. decode     `uploads.py`       the request's images, decoded and resized in the request's thread
3. admission  `admission.py`     the model lets one run at a time in, and turns away who waits too long
4. run        `served.py`        onnxruntime runs the batch on the model's device
5. encode     `encoding.py`      rows become JSON; errors of any hop do so in `errors.py`
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
