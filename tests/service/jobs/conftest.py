"""A service that teaches, spoken to without a socket, and photos to teach it with."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.jobs.teaching import Teaching
from service.registry import Registry
from tests.fixtures import encoded

TRAITS = {"red": (200, 40, 40), "blue": (40, 60, 200)}


def snapshot(colour: str, seed: int, size: tuple[int, int] = (160, 120)) -> bytes:
    """A photo as a JPEG: a square of a colour on a ground that differs from photo to photo."""
    random = np.random.default_rng(seed)
    ground = Image.fromarray(random.integers(60, 200, (6, 8, 3), np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    pixels = np.asarray(ground).astype(np.int16) + random.integers(-20, 20, (size[1], size[0], 3))
    left, top = random.integers(5, size[0] // 2), random.integers(5, size[1] // 2)
    pixels[top : top + size[1] // 2, left : left + size[1] // 2] = TRAITS[colour]
    pixels += random.integers(-20, 20, pixels.shape)
    return encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "JPEG", quality=90)


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip archive of files by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def class_folders(count: int) -> dict[str, bytes]:
    """Photos of two classes, by their paths."""
    return {
        f"{colour}/{i}.jpg": snapshot(colour, 1000 * (colour == "red") + i)
        for colour in TRAITS
        for i in range(count)
    }


def workspace_config(tiny_path: Path, folder: Path, **settings: object) -> ServiceConfig:
    """A service with the tiny classifier that teaches in `folder`."""
    return ServiceConfig(
        models=(str(tiny_path),),
        runtime=RuntimeConfig(device="cpu", threads=1, warm_up=True),
        measure_s=0.0,
        workspace=str(folder),
        job_nice=0,
        **settings,  # type: ignore[arg-type]
    )


@pytest.fixture
def teaching(tiny_path: Path, tmp_path: Path) -> Iterator[Teaching]:
    """What teaches; jobs wait until it is started."""
    registry = Registry(workspace_config(tiny_path, tmp_path / "workspace", datasets_root=(str(tmp_path),)))
    registry.load()
    teaching = Teaching(registry, tmp_path / "workspace")
    yield teaching
    teaching.close()
    registry.close()


@pytest.fixture
def client(teaching: Teaching) -> FlaskClient:
    """Whoever works at the machine on which it teaches."""
    return create_app(registry=teaching.registry, teaching=teaching).test_client()


@pytest.fixture
def dataset(client: FlaskClient) -> str:
    """A dataset of two classes with three photos each."""
    answer = client.post(
        "/v1/datasets?name=colours", data=zipped(class_folders(3)), content_type="application/zip"
    )
    assert answer.status_code == 201, answer.get_json()
    return str(answer.get_json()["id"])
