"""Folders of photos that tests are made of."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.fixtures import encoded, photo


def jpeg(seed: int, size: tuple[int, int] = (160, 120), quality: int = 90) -> bytes:
    """A photo as a JPEG file."""
    return encoded(photo(size, seed), "JPEG", quality=quality)


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder, and return it."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def classes(root: Path, **counts: int) -> Path:
    """A folder for each class with so many different photos."""
    seed = 0
    for name, count in counts.items():
        for i in range(count):
            seed += 1
            write(root, {f"{name}/{i}.jpg": jpeg(seed)})
    return root


def opened(data: bytes) -> Image.Image:
    """A decoded image."""
    import io

    return Image.open(io.BytesIO(data))
