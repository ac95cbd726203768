"""Files of an HTTP server: read by ranges, listed and created by WebDAV, never from an address that is not public."""

from __future__ import annotations

import http.server
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote

import pytest

from feature_extraction import do_part, extract_to, merge_parts, open_place, plan_parts
from feature_extraction.fetching import Fetcher
from feature_extraction.parts.places import read
from feature_extraction.sources import images
from feature_extraction.stores import opening
from feature_extraction.stores.web import WebFiles
from models.errors import ImageError, OutputError, SourceError
from models.features import FeatureOptions, open_features
from tests.feature_extraction.running import CPU
from tests.feature_extraction.stores.samples import GREEN, RED, contents, zipped
from tests.feature_extraction.stores.serving import Answering, serving
from tests.fixtures import plain


class Server(Answering, http.server.BaseHTTPRequestHandler):
    """As much of WebDAV as features need, in memory; what it is asked is kept."""

    files: ClassVar[dict[str, bytes]] = {}
    folders: ClassVar[set[str]] = set()
    asked: ClassVar[list[str]] = []
    mark = ""  # of versions that are only said to mean the same
    knows_ranges = lists = heeds_conditions = True

    def do_GET(self) -> None:
        Server.asked.append(f"GET {self.headers.get('Range', '')}")
        data = self.files.get(self.name)
        if data is None:
            return self.say(403 if self.name.startswith("/secret") else 404)
        tag = f'{self.mark}"{hash(data)}"'
        if self.headers.get("If-Match", tag) != tag or self.headers.get("If-Match", "").startswith("W/"):
            return self.say(412)
        if not self.knows_ranges or "Range" not in self.headers:
            return self.say(200, data, ETag=tag)
        begin, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
        if int(begin) >= len(data):
            return self.say(416, b"", **{"Content-Range": f"bytes */{len(data)}", "ETag": tag})
        part = data[int(begin) : int(end) + 1]
        place = f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}"
        return self.say(206, part, **{"Content-Range": place, "ETag": tag})

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.name in self.files and self.headers.get("If-None-Match") == "*" and self.heeds_conditions:
            return self.say(412)
        if self.name.rpartition("/")[0] not in self.folders:
            return self.say(409)
        Server.files[self.name] = data
        return self.say(201)

    def do_MKCOL(self) -> None:
        name = self.name.rstrip("/")
        if name.rpartition("/")[0] not in self.folders:
            return self.say(409)
        Server.folders.add(name)
        return self.say(201)

    def do_DELETE(self) -> None:
        self.say(204 if Server.files.pop(self.name, None) is not None else 404)

    def do_PROPFIND(self) -> None:
        folder = self.name.rstrip("/")
        if not self.lists:
            return self.say(405)
        if folder not in self.folders:
            return self.say(404)
        inner = [name for name in self.folders if name.rpartition("/")[0] == folder and name != folder]
        xml = "".join(
            f"<D:response><D:href>{quote(name)}/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/>"
            "</D:resourcetype></D:prop></D:propstat></D:response>"
            for name in [folder, *inner]
        )
        for name, data in self.files.items():
            if name.rpartition("/")[0] == folder:
                xml += (
                    f"<D:response><D:href>{quote(name)}</D:href><D:propstat><D:prop><D:getcontentlength>{len(data)}"
                    "</D:getcontentlength></D:prop></D:propstat></D:response>"
                )
        return self.say(207, f'<D:multistatus xmlns:D="DAV:">{xml}</D:multistatus>'.encode())

    @property
    def name(self) -> str:
        return unquote(self.path.partition("?")[0])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address, which may be asked here although it is not public."""
    for name, value in {"files": {}, "folders": {""}, "asked": []}.items():
        monkeypatch.setattr(Server, name, value)
    with serving(Server) as address:
        files = WebFiles(lambda hosts: Fetcher(hosts, 1 << 20, 60, may_connect=lambda _: True))
        monkeypatch.setattr(opening, "WebFiles", lambda: files)
        opening._opened.cache_clear()
        yield address
        opening._opened.cache_clear()


def test_an_image_and_numbered_ones(server: str) -> None:
    Server.files |= {"/1.png": RED, "/3.png": GREEN, "/photo": RED}
    assert contents(f"{server}/photo?size=large") == {f"{server}/photo?size=large": RED}
    assert contents(f"{server}/{{1..3}}.png") == {
        f"{server}/1.png": RED,
        f"{server}/2.png": f"{server}/2.png: no such file. Check the range.",
        f"{server}/3.png": GREEN,
    }


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_zip_archive_is_read_by_ranges_where_the_server_knows_them(
    server: str, monkeypatch: pytest.MonkeyPatch, knows_ranges: bool
) -> None:
    monkeypatch.setattr(Server, "knows_ranges", knows_ranges)
    Server.files["/a.zip"] = zipped(
        {"0.png": RED, "1.png": bytes(500_000), "2.png": GREEN}, zipfile.ZIP_STORED
    )
    assert list(contents(f"{server}/a.zip?token=1").values()) == [RED, bytes(500_000), GREEN]


def test_a_list_names_files_beside_it(server: str) -> None:
    Server.files |= {"/lists/a.txt": b"red.png\n../green.png\n", "/lists/red.png": RED, "/green.png": GREEN}
    assert list(contents(f"{server}/lists/a.txt").values()) == [RED, GREEN]


@pytest.mark.parametrize("mark", ["", "W/"])
def test_a_file_that_is_replaced_is_not_mixed_with_the_one_before(
    server: str, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    monkeypatch.setattr(Server, "mark", mark)
    Server.files["/a.zip"] = zipped({"0.png": RED, "1.png": RED})
    first, second = images(f"{server}/a.zip")
    assert first.read() == RED
    Server.files["/a.zip"] = zipped({"0.png": GREEN, "1.png": GREEN})
    with pytest.raises(ImageError, match="it was changed meanwhile"):
        second.read()


def test_a_folder_is_listed_where_the_server_does_that(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Server.folders |= {"/photos", "/photos/b c"}
    Server.files |= {"/photos/b c/ü.png": RED, "/photos/a.png": GREEN, "/photos/notes.txt": b""}
    assert contents(f"{server}/photos/") == {
        f"{server}/photos/a.png": GREEN,
        f"{server}/photos/b c/ü.png": RED,
    }
    Server.files["/photos/c.zip"] = zipped({"0.png": RED})
    assert contents(f"{server}/photos/*.zip") == {f"{server}/photos/c.zip/0.png": RED}
    monkeypatch.setattr(Server, "lists", False)
    with pytest.raises(SourceError, match="does not list folders; name files, numbered shards or a list"):
        contents(f"{server}/photos/")


def test_parts_on_a_server_become_the_folder_of_one_run(server: str, tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(5):
        (tmp_path / "photos" / f"{number}.png").write_bytes(plain((number, 0, 0), (16, 16)))
    source = str(tmp_path / "photos")
    features = open_features(tiny_path, FeatureOptions(), CPU)
    extract_to(tmp_path / "one", images(source), features, "npy", batch_size=2, part_images=2)
    place = open_place(f"{server}/deep/out")
    assert place.create("mine", [b"1"]) is True
    assert place.create("mine", [b"2"]) is False
    assert read(place, "mine") == b"1"
    place.remove("mine")
    plan = plan_parts(place, source, features, "npy", batch_size=2, part_images=2)
    for number in reversed(range(plan.parts)):
        do_part(plan, number, features)
        assert do_part(plan, number, features).before
    merge_parts(plan)
    written = {name.removeprefix("/deep/out/"): data for name, data in Server.files.items()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}


def test_a_server_that_writes_over_files_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "heeds_conditions", False)
    with pytest.raises(OutputError, match="it writes over files that are there, although it is asked not to"):
        open_place(f"{server}/out").create("a", [b"1"])


@pytest.mark.parametrize("status", [405, 409, 501])
def test_an_error_is_no_image(server: str, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(Server, "do_GET", lambda self: self.say(status, b"not now"))
    with pytest.raises(SourceError, match=f"answers with status {status}"):
        contents(f"{server}/a.png")


def test_a_file_that_is_not_written_or_not_removed_is_told(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place(f"{server}/out")
    assert place.create("a", [b"1"])
    Server.folders.remove("/out")
    monkeypatch.setattr(Server, "do_MKCOL", lambda self: self.say(405))
    for write in (place.create, place.replace):
        with pytest.raises(OutputError, match=r"b: cannot be written .*it does not make the folder"):
            write("b", [b"2"])
    monkeypatch.setattr(Server, "do_DELETE", lambda self: self.say(405))
    with pytest.raises(OutputError, match=r"a: cannot be removed .*status 405"):
        place.remove("a")


def test_a_file_of_a_place_that_fails_while_it_is_read_is_named(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place(f"{server}/out")
    place.create("a", [bytes(10)])
    answer = Server.do_GET
    first = "bytes=0-0"  # by which the size is asked for
    monkeypatch.setattr(
        Server, "do_GET", lambda self: answer(self) if self.headers["Range"] == first else self.say(503)
    )
    with pytest.raises(OutputError, match=r"out/a: cannot be read .*status 503"):
        read(place, "a")


def test_what_is_not_there_or_refused(server: str) -> None:
    with pytest.raises(SourceError, match="no such object"):
        contents(f"{server}/gone.png")
    with pytest.raises(SourceError, match=r"the store refuses it: .*status 403"):
        contents(f"{server}/secret.png")


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost", "10.1.2.3", "169.254.169.254", "[::1]"])
def test_no_address_is_asked_that_is_not_public(host: str) -> None:
    opening._opened.cache_clear()
    with pytest.raises(SourceError, match="no public address"):
        contents(f"https://{host}/photo.png")


def test_a_scheme_that_is_no_store(server: str) -> None:
    with pytest.raises(
        SourceError, match="ftp:// is no store that is known; expected one of s3, gs, hf, https, http"
    ):
        contents("ftp://host/photo.png")
