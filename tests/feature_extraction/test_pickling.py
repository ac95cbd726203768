"""What goes to another process: images of every kind of source, what is said of those that fail, and the network."""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from feature_extraction.items import ImageItem, Tally
from feature_extraction.opening import open_images
from feature_extraction.packed_tar import unpacked_tar_members
from feature_extraction.sources import images
from feature_extraction.stored_items import address_item, stored_item
from feature_extraction.stores.objects import StoredFile
from feature_extraction.tables import Table, table_images, table_of
from feature_extraction.web_images import WebImages
from feature_extraction.worker import Worker
from finetune.dataset.idx import image_at
from finetune.trust.strangers import rendered
from models.errors import ImageError
from models.features import FeatureOptions, open_features
from models.runtime import RuntimeConfig
from tests import optional
from tests.fixtures import encoded, photo, plain, tiny_classifier

RED, GREEN = plain("red"), plain("green")
ROOT = Path(__file__).parents[2]
# Where functions come from that items are made with in another module.
IMPORTED = {
    "read_stream": "feature_extraction.items.read_stream",
    "self.read": "feature_extraction.web_images.read",
}
CPU = RuntimeConfig("cpu", 1)


def folder(root: Path) -> Path:
    """Images as files: sound, behind a link to itself, and a link to nothing."""
    root.mkdir()
    (root / "red.png").write_bytes(RED)
    (root / "circle.png").symlink_to("circle.png")
    (root / "gone.png").symlink_to("nothing")
    return root


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("red.png", RED)
        archive.writestr("damaged.png", GREEN)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"PK\3\4", b"PK\3\5", 1))
    return path


def tarred(path: Path, mode: str, cut: int = 0) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in (("red.png", RED), ("green.png", GREEN)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    if cut:
        path.write_bytes(path.read_bytes()[:cut])
    return path


def listed(path: Path) -> Path:
    path.write_text(f'"{path.parent}/folder/red.png"\n{{broken\n"nowhere.png"\n')
    return path


def piped(path: Path) -> Iterable[ImageItem]:
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(RED,))
    writer.start()
    yield from images(str(path))
    writer.join()


def numbered(root: Path) -> Path:
    """Two digits as an idx file."""
    digits = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    head = bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in digits.shape)
    (root / "train-images-idx3-ubyte").write_bytes(head + digits.tobytes())
    return root / "train-images[1]"


def rows(path: Path) -> Path:
    """A Parquet file of an image and an empty row."""
    pyarrow, parquet = (optional.library(name, "parquet") for name in ("pyarrow", "pyarrow.parquet"))
    parquet.write_table(pyarrow.table({"image": [RED, None]}), path)
    return path


class Dataset:
    """As much of a dataset of Hugging Face as a table is known by; its images are decoded where they are asked for."""

    features = SimpleNamespace()
    column_names = ("image",)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> dict[str, object]:
        return {"image": (Image.new("RGB", (4, 4), "red"), None)[row]}


def every_kind(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterable[ImageItem]:
    yield from images(str(folder(root / "folder")))
    yield from images(str(root / "folder" / "*.png"))
    yield from images(str(root / "folder" / "red.png"))
    yield from images(str(listed(root / "list.jsonl")))
    yield from images(str(zipped(root / "a.zip")))
    tarred(root / "a-1.tar", "w")
    tarred(root / "a-3.tar", "w", cut=700)
    yield from images(str(root / "a-{1..5}.tar"))  # the second and two at the end are not there
    yield from images(str(tarred(root / "b.tar.gz", "w:gz")))
    yield from (item for _, item in unpacked_tar_members(root / "b.tar.gz", Tally()))
    yield from images(str(rows(root / "a.parquet")))
    yield from table_images(
        Table("one", ("image",), 2, lambda name: [RED, 3], lambda row, name: (RED, 3)[row])
    )
    dataset = table_of(Dataset())
    assert dataset is not None
    yield from table_images(dataset)
    yield WebImages().item("https://host/photo.png")
    yield WebImages(("127.0.0.1",)).item("http://127.0.0.1/photo.png")  # which is asked, and not public
    yield address_item("https://127.0.0.1/photo.png")
    yield stored_item(StoredFile("https://127.0.0.1/photo.png", 1, ""))
    yield rendered()[0].item
    yield from piped(root / "pipe")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(RED), isatty=lambda: False))
    yield from images("-")
    pixels = np.asarray(photo())
    yield from open_images(
        [RED, pixels, Image.fromarray(pixels), root / "folder" / "red.png", ("name", GREEN)]
    )
    yield from open_images(pixels)
    digit = image_at(str(numbered(root)), {})
    assert digit is not None
    yield digit


def read_by(item: ImageItem) -> str:
    """The function that reads an item."""
    read = item.read
    assert isinstance(read, partial), f"{item.id}: {read} does not come from another process"
    return f"{read.func.__module__}.{read.func.__name__}"


def readers() -> set[str]:
    """The functions that items are made with, as they stand in the code."""
    names: set[str] = set()
    for package in ("feature_extraction", "finetune/dataset", "finetune/trust"):
        for path in (ROOT / package).rglob("*.py"):
            for function in re.findall(r"ImageItem\([^\n]*partial\((\w+(?:\.\w+)?)", path.read_text()):
                module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
                names.add(IMPORTED.get(function, f"{module}.{function}"))
    return names


def outcome(item: ImageItem) -> object:
    """What reading gives, in a form that can be compared."""
    try:
        content = item.read()
    except ImageError as exc:
        return str(exc)
    return content if isinstance(content, bytes) else encoded(Image.fromarray(np.asarray(content)))


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are made otherwise there")
def test_items_of_every_source_come_from_another_process_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = list(every_kind(tmp_path, monkeypatch))
    again = [pickle.loads(pickle.dumps(item)) for item in items]
    assert [item.id for item in again] == [item.id for item in items]
    outcomes = [outcome(item) for item in again]
    assert outcomes == [outcome(item) for item in items]
    assert RED in outcomes
    failures = [one for one in outcomes if isinstance(one, str)]
    assert {read_by(item) for item in items} == readers()  # no kind is forgotten
    for reason in (
        "Too many levels",
        "link to nothing",
        "not JSON",
        "header is not that",
        "Check the range",
        "breaks off",
    ):
        assert any(reason in failure for failure in failures), reason


def test_an_item_of_an_idx_file_takes_its_own_pixels_alone(tmp_path: Path) -> None:
    count = 10_000
    head = bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in (count, 4, 4))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(head + bytes(count * 16))
    item = image_at(str(tmp_path / "train-images[7]"), {})
    assert len(pickle.dumps(item)) < 1000


def test_an_opened_network_comes_from_another_process_and_gives_the_same(tmp_path: Path) -> None:
    path = tiny_classifier(tmp_path / "tiny.onnx")
    features = open_features(path, FeatureOptions(("pool", "logits"), normalize="l2"), CPU)
    sent = pickle.dumps(features)
    path.unlink()  # on another machine there is none
    again = pickle.loads(sent)
    assert (again.cuts, again.digests, again.options) == (features.cuts, features.digests, features.options)
    assert again.model.session.config == CPU
    assert again.model.card == features.model.card
    items = list(open_images([RED, b"nothing", GREEN]))
    before, after = Worker(features)(items), pickle.loads(pickle.dumps(Worker(again)(items)))
    assert after.ids == before.ids == ["0", "2"]
    assert [(name, str(error)) for name, error in after.failures] == [
        (name, str(error)) for name, error in before.failures
    ]
    for cut in features.cuts:
        assert np.array_equal(after.arrays[cut], before.arrays[cut])
