"""The files of the page: small, cacheable, under a policy that lets nothing else in, with all texts in one file."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.page.assets import HERE, MEDIA, read_assets, strings
from service.page.routes import POLICY

MOST_BYTES = 100_000  # of all files together, as they are sent
SCRIPTS = sorted(HERE.glob("*.js"))
KEY = re.compile(r"""\bt\(\s*(["'`])(.+?)\1""")
# Keys that are made of a word and a value: what stands before the value.
MADE = re.compile(r"`([a-z_.]+)\${")


def scripts() -> str:
    return "".join(script.read_text(encoding="utf-8") for script in SCRIPTS if script.name != "strings.js")


def test_the_document_names_files_that_are_there_and_may_be_kept(client: FlaskClient) -> None:
    response = client.get("/")
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert response.headers["Cache-Control"] == "no-cache"
    named = re.findall(r'(?:href|src)="(page/[^"]+)"', response.text)
    assert {Path(name).name for name in named} >= {"app.js", "strings.js", "look.css", "mark.svg"}
    for name in named:
        file = client.get(f"/{name}")
        assert (file.status_code, file.mimetype) == (200, MEDIA[Path(name).suffix])
        assert "immutable" in file.headers["Cache-Control"]
        assert file.headers["X-Content-Type-Options"] == "nosniff"


def test_what_a_browser_has_is_not_sent_again(client: FlaskClient) -> None:
    first = client.get("/", headers={"Accept-Encoding": "gzip"})
    again = client.get("/", headers={"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Content-Security-Policy"] == POLICY
    plain = client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert plain.status_code == 200  # packed and plain are different bytes


def test_packed_is_the_same(client: FlaskClient) -> None:
    packed = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == client.get("/").data
    assert packed.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path", ["/page/0000000000000000/app.js", "/page/{digest}/gone.js", "/page/{digest}/index.html"]
)
def test_nothing_else_is_there(client: FlaskClient, path: str) -> None:
    digest, _ = read_assets()
    response = client.get(path.format(digest=digest))
    assert (response.status_code, response.get_json()["error"]["type"]) == (404, "NotFound")


def test_a_changed_file_changes_all_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, _ = read_assets()
    for file in HERE.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() + (b"\n" if file.name == "try.js" else b""))
    monkeypatch.setattr("service.page.assets.HERE", tmp_path)
    changed, assets = read_assets()
    assert changed != digest
    assert digest not in assets["index.html"].body.decode()


def test_all_of_it_is_small() -> None:
    _, assets = read_assets()
    assert sum(len(asset.packed) for asset in assets.values()) < MOST_BYTES


def test_policy_lets_nothing_in_that_is_not_of_the_service(client: FlaskClient) -> None:
    policy = dict(
        part.split(" ", 1) for part in client.get("/").headers["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    for name in ("script-src", "style-src", "connect-src", "frame-src"):
        assert policy[name] == "'self'"
    digest, _ = read_assets()
    frame = client.get(f"/page/{digest}/frame.html").headers["Content-Security-Policy"]
    assert frame.startswith("sandbox allow-scripts; default-src 'none'; script-src 'self'")
    assert "connect-src" not in frame


@pytest.mark.parametrize("file", sorted(HERE.iterdir()), ids=lambda file: file.name)
def test_a_file_loads_nothing_from_elsewhere_and_has_nothing_inline(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    code = re.sub(r"^\s*//.*$", "", text, flags=re.M)
    assert not re.search(r"""["'(=]\s*(https?:)?//(?!www\.w3\.org/2000/svg)""", code)
    assert not re.search(r"\b(eval|innerHTML|insertAdjacentHTML|outerHTML|document\.write)\b", code)
    assert not re.search(r"<\w[^>]*\s(style|on\w+)=", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert len(text.splitlines()) <= 400


def test_every_text_that_is_asked_for_is_there_and_no_other() -> None:
    known, code = strings(), scripts()
    roots = {re.sub(r"\.(zero|one|two|few|many|other)$", "", key) for key in known}
    quoted = {key for _, key in KEY.findall(code) if "${" not in key}
    asked = quoted | set(re.findall(r"""["']([a-z]+\.[a-z_]+)["']""", code)) & roots
    asked |= set(re.findall(r"{{ (\w+\.\w+) }}", (HERE / "index.html").read_text(encoding="utf-8")))
    assert quoted <= roots
    made = tuple(MADE.findall(code))
    unused = {root for root in roots - asked if not root.startswith(made)}
    assert unused == set()


def test_plurals_have_their_forms() -> None:
    keys = strings().keys()
    assert {key[:-4] for key in keys if key.endswith(".one")} == {
        key[:-6] for key in keys if key.endswith(".other")
    }


def test_no_text_stands_elsewhere() -> None:
    """A sentence in a script is one that nobody can translate: two words that begin with a capital letter."""
    code = re.sub(r"^\s*//.*$|\s// .*$", "", scripts(), flags=re.M)
    literals = re.findall(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`', code)
    sentences = [one or two for one, two in literals if re.match(r"[A-Z][a-z]+,? [a-z]", one or two)]
    assert sentences == []
