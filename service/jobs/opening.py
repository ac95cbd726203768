"""Teaching where a service has a workspace. What learns needs onnx and scikit-learn, which no other service imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from service.openapi.routes import Routes
from service.registry import Registry

if TYPE_CHECKING:
    from service.jobs.teaching import Teaching


SPOOL = "graft.spool"  # key of the app's extensions: where bodies go that are too large for memory


def teaching_of(registry: Registry) -> Teaching | None:
    """What teaches for a service; None where it has no workspace.

    Raises:
        OutputError: as `Teaching`.
    """
    if registry.config.workspace is None:
        return None
    from service.jobs.teaching import Teaching

    return Teaching(registry, Path(registry.config.workspace))


def teaching_routes(teaching: Teaching | None) -> tuple[Routes, ...]:
    """The routes of what teaches; none where nothing does."""
    if teaching is None:
        return ()
    from service.jobs.dataset_routes import dataset_routes
    from service.jobs.job_routes import job_routes

    return dataset_routes(teaching), job_routes(teaching)
