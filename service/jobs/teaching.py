"""All that a service needs to teach: a workspace with its datasets, its jobs, and who runs them."""

from __future__ import annotations

import functools
from pathlib import Path

from finetune.job.recipe import METHODS
from models.devices import choose_device
from models.zoo import ZOO
from service.front.spooling import Spool
from service.jobs.answers import Abilities
from service.jobs.bodies import ARCHIVES, DATASETS
from service.jobs.datasets import Datasets
from service.jobs.hygiene import Inspector
from service.jobs.images import Images
from service.jobs.intake import Intake
from service.jobs.jobs import Jobs
from service.jobs.promotion import Promoter
from service.jobs.recipes import settings_schema
from service.jobs.runner import Runner
from service.jobs.workspace import Workspace
from service.registry import Registry


class Teaching:
    """The workspace of a service, opened. `start` it once the models are served."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        """
        Raises:
            OutputError: the folder cannot be used as a workspace.
        """
        config = registry.config
        self.registry = registry
        self.workspace = Workspace(folder, int(config.disk_limit_gb * 1e9))
        self.datasets = Datasets(self.workspace)
        self.images = Images(self.workspace, self.datasets)
        self.inspector = Inspector(self.datasets, self.images)
        self.intake = Intake(
            self.datasets,
            self.images,
            lambda: registry.config.max_pixels,
            lambda: registry.config.max_request_bytes,
        )
        self.jobs = Jobs(self.workspace, self.datasets, self.images)
        self.promoter = Promoter(self.workspace, self.jobs, registry)
        self.runner = Runner(
            self.workspace,
            self.jobs,
            int(config.job_memory_gb * 1e9),
            3600 * config.job_hours,
            config.job_nice,
        )

    def abilities(self) -> Abilities:
        """With what it teaches."""
        return {
            "roots": [str(Path(root).resolve()) for root in self.registry.config.datasets_root],
            "disk": {
                "used": self.workspace.used,
                "limit": self.workspace.limit,
                "free": self.workspace.free,
            },
            "accelerator": self._accelerator,
            "methods": list(METHODS),
            "backbones": [
                {"name": row.name, "note": row.description, "bytes": row.octets, "here": row.file.is_file()}
                for row in ZOO
            ],
            "settings": settings_schema(),
        }

    @functools.cached_property
    def _accelerator(self) -> str:
        device = choose_device(self.registry.config.runtime.device)
        return f"{device} ({device.reason})"

    def spool(self, path: str, kind: str) -> Spool | None:
        """Where an archive goes while it comes."""
        if path != DATASETS or kind.partition(";")[0].strip().lower() not in ARCHIVES:
            return None
        return Spool(self.workspace.incoming, self.workspace.limit, ".zip", self.workspace.require)

    def start(self) -> None:
        """Begin with the jobs that wait, and with those that an earlier service has not ended."""
        self.runner.start()

    def close(self) -> None:
        """End the process of a job, and let others have the workspace."""
        self.runner.stop()
        self.workspace.close()
