"""What every request to the door must be: on a way that is not overheard, and no larger than is held."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from aiohttp import hdrs, web

from streams.door.door_responses import RefusedError
from streams.publish.http_server import is_loopback, is_of_a_page, read_body
from streams.settings import DoorSettings

BUSY_RETRY_AFTER_S = 1
UNDER_WAY_BYTES_MAX = 64 * 1024 * 1024
"""Bodies that are held at a time; one of unknown length counts as the largest that is allowed."""


class RequestLimits:
    """Refuses requests before they are read, and bounds what is held of all of them."""

    def __init__(self, settings: DoorSettings) -> None:
        self._body_bytes_max = settings.body_bytes_max
        self._has_tls = settings.tls_certificate_file is not None
        self._proxies = [ipaddress.ip_network(each) for each in settings.trusted_proxies]
        self.under_way_bytes = 0

    def check_way(self, request: web.Request) -> None:
        """Refuse a request of a web page, and a secret that came over a network in the clear."""
        if is_of_a_page(request):
            raise RefusedError(HTTPStatus.FORBIDDEN, "no web page may send events")
        peer = request.remote or ""
        if self._has_tls or is_loopback(peer):
            return
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            address = None
        by_proxy = address is not None and any(address in network for network in self._proxies)
        if not by_proxy or request.headers.get(hdrs.X_FORWARDED_PROTO, "https") != "https":
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "expected TLS: by a proxy of door.trusted_proxies, or by door.tls_certificate_file",
            )

    @contextmanager
    def holding(self, request: web.Request) -> Iterator[None]:
        """Count the bytes of a request while within. Refuse it where there is no room for as many."""
        held = self._size_of(request)
        self.under_way_bytes += held
        try:
            yield
        finally:
            self.under_way_bytes -= held

    async def read(self, request: web.Request) -> bytes:
        """Return the body after decompression. Raises RefusedError and web.HTTPException."""
        try:
            return await read_body(request, self._body_bytes_max)
        except web.RequestPayloadError as error:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, "expected a body as its Content-Encoding says"
            ) from error

    def _size_of(self, request: web.Request) -> int:
        most = self._body_bytes_max
        plain = hdrs.CONTENT_ENCODING not in request.headers
        held = request.content_length if plain and request.content_length is not None else most
        if held > most:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"expected a body of at most {most} bytes, found {held}",
            )
        if self.under_way_bytes + held > UNDER_WAY_BYTES_MAX:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many requests are under way; send it again",
                retry_after_s=BUSY_RETRY_AFTER_S,
            )
        return held
