"""/metrics, /livez and /readyz over a real socket."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from support.publications import publication

from streams.publish.http import MetricsServer
from streams.publish.metrics import Metrics

LISTEN = {"host": "127.0.0.1", "port": 0, "names": ()}


@pytest.fixture
def reason():
    return ["recovering"]


@pytest.fixture
def metrics():
    return Metrics(markets=["PK"], version="0", edition=1, methodology="0")


@pytest.fixture
async def get(metrics, reason):
    server = MetricsServer(metrics.registry, lambda: reason[0], **LISTEN)
    port = await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def fetch(path, **headers):
            async with session.get(path, headers=headers) as response:
                return response.status, await response.text(), response.headers["Content-Type"]

        yield fetch
    await server.stop()
    await server.stop()


async def test_a_plain_scrape_gets_the_text_format(get, metrics):
    metrics.index.show(publication())
    status, text, content_type = await get("/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["ecindex_orders"].samples[0].labels == {
        "market": "PK",
        "category": "books",
        "window": "1m",
    }


@pytest.mark.parametrize(
    "accept",
    ["text/plain;", "text/plain;version=x.y;escaping=values", "text/plain;q", "*/*", ";,;=,", "é"],
)
async def test_an_odd_wish_of_a_scraper_gets_the_text_format(get, accept):
    """prometheus_client reads what follows a semicolon as NAME=NUMBERS."""
    status, _, content_type = await get("/metrics", Accept=accept)
    assert (status, content_type.split(";")[0]) == (200, "text/plain")


async def test_prometheus_gets_openmetrics(get, metrics):
    metrics.index.show(publication())
    _, text, content_type = await get(
        "/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    )
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert "ecindex_orders" in {family.name for family in parse_openmetrics(text)}


async def test_a_worker_that_is_not_ready_says_why(get, reason):
    assert (await get("/readyz"))[:2] == (503, "recovering\n")
    assert (await get("/livez"))[:2] == (200, "ok\n")
    reason[0] = None
    assert (await get("/readyz"))[:2] == (200, "ok\n")


async def test_a_taken_port_is_reported(metrics):
    first = MetricsServer(metrics.registry, lambda: None, **LISTEN)
    port = await first.start()
    second = MetricsServer(metrics.registry, lambda: None, host="127.0.0.1", port=port, names=())
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()
    await first.stop()
