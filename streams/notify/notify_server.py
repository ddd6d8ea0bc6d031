"""The port that Alertmanager posts to: /alerts for every receiver, /alerts/slack,mail for some.

An answer of 200 means that every receiver has taken the message. Anything else makes Alertmanager come
again, so a message is lost only together with Alertmanager.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder

from streams.index.shown_text import one_line
from streams.notify.alert_group import BODY_BYTES_MAX, AlertGroupError, decode_group
from streams.notify.delivery import Delivery
from streams.notify.notify_metrics import NotifyMetrics
from streams.notify.posting import SHOWN_MAX
from streams.publish.http_server import HttpServer, is_of_a_page, listen, read_body

UNDER_WAY_MAX = 32
"""Notifications at a time. Alertmanager has one for each group; a market is one."""
SHUTDOWN_S = 20.0
_ALERTMANAGER = "Alertmanager/"
"""How its User-Agent begins."""
_log = structlog.get_logger(__name__)


class NotifyServer:
    """Takes notifications. ``receivers``: names of those that are set, in the order of messages."""

    def __init__(
        self,
        delivery: Delivery,
        receivers: Sequence[str],
        metrics: NotifyMetrics,
        *,
        host: str,
        port: int,
        names: Sequence[str],
        token: str | None,
    ) -> None:
        """Make a server that does not listen yet. ``token``: what a sender must show, if anything."""
        self._host = host
        self._port = port
        self._names = names
        self._token = token
        self._delivery = delivery
        self._receivers = receivers
        self._counted = metrics
        self._under_way = 0
        self._server: HttpServer | None = None

    async def start(self) -> int:
        """Listen, and return the bound port. Raises OSError when the address cannot be bound."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.on_response_prepare.append(self._on_answer)
        app.router.add_post("/alerts", self._alerts)
        app.router.add_post("/alerts/{receivers}", self._alerts)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._server = await listen(
            app,
            self._host,
            self._port,
            setting="notify.hosts",
            names=self._names,
            shutdown_s=SHUTDOWN_S,
        )
        return self._server.port

    async def stop(self) -> None:
        """Listen no more; a message that is being sent is sent. Safe to call twice."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _alerts(self, request: web.Request) -> web.Response:
        if is_of_a_page(request) or not self._may_send(request):
            return _answer(
                HTTPStatus.UNAUTHORIZED,
                "expected notify.token as bearer token; set it in http_config of Alertmanager's "
                "webhook",
            )
        named = request.match_info.get("receivers")
        names = self._receivers if named is None else list(dict.fromkeys(named.split(",")))
        unknown = [name for name in names if name not in self._receivers]
        if unknown or not names:
            known = ", ".join(self._receivers) or "nobody"
            return _answer(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"nobody is told: asked for {one_line(', '.join(unknown), 100) or 'everybody'}, the "
                f"settings notify.* name {known}; set a receiver, or correct Alertmanager's webhook URL",
            )
        if self._under_way >= UNDER_WAY_MAX:
            text = f"{UNDER_WAY_MAX} notifications are being sent; come again"
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, text)
        self._under_way += 1
        try:
            return await self._delivered(request, names)
        finally:
            self._under_way -= 1

    async def _delivered(self, request: web.Request, names: Sequence[str]) -> web.Response:
        try:
            group = decode_group(await read_body(request, BODY_BYTES_MAX))
        except AlertGroupError as error:
            return _answer(HTTPStatus.BAD_REQUEST, one_line(str(error), SHOWN_MAX))
        except web.HTTPRequestTimeout as error:
            # Alertmanager does not come again after 408, and the message would be lost.
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, (error.text or "").strip())
        failures = await self._delivery.deliver(group, names)
        if failures:
            text = "; ".join(f"{failure.receiver}: {failure.error}" for failure in failures)
            return _FailureAnswer(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{text}\n")
        return _answer(HTTPStatus.OK, "ok")

    def _may_send(self, request: web.Request) -> bool:
        return self._token is None or self._has_token(request)

    def _has_token(self, request: web.Request) -> bool:
        given = request.headers.get(hdrs.AUTHORIZATION, "").encode(errors="surrogateescape")
        return self._token is not None and hmac.compare_digest(
            given, f"Bearer {self._token}".encode()
        )

    async def _on_answer(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Log an error that no receiver is the cause of, whoever has found it; count it if it pages.

        Alertmanager does not come again after 4xx, and says so in its own log only. Whoever only tries
        the port has no message that is lost, and must wake nobody.
        """
        if (
            request.method != hdrs.METH_POST
            or answer.status < HTTPStatus.BAD_REQUEST
            or isinstance(answer, _FailureAnswer)
        ):
            return
        text = (answer.text or "") if isinstance(answer, web.Response) else ""
        _log.error(
            "notification_refused",
            status=answer.status,
            path=one_line(request.path, SHOWN_MAX),
            detail=one_line(text, SHOWN_MAX),
        )
        if self._is_message(request):
            self._counted.refused.labels(str(answer.status)).inc()

    def _is_message(self, request: web.Request) -> bool:
        """Whether Alertmanager sends it, or who shows its token."""
        agent = request.headers.get(hdrs.USER_AGENT, "")
        return agent.startswith(_ALERTMANAGER) or self._has_token(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        except (ValueError, TypeError):  # a version that is no number
            encode, content_type = choose_encoder("")
        return web.Response(
            body=encode(self._counted.registry), headers={hdrs.CONTENT_TYPE: content_type}
        )

    async def _livez(self, _request: web.Request) -> web.Response:
        """Alive as long as the event loop answers."""
        return _answer(HTTPStatus.OK, "ok")

    async def _readyz(self, _request: web.Request) -> web.Response:
        if self._receivers:
            return _answer(HTTPStatus.OK, "ok")
        return _answer(
            HTTPStatus.SERVICE_UNAVAILABLE, "nobody is told: no receiver is set (notify.*)"
        )


class _FailureAnswer(web.Response):
    """Says who has not taken a message: that is logged and counted where it is found."""


def _answer(status: HTTPStatus, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
