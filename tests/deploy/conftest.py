"""What all tests of the deployment have."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import kserve_types as kserve_types

ASKED_FOR = {"deploy": "make test-deploy", "images": "make image-test"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes runs where it is asked for by its mark, as the targets of the Makefile do."""
    for item in items:
        for mark, command in ASKED_FOR.items():
            if item.get_closest_marker(mark) and mark not in config.option.markexpr:
                item.add_marker(pytest.mark.skip(reason=f"takes minutes; {command} runs it"))
