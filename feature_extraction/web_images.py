"""Images that a list names by their address: fetched where somebody allowed it, once, and kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

from feature_extraction.byte_store import FETCHED, ByteStore, open_store
from feature_extraction.fetching import Fetcher, Patience
from feature_extraction.items import ImageItem, failing_item, printable
from feature_extraction.stored_items import address_item
from feature_extraction.stores.opening import WEB, is_address, scheme_of
from models.errors import ImageError

_MOST_BYTES = 100 << 20  # of one image
_SECONDS = 60.0  # that one may take
_TRIES = 3  # where the network fails, and not the host's answer


@dataclass(frozen=True)
class WebImages:
    """Images at addresses of some hosts, as `addresses.allows` has them; none at all for `()`.

    Of a store the address stands in place of a host, such as `s3://bucket`: then all below it may be read. What was
    fetched from a host is kept by its address, so that a run that was interrupted goes on, and each photo is asked for
    once however often it is read. Addresses that are not public are never asked.
    """

    hosts: tuple[str, ...] = ()

    def item(self, url: str, name: str | None = None) -> ImageItem:
        """The image at an address, called by it or by `name`; one that fails where nothing may be fetched."""
        name = printable(name or url)
        if any(url.startswith(f"{host.rstrip('/')}/") for host in self.hosts if is_address(host)):
            return address_item(url, name)
        if self.hosts and scheme_of(url) in WEB:
            return ImageItem(name, partial(self.read, url))
        return failing_item(
            name,
            ImageError(
                f"{printable(url)}: an address, and nothing may be fetched. Allow its host with --allow-urls HOST "
                "(allow_urls), or a store with --allow-urls s3://BUCKET; or name a file."
            ),
        )

    def read(self, url: str) -> bytes:
        """The bytes at an address, as they were when it was asked the first time.

        Raises:
            ImageError: not allowed, not there, too large or too slow.
        """
        store, key = _store(), hashlib.sha256(url.encode("utf-8", "surrogateescape")).digest()
        if kept := store.get([key]):
            return kept[0]
        data = self._fetched(url)
        store.put([(key, data)])
        return data

    def _fetched(self, url: str) -> bytes:
        fetcher = web_fetcher(self.hosts)
        for rest in reversed(range(_TRIES)):
            try:
                return fetcher.fetch(url, printable(url), Patience())
            except ImageError as exc:
                if not rest or not isinstance(exc.__cause__, OSError):
                    raise
        raise AssertionError("the last try returns or raises")


def web_fetcher(hosts: Sequence[str]) -> Fetcher:
    """Fetches from these hosts, within the bounds for images of a list."""
    return Fetcher(hosts, _MOST_BYTES, _SECONDS)


@cache
def _store() -> ByteStore:
    return open_store(FETCHED)
