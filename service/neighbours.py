"""Whether a request comes from this machine itself: from a program here, or from a page that this very service gave."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via")
_OWN = ("same-origin", "none")  # none: typed by a person


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine, as seen from itself alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why_foreign(headers: Mapping[str, str], scheme: str) -> str:
    """Why a request that came over loopback may have been made by somebody elsewhere; "" where nothing says so.

    A page of another origin lets the browser send (Origin, and Sec-Fetch-Site of
    https://www.w3.org/TR/fetch-metadata); a name of its own that it had point here, by DNS, stands in Host; a proxy
    says that it forwards.
    """
    host = headers.get("Host", "")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if not is_loopback(name):
        return f"it was sent to {host[:80]!r}; expected localhost or 127.0.0.1"
    for header in _FORWARDED:
        if header in headers:
            return f"a proxy forwarded it ({header})"
    origin = headers.get("Origin")
    if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
        return f"a page of {origin[:80]} sent it"
    site = headers.get("Sec-Fetch-Site")
    if site is not None and site not in _OWN:
        return f"a page of another origin sent it ({site})"
    return ""
