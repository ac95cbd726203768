"""A network, and sources of every kind with the same images."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from models.features import FeatureModel, FeatureOptions, open_features
from tests.feature_extraction.parts.shares import IMAGES
from tests.feature_extraction.running import CPU
from tests.fixtures import plain


@pytest.fixture(scope="module")
def features(tiny_path: Path) -> FeatureModel:
    return open_features(tiny_path, FeatureOptions(), CPU)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of folders with broken images and links, and the same images in archives and lists."""
    root = tmp_path_factory.mktemp("sources")
    photos = root / "photos"
    for i in range(IMAGES):
        file = photos / f"{'ba'[i % 2]}" / f"{i:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"broken" if i in (5, 22) else plain((i, 2 * i, 3 * i), (16, 16)))
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "far.png").write_bytes(plain((9, 9, 9), (16, 16)))
    for name in ("b/one", "b/two"):  # the second one leads nowhere new
        (photos / name).symlink_to(root / "elsewhere", target_is_directory=True)
    files = sorted(photos.rglob("*.png"))
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(root))
    (root / "shards").mkdir()
    for shard in (0, 1, 3):  # the third is missing
        with tarfile.open(root / "shards" / f"{shard:02}.tar", "w") as tar:
            for file in files[7 * shard : 7 * shard + 7]:
                tar.add(file, file.relative_to(root))
            tar.add(files[0], "same.png")
            tar.add(files[1], "same.png")
    with tarfile.open(root / "photos.tgz", "w:gz") as tar:
        for file in files:
            tar.add(file, file.relative_to(root))
    rows = [f"photos/{file.relative_to(photos)},{min(i, 17)}" for i, file in enumerate(files)]
    (root / "list.csv").write_text("\n".join(["path,id", *rows]))
    return root
