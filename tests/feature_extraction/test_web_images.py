"""Images that lists name by their address: fetched where it is allowed, once, and kept."""

from __future__ import annotations

import ipaddress
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_extraction import web_images
from feature_extraction.fetching import Fetcher
from feature_extraction.items import read_item
from feature_extraction.lists import listed_images
from feature_extraction.stores.opening import is_address
from feature_extraction.web_images import WebImages
from finetune.dataset.list_options import ListOptions
from finetune.dataset.opening import open_dataset
from models.errors import ImageError, SourceError
from tests.fixtures import plain
from tests.web import IMAGE, Pages, answering

ALLOWED = WebImages(("*",))


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pages]:
    """A server under the name pictures.example, and a cache of its own."""
    made = Pages()
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    web_images._store.cache_clear()

    def fetcher(hosts: tuple[str, ...]) -> Fetcher:
        return Fetcher(
            [f"{host}:{made.port}" for host in hosts],
            10_000,
            30.0,
            resolve=lambda host, port: ["127.0.0.1"] if host.endswith(".example") else ["10.0.0.1"],
            may_connect=lambda address: address == ipaddress.ip_address("127.0.0.1"),
        )

    monkeypatch.setattr(web_images, "web_fetcher", fetcher)
    yield made
    web_images._store().close()
    web_images._store.cache_clear()
    made.close()


def at(pages: Pages, path: str, host: str = "pictures.example") -> str:
    return f"http://{host}:{pages.port}{path}"


@pytest.mark.parametrize(
    ("file", "is_one"),
    [
        ("https://a/b.jpg", True),
        ("s3://a/b.jpg", True),
        ("a/b.jpg", False),
        ("C:\\a.jpg", False),
        ("c:/a.jpg", False),
    ],
)
def test_addresses_are_told_from_paths(file: str, is_one: bool) -> None:
    assert is_address(file) == is_one


def test_an_image_is_asked_for_once(pages: Pages) -> None:
    pages.paths["/a.png"] = answering()
    item = pickle.loads(pickle.dumps(ALLOWED.item(at(pages, "/a.png"))))
    assert [read_item(item), read_item(item)] == [IMAGE, IMAGE]
    assert len(pages.hosts) == 1
    pages.paths.clear()
    web_images._store.cache_clear()  # as in another process
    assert read_item(item) == IMAGE


def test_nothing_is_fetched_unless_it_is_allowed(pages: Pages, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(at(pages, "/a.png") + "\n")
    (item,) = listed_images(tmp_path / "l.txt")
    with pytest.raises(
        ImageError, match=r"an address, and nothing may be fetched. Allow its host with --allow-urls"
    ):
        read_item(item)
    assert pages.hosts == []


def test_lists_may_mix_files_and_addresses(pages: Pages, tmp_path: Path) -> None:
    pages.paths["/a.png"] = answering()
    (tmp_path / "b.png").write_bytes(plain("blue"))
    (tmp_path / "l.csv").write_text(f"url,id\n{at(pages, '/a.png')},first\nb.png,\n{at(pages, '/no.png')},\n")
    items = list(listed_images(tmp_path / "l.csv", ALLOWED))
    assert [item.id for item in items] == ["first", str(tmp_path / "b.png"), at(pages, "/no.png")]
    assert [read_item(item) for item in items[:2]] == [IMAGE, plain("blue")]
    pages.paths["/no.png"] = answering(404)
    with pytest.raises(ImageError, match="answers with status 404"):
        read_item(items[2])


def test_private_addresses_are_never_asked(pages: Pages) -> None:
    with pytest.raises(ImageError, match=r"10.0.0.1, which is no public address"):
        read_item(ALLOWED.item(at(pages, "/a.png", "inside.test")))
    with pytest.raises(ImageError, match="is not among the hosts"):
        read_item(WebImages(("other.example",)).item(at(pages, "/a.png")))


def test_what_the_network_breaks_off_is_asked_for_again(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter([ImageError("slow"), ImageError("refused"), None])
    fetch = Fetcher.fetch

    def flaky(self: Fetcher, *arguments: object) -> bytes:
        if (error := next(tries)) is not None:
            raise error from ConnectionResetError()
        return fetch(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Fetcher, "fetch", flaky)
    pages.paths["/a.png"] = answering()
    assert read_item(ALLOWED.item(at(pages, "/a.png"))) == IMAGE
    assert next(tries, "none left") == "none left"


def test_labelled_lists(pages: Pages, tmp_path: Path) -> None:
    """A file that is called so goes before the address."""
    pages.paths["/a.png"] = answering()
    (tmp_path / "b.png").write_bytes(plain("blue"))
    (tmp_path / "l.csv").write_text(
        f"image_url,label\n{at(pages, '/a.png')},red\n{at(pages, '/b.png')},blue\n"
    )
    dataset = open_dataset(tmp_path / "l.csv", lists=ListOptions(allow_urls=("*",)))
    assert {one.label: read_item(one.item) for one in dataset.examples} == {
        "red": IMAGE,
        "blue": plain("blue"),
    }
    assert len(pages.hosts) == 1
    (tmp_path / "b.png").unlink()
    with pytest.raises(
        SourceError, match=r"none of the images .* with --images FOLDER, or let them be fetched with"
    ):
        open_dataset(tmp_path / "l.csv")
