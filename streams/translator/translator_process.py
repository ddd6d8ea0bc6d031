"""`ecindex translate` from start to end: its topics, its port, its share of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import hdrs, web
from aiokafka.errors import KafkaError
from prometheus_client.exposition import choose_encoder

from streams.console.errors import OperationError
from streams.publish.http_server import application, listen
from streams.records.kafka_topics import existing_partitions
from streams.records.kafka_words import in_words
from streams.settings import Problem, Settings, SettingsError, load_sources
from streams.translator.readings import check_topics_of, readings_of
from streams.translator.shared_work import SharedWork

_log = structlog.get_logger(__name__)


async def translate(
    settings: Settings, stopped: asyncio.Event, on_listening: Callable[[str], None]
) -> None:
    """Translate until ``stopped`` is set; end after the batches under way.

    Raises SettingsError, WrongTopicsError, OperationError, and OSError for an address.
    """
    readings = readings_of(settings, load_sources(settings))
    if not readings:
        expected = "source files, of which at least one has where.topics"
        found = ", ".join(map(str, settings.sources.files)) or "none"
        raise SettingsError([Problem("sources.files", found, "nothing to translate", expected)])
    counts = await existing_partitions(settings.kafka)
    check_topics_of(settings, readings, counts)
    work = SharedWork(settings, readings, counts)
    server = await listen(
        _watched(work),
        settings.metrics.host,
        settings.metrics.port,
        setting="metrics.hosts",
        names=settings.metrics.hosts,
    )
    try:
        host = settings.metrics.host
        url = f"http://{f'[{host}]' if ':' in host else host}:{server.port}/metrics"
        sources = sorted({reading.source.name for reading in readings})
        _log.info("listening", metrics=url, sources=sources)
        on_listening(url)
        await work.run(stopped)
    except KafkaError as error:
        raise OperationError(
            f"Kafka at {settings.kafka.bootstrap_servers} (kafka.bootstrap_servers): {in_words(error)}"
        ) from error
    finally:
        await server.close()


def _watched(work: SharedWork) -> web.Application:
    async def metrics(request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        except (ValueError, TypeError):  # a version that is no number
            encode, content_type = choose_encoder("")
        body = encode(work.metrics.registry)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        if work.is_ready:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="restoring what was stated of orders\n")

    app = application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    return app
