"""`/`: the page. What it is made of stands below `/page`, under names that change with the content."""

from __future__ import annotations

import functools

from flask import Response, request
from werkzeug.exceptions import NotFound

from models.settings import setting, settings
from service.openapi.parameters import NoParameters
from service.openapi.routes import Routes
from service.page.assets import Asset, read_assets

# What the document may do: run scripts and use style sheets of this service, ask this service, and show pictures that
# it was given (blob:) or drew itself (data:). A report is shown in a frame of its own, below.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A frame in which reports are shown: of no origin, so that nothing in it reaches the page or the service.
FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_FRAME = "frame.html"
_FOR_EVER = "public, max-age=31536000, immutable"


@settings
class OfAsset:
    """Of /page/DIGEST/FILE."""

    digest: str = setting("", "Of all files of the page.")
    file: str = setting("", "Name of the file.")


def page() -> Routes:
    """The page and its files. Whoever reads them may do nothing yet: what the page does, the other routes guard."""
    routes = Routes("page")
    files = functools.cache(read_assets)

    @routes.get("/", answer={"text/html": str})
    def index(_: NoParameters) -> Response:
        """Shows the page: try models, teach one, look after those that are served."""
        response = _response(files()[1]["index.html"])
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @routes.get(
        "/page/{digest}/{file}",
        OfAsset,
        answer={"text/javascript": str, "text/css": str, "text/html": str, "image/svg+xml": str},
        statuses=(404,),
    )
    def page_file(given: OfAsset) -> Response:
        """Gives a script or style sheet of the page, which never changes under its address."""
        digest, assets = files()
        if given.digest != digest or given.file not in assets or given.file == "index.html":
            raise NotFound
        response = _response(assets[given.file])
        response.headers["Cache-Control"] = _FOR_EVER
        if given.file == _FRAME:
            response.headers["Content-Security-Policy"] = FRAME_POLICY
        return response

    return routes


def _response(asset: Asset) -> Response:
    """A file, packed where the browser unpacks it, or 304 where it has it already."""
    packed = request.accept_encodings.quality("gzip") > 0
    response = Response(asset.packed if packed else asset.body, content_type=asset.media)
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    # The same text in two packings is two representations.
    response.set_etag(f"{asset.tag}-gzip" if packed else asset.tag)
    response.make_conditional(request)
    return response
