"""`grpc.health.v1.Health`: whether the service may have calls, asked once or watched."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from models.errors import UnknownModelError
from service.grpc.messages import message_class
from service.grpc.method import Asked, Method, Methods
from service.protocols.open_inference_models import not_ready
from service.registry import Registry

SERVICE = "grpc.health.v1.Health"
WATCH = f"/{SERVICE}/Watch"
REQUEST, RESPONSE = "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


class Health:
    """What is told of the services; "" is all of them together."""

    def __init__(self, registry: Registry, services: Collection[str]) -> None:
        self._registry, self._services = registry, services

    def methods(self) -> Methods:
        """The method that asks once."""
        return {f"/{SERVICE}/Check": Method(REQUEST, self._check, "open", "instant")}

    def status(self, service: str) -> int:
        """Of one service, by its full name."""
        if service and service not in self._services:
            return SERVICE_UNKNOWN
        return NOT_SERVING if not_ready(self._registry) else SERVING

    def _check(self, message: Any, asked: Asked) -> Any:
        status = self.status(message.service)
        if status == SERVICE_UNKNOWN:
            known = ", ".join(sorted(self._services))
            raise UnknownModelError(f"there is no service {message.service[:100]!r} here; there is {known}.")
        return message_class(RESPONSE)(status=status)
