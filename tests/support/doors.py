"""A door in this process, a sender to it, and its OpenAPI document as the judge of every answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace

import aiohttp
import jsonschema
from support.flow_harness import METHODOLOGY

from streams import clock
from streams.door.door_metrics import DoorMetrics
from streams.door.door_process import serving
from streams.door.door_server import DoorParts, DoorServer
from streams.door.door_tokens import hash_of, new_token
from streams.door.event_checks import EventChecks
from streams.door.openapi import document
from streams.door.request_limits import RequestLimits
from streams.door.source_door import DeadLetterPlace, SourceDoor
from streams.door.spool import SpoolFullError
from streams.index.panes import rfc3339
from streams.settings import DoorSettings, DoorToken

TOKEN, ORDERS_ONLY = new_token(), new_token()
TOKENS = [
    {"name": "shop", "sha256": hash_of(TOKEN), "markets": ["PK", "BD"]},
    {"name": "bd", "sha256": hash_of(ORDERS_ONLY), "markets": ["BD"], "kinds": ["orders"]},
]
JSON = "application/json"


def order(event_id, **changes):
    return {
        "event_id": event_id,
        "type": "order.placed",
        "occurred_at": rfc3339(clock.now_ms()),
        "market": "PK",
        "order_id": f"o-{event_id}",
        "currency": "PKR",
        "lines": [{"sku": "s", "category": "books", "quantity": 1, "unit_price_minor": 100}],
    } | changes


def payment(event_id, **changes):
    return {
        "event_id": event_id,
        "type": "payment.captured",
        "occurred_at": rfc3339(clock.now_ms()),
        "market": "PK",
        "order_id": f"o-{event_id}",
        "method": "card",
        "currency": "PKR",
        "amount_minor": 100,
    } | changes


def with_tokens(settings, tokens=TOKENS, **changes):
    """Settings of a door that lets tokens in, at free ports."""
    door = settings.door.model_copy(
        update={"port": 0, "tokens": tuple(DoorToken.model_validate(each) for each in tokens)}
        | changes
    )
    return settings.model_copy(update={"door": door})


class Keeper:
    """Keeps what it is given, once it is let, or says that it is full."""

    kept = "kafka"

    def __init__(self):
        self.events = []
        self.let = asyncio.Event()
        self.let.set()
        self.full = False

    async def keep(self, events):
        await self.let.wait()
        if self.full:
            raise SpoolFullError
        self.events += events
        return "kafka"


def stub_door(sources=(), secrets=None, hash_key=None, now_ms=clock.now_ms, **changes):
    """(door, its keeper): no Kafka and no disk, all else as it is."""
    tokens = tuple(DoorToken.model_validate(each) for each in TOKENS)
    settings = DoorSettings(**{"port": 0, "tokens": tokens} | changes)
    metrics = DoorMetrics(
        ["shop"],
        {each.name: each.file.webhook.silent_after_s for each in sources},
        spool_bytes=lambda: 0,
        spool_age_s=lambda: 0,
    )
    keeper, limits = Keeper(), RequestLimits(settings)
    place = DeadLetterPlace("ecindex.dead-letters", hash_key)
    parts = DoorParts(
        EventChecks(METHODOLOGY.markets, METHODOLOGY.ahead_ms),
        keeper,
        SimpleNamespace(waiting_bytes=0),
        metrics,
        limits,
        SourceDoor(sources, secrets or {}, place, keeper, metrics, limits, now_ms=now_ms),
        {"orders": "orders", "payments": "payments"},
    )
    return DoorServer(settings, parts, openapi=document(settings, sources), now_ms=now_ms), keeper


class Sender:
    """Posts to a door, and holds each answer against the door's own document."""

    def __init__(self, client, addresses, document):
        self.addresses = addresses
        self.document = document
        self._client = client
        self.seen = set()

    async def post(self, body, *, token=TOKEN, kind=JSON, headers=None):
        """(status, content) of the answer; ``body``: bytes, or what is written as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        own = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
        async with self._client.post(
            self.addresses.events, data=content, headers=own | (headers or {})
        ) as answer:
            found = await answer.read()
            self.headers = answer.headers
        self._judge("/v1/events", "post", answer, found)
        return answer.status, json.loads(found)

    async def deliver(self, source, body, headers):
        """(status, content) of the answer to a delivery."""
        path = f"/v1/sources/{source}"
        url = self.addresses.events.removesuffix("/v1/events") + path
        async with self._client.post(url, data=body, headers=headers) as answer:
            found = await answer.read()
            self.headers = answer.headers
        self._judge(path, "post", answer, found)
        return answer.status, json.loads(found)

    async def get(self, path):
        url = self.addresses.events.removesuffix("/v1/events") + path
        async with self._client.get(url) as answer:
            found = await answer.read()
        self._judge(path, "get", answer, found)
        return answer.status, json.loads(found)

    async def metrics(self):
        """Samples of the metrics port, by name and labels as they are written."""
        async with self._client.get(self.addresses.metrics) as answer:
            lines = (await answer.text()).splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def _judge(self, path, method, answer, content):
        described = self.document["paths"][path][method]["responses"]
        assert str(answer.status) in described, f"{answer.status} is not documented"
        self.seen.add((path, str(answer.status)))
        schema = described[str(answer.status)]["content"][answer.content_type]["schema"]
        whole = {"components": self.document["components"], "allOf": [schema]}
        validator = jsonschema.Draft202012Validator
        validator.check_schema(whole)
        validator(whole).validate(json.loads(content))


@contextlib.asynccontextmanager
async def doors(settings, *, without_tokens=False):
    """A door that listens, and a sender to it."""
    async with (
        serving(settings, without_tokens=without_tokens) as running,
        aiohttp.ClientSession() as client,
    ):
        base = running.addresses.events.removesuffix("/v1/events")
        async with client.get(f"{base}/openapi.json") as answer:
            document = await answer.json()
        yield Sender(client, running.addresses, document)
