"""Teaching where a service has a workspace. What learns needs onnx and scikit-learn, which no other service imports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError
from service.openapi.routes import Routes
from service.registry import Registry
from service.safety import Guard

if TYPE_CHECKING:
    from service.jobs.teaching import Teaching


SPOOL = "graft.spool"  # key of the app's extensions: where bodies go that are too large for memory


def teaching_of(registry: Registry) -> Teaching | None:
    """What teaches for a service; None where it has no workspace.

    Raises:
        InputError: processes cannot be watched here.
        OutputError: as `Teaching`.
    """
    if registry.config.workspace is None:
        return None
    if os.name != "posix":
        raise InputError(
            "a workspace needs Linux or macOS, where jobs outlive their service. Serve without --workspace."
        )
    from service.jobs.teaching import Teaching

    return Teaching(registry, Path(registry.config.workspace))


def learners(guard: Guard) -> str:
    """Whom a service with a workspace teaches, in words."""
    if guard.needs_no_token:
        return "whoever works at this machine; it has no tokens, and takes nothing from elsewhere"
    if guard.tokens.count("admin"):
        return "who has a token of the scope admin"
    return (
        "nobody: it needs --tokens FILE with one of the scope admin (graft token admin --out FILE), or --host "
        "127.0.0.1 without any"
    )


def teaching_routes(teaching: Teaching | None) -> tuple[Routes, ...]:
    """The routes of what teaches; none where nothing does."""
    if teaching is None:
        return ()
    from service.jobs.dataset_routes import dataset_routes
    from service.jobs.job_routes import job_routes

    return dataset_routes(teaching), job_routes(teaching)
