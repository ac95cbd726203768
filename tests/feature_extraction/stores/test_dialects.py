"""What Google's store and the Hugging Face Hub do in ways of their own, on servers of this machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_extraction import do_part, extract_to, merge_parts, open_place, plan_parts
from feature_extraction.parts.places import read
from feature_extraction.sources import images
from feature_extraction.stores import opening
from models.errors import ImageError, OutputError, SourceError
from models.features import FeatureOptions, open_features
from tests import optional
from tests.feature_extraction.running import CPU
from tests.feature_extraction.stores.google import BUCKET, Google
from tests.feature_extraction.stores.hub import REPOSITORY, Hub
from tests.feature_extraction.stores.samples import GREEN, RED, contents, zipped
from tests.feature_extraction.stores.serving import serving
from tests.fixtures import plain

pytestmark = pytest.mark.stores


class Store:
    """A store of a kind, seen from behind."""

    def __init__(self, root: str) -> None:
        self.root = root

    @property
    def files(self) -> dict[str, bytes]:
        if self.root.startswith("gs:"):
            return {name: data for name, (_, data) in Google.objects.items()}
        return Hub.commits[-1]

    def put(self, files: dict[str, bytes]) -> None:
        if self.root.startswith("gs:"):
            Google.objects |= {name: (next(Google.generations), data) for name, data in files.items()}
        else:
            Hub.commits.append(Hub.commits[-1] | files)

    def remove(self, name: str) -> None:
        if self.root.startswith("gs:"):
            del Google.objects[name]
        else:
            Hub.commits.append({one: data for one, data in Hub.commits[-1].items() if one != name})


@pytest.fixture(params=["gs", "hf"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty one of each kind."""
    optional.library({"gs": "gcsfs", "hf": "huggingface_hub"}[request.param], "stores")
    monkeypatch.setattr(Google, "objects", {})
    monkeypatch.setattr(Google, "generations", itertools.count(1))
    monkeypatch.setattr(Hub, "commits", [{}])
    with serving(Google if request.param == "gs" else Hub) as address:
        here = {"gs": {"endpoint_url": address, "token": "anon"}, "hf": {"endpoint": address}}[request.param]
        package, kind, options = opening._PACKAGES[request.param]
        monkeypatch.setitem(opening._PACKAGES, request.param, (package, kind, options | here))
        opening._opened.cache_clear()
        yield Store(f"gs://{BUCKET}" if request.param == "gs" else f"hf://datasets/{REPOSITORY}")
        opening._opened.cache_clear()


def test_images_of_a_folder_a_pattern_and_an_archive(store: Store) -> None:
    store.put(
        {
            "photos/b/1.png": RED,
            "photos/a.png": GREEN,
            "photos2/c.png": RED,
            "photos/a.zip": zipped({"0.png": RED}),
        }
    )
    root = f"{store.root}/photos"
    assert contents(root) == {f"{root}/a.png": GREEN, f"{root}/b/1.png": RED}
    assert contents(f"{root}/*/1.png") == {f"{root}/b/1.png": RED}
    assert contents(f"{root}/*.zip") == contents(f"{root}/a.zip") == {f"{root}/a.zip/0.png": RED}


def test_what_is_replaced_or_gone_is_not_mixed(store: Store) -> None:
    store.put({"a.zip": zipped({"0.png": RED, "1.png": RED}), "photo.png": RED})
    first, second = images(f"{store.root}/a.zip")
    (photo,) = images(f"{store.root}/photo.png")
    assert first.read() == RED
    store.put({"a.zip": zipped({"0.png": GREEN, "1.png": GREEN})})
    store.remove("photo.png")
    if store.root.startswith("gs:"):
        with pytest.raises(ImageError, match="it was changed meanwhile"):
            second.read()
    else:
        assert second.read() == RED  # of the commit before, which the Hub keeps
    with pytest.raises(ImageError, match="it was there when it was listed, and is gone"):
        photo.read()


def test_parts_become_the_folder_of_one_run(store: Store, tiny_path: Path, tmp_path: Path) -> None:
    store.put({f"photos/{i}.png": plain((i, 0, 0), (16, 16)) for i in range(3)})
    source = f"{store.root}/photos"
    features = open_features(tiny_path, FeatureOptions(), CPU)
    extract_to(tmp_path / "one", images(source), features, "npy", batch_size=2, part_images=2)
    place = open_place(f"{store.root}/out")
    assert place.create("mine", [b"1"]) is True
    assert place.create("mine", [b"2"]) is False
    assert read(place, "mine") == b"1"
    place.replace("mine", [b"3"])
    assert read(place, "mine") == b"3"
    place.remove("mine")
    place.remove("mine")
    plan = plan_parts(place, source, features, "npy", batch_size=2, part_images=2)
    for number in reversed(range(plan.parts)):
        do_part(plan, number, features)
        assert do_part(plan, number, features).before
    merge_parts(plan)
    written = {
        name.removeprefix("out/"): data for name, data in store.files.items() if name.startswith("out/")
    }
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}


def test_what_does_not_exist(store: Store) -> None:
    root = store.root.replace(BUCKET, "no-bucket").replace(REPOSITORY, "no/repository")
    with pytest.raises(SourceError, match="no such object, or no such bucket"):
        contents(f"{root}/photos")
    with pytest.raises(OutputError, match="no such object, or no such bucket"):
        open_place(f"{root}/out").create("a", [b""])


@pytest.mark.parametrize("store", ["gs"], indirect=True)
def test_a_bucket_of_google_that_refuses(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Google, "refuses", True)
    with pytest.raises(SourceError, match="the store refuses it"):
        contents(f"{store.root}/photos")


@pytest.mark.parametrize("store", ["hf"], indirect=True)
def test_a_commit_that_others_overtake_is_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [{"other": b"1"}, {"out/a": b"theirs"}]
    commit = Hub.commit

    def overtaken(hub: Hub, lines: list[dict[str, object]]) -> None:
        if others:
            store.put(others.pop(0))
        commit(hub, lines)

    monkeypatch.setattr(Hub, "commit", overtaken)
    assert open_place(f"{store.root}/out").create("a", [b"mine"]) is False
    assert store.files == {"other": b"1", "out/a": b"theirs"}
