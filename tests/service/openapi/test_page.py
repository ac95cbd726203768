"""/docs: all that /openapi.json says, in one page that loads nothing, and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.openapi.page import render

OWN = {"style": "style-src", "script": "script-src"}


class Page(HTMLParser):
    """Elements of a page, and the texts of some."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return client.get("/openapi.json").get_json()


@pytest.fixture
def page(client: FlaskClient) -> Page:
    return Page(client.get("/docs").text)


def test_shows_every_route_with_its_parameters_and_statuses(document: dict[str, Any], page: Page) -> None:
    anchors = [known["id"] for tag, known in page.elements if tag == "article"]
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len(set(anchors)) == len(anchors) == len(operations)
    links = {known["href"] for tag, known in page.elements if tag == "a"}
    assert {f"#{anchor}" for anchor in anchors} <= links
    codes = set(page.texts["code"])
    for operation in operations:
        assert {one["name"] for one in operation["parameters"]} <= codes
        assert set(operation["responses"]) - {"200"} <= codes


def test_loads_nothing_and_has_nothing_inline_but_what_the_policy_allows(client: FlaskClient) -> None:
    response = client.get("/docs")
    page = Page(response.text)
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    for tag, directive in OWN.items():
        (text,) = page.texts[tag]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"
        assert not re.search(r"url\(|@import|//\w", text)
    assert policy["default-src"] == "'none'"
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "base")
        assert "src" not in attributes
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag == "link":
            assert str(attributes["href"]) == "data:,"


def test_lines_to_copy_name_the_service_as_it_was_asked(client: FlaskClient) -> None:
    text = client.get("/docs", headers={"Host": "photos.example:81"}).text
    assert "curl -F image=@photo.jpg http://photos.example:81/v1/classify" in text
    assert "requests.post(\n    &#34;http://photos.example:81/v1/classify&#34;," in text
    assert (
        "curl -X DELETE -H &#34;Authorization: Bearer $TOKEN&#34; http://photos.example:81/v1/admin/models/NAME"
        in text
    )


def test_a_host_that_is_none_gets_nothing_into_the_page(client: FlaskClient) -> None:
    response = client.get("/docs", headers={"Host": '"><script>alert(1)</script>'})
    assert "alert(1)" not in response.text


def test_texts_of_the_document_are_escaped(document: dict[str, Any]) -> None:
    document["paths"]["/v1/models"]["get"]["summary"] = "<img src=x>"
    text, _ = render(document)
    assert "&lt;img src=x&gt;" in text
    assert "<img src=x>" not in text


def test_members_that_hold_themselves_end(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    schemas["ModelList"]["properties"]["more"] = {"$ref": "#/components/schemas/ModelList"}
    text, _ = render(document)
    assert "more.more.models" in text
    assert len(text) < 1 << 20
