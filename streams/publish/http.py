"""/metrics, /livez and /readyz of a worker, on one address and port."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

LOOPBACK = "127.0.0.1"


class MetricsServer:
    """Serves one registry. ``ready`` returns None when ready, else the reason why not.

    ``before_scrape`` is called before each answer of /metrics: whoever finds there that the process
    no longer owns what it shows can take it away.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        ready: Callable[[], str | None],
        *,
        before_scrape: Callable[[], None] = lambda: None,
        host: str = LOOPBACK,
        port: int = 0,
    ) -> None:
        self._registry = registry
        self._before_scrape = before_scrape
        self._ready = ready
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; the bound port, which with port 0 the system chose.

        Raises OSError when the address cannot be bound.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        port: int = runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening; safe to call twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        # Prometheus asks for OpenMetrics; curl and older scrapers get the plain text format.
        self._before_scrape()
        encode, content_type = choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        return web.Response(body=encode(self._registry), headers={hdrs.CONTENT_TYPE: content_type})

    async def _livez(self, _request: web.Request) -> web.Response:
        """Alive: the event loop answers."""
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._ready()
        if reason is None:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"{reason}\n")
