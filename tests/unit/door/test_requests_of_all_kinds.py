"""Whatever is sent to an operation of the door, the answer is one that its document describes.

The requests are drawn by schemathesis from the document itself: those that it allows, and others.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading

import pytest
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.door_sources import SECRET, source_file
from support.doors import TOKEN, stub_door

from streams import clock
from streams.door import door_server, source_door
from streams.door.door_tokens import hash_of
from streams.index.panes import rfc3339
from streams.settings import DoorToken
from streams.translate.compiled_source import CompiledSource
from tests.unit.door.test_source_door import declared

schemathesis = pytest.importorskip("schemathesis", reason="uv run --group api pytest --deep")
requests = pytest.importorskip("requests")
schemathesis.checks.load_all_checks()
CHECKS = schemathesis.checks.CHECKS
FailureGroup = schemathesis.core.failures.FailureGroup

pytestmark = [pytest.mark.deep, pytest.mark.slow]  # the answers of tests/integration/test_door.py

SOURCES = [
    declared(source_file("shop")),
    declared(source_file("cards", '[webhook]\nsignature = "shopify"')),
]
LET_IN = (DoorToken(name="shop", sha256=hash_of(TOKEN), markets=("PK",), events_per_s=1_000_000),)
UNKNOWABLE = [CHECKS.get_one("positive_data_acceptance")]
"""The contract says more than a schema can: an event that its schema allows may be refused."""
OPERATIONS = ("/v1/events", "/v1/sources/shop", "/v1/sources/cards", "/openapi.json", "/healthz")


class Signer(requests.auth.AuthBase):
    """Shows the token, and signs what is sent to a source."""

    def __call__(self, request):
        if "/v1/sources/" in request.url:
            body = request.body or b""
            body = body if isinstance(body, bytes) else body.encode()
            name = request.url.rpartition("/")[2].partition("?")[0]
            secret = (SECRET + name).encode()
            header = "X-WC-Webhook-Signature" if name == "shop" else "X-Shopify-Hmac-Sha256"
            digest = hmac.new(secret, body, hashlib.sha256).digest()
            request.headers[header] = base64.b64encode(digest).decode()
        else:
            request.headers["Authorization"] = f"Bearer {TOKEN}"
        return request


class Stranger(requests.auth.AuthBase):
    """Shows what was drawn, or nothing."""

    def __call__(self, request):
        return request


class RunningDoor:
    """A door in a thread of its own: schemathesis waits for each answer."""

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        secrets = {each.name: ((SECRET + each.name).encode(),) for each in SOURCES}
        self.door, self.keeper = stub_door(SOURCES, secrets, tokens=LET_IN)
        port = self._run(self.door.start())
        self.url = f"http://127.0.0.1:{port}"
        return self

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def __exit__(self, *_):
        self._run(self.door.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def likely(case):
    """A case whose events are of a market that there is: no schema knows which."""
    events = case.body if isinstance(case.body, list) else [case.body]
    for event in events:
        if isinstance(event, dict) and isinstance(event.get("market"), str):
            now = rfc3339(clock.now_ms())
            event |= {"market": "PK", "currency": "PKR", "occurred_at": now, "placed_at": now}
    return case


def ask(path, by=Signer, *, is_full=False, examples=40):
    """Send drawn requests to an operation. Raises what schemathesis finds."""
    with RunningDoor() as running, requests.Session() as session:
        session.auth = by()
        running.keeper.full = is_full
        expected = ["ignored_auth"] * (by is Signer) + ["not_a_server_error"] * is_full
        excluded = [*UNKNOWABLE, *map(CHECKS.get_one, expected)]
        schema = schemathesis.openapi.from_dict(json.loads(running.door._openapi))
        (operation,) = [
            found.ok() for found in schema.get_all_operations() if found.ok().path == path
        ]

        drawn = operation.as_strategy()

        @given(case=st.one_of(drawn, drawn.map(likely)))
        @settings(
            max_examples=examples, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def check(case):
            case.call_and_validate(base_url=running.url, session=session, excluded_checks=excluded)

        check()


@pytest.mark.parametrize("path", OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(path):
    ask(path)


@pytest.mark.parametrize("path", OPERATIONS[:3])
def test_so_is_every_answer_to_a_sender_that_is_not_known(path):
    ask(path, Stranger)


@pytest.mark.parametrize("path", OPERATIONS[:3])
def test_so_is_every_answer_of_a_door_that_is_full(path):
    ask(path, is_full=True)


def changed(make, **changes):
    """What makes an answer, with a fault: other content, type, status or headers; None takes away."""

    def answer(*arguments, **options):
        found = make(*arguments, **options)
        content = json.loads(found.body) | changes.get("content", {})
        own = {k: v for k, v in found.headers.items() if k != "Content-Type"}
        return web.Response(
            status=changes.get("status", found.status),
            body=json.dumps({k: v for k, v in content.items() if v is not None}).encode(),
            content_type=changes.get("content_type", found.content_type),
            headers={} if changes.get("bare") else own,
        )

    return answer


def fails(*_arguments, **_options):
    raise ValueError("a bug")


FAULTS = {
    "a count is a text": ("/v1/events", Signer, "as_json", {"content": {"accepted": "1"}}),
    "where events are kept is not said": ("/v1/events", Signer, "as_json", {"content": {"kept": None}}),
    "they are kept in another place": ("/v1/events", Signer, "as_json", {"content": {"kept": "here"}}),
    "a status that is not described": ("/v1/events", Signer, "as_json", {"status": 200}),
    "a problem is no problem by its type": (
        "/v1/events", Stranger, "as_problem", {"content_type": "text/html"},
    ),
    "a problem has no title": ("/v1/events", Stranger, "as_problem", {"content": {"title": None}}),
    "an outcome that there is not": (
        "/v1/sources/shop", Signer, "as_json", {"content": {"outcome": "ok"}},
    ),
    "a negative size": ("/healthz", Signer, "as_json", {"content": {"spool_bytes": -1}}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_of_an_answer_is_found(monkeypatch, fault):
    path, by, name, changes = FAULTS[fault]
    module = source_door if "sources" in path else door_server
    monkeypatch.setattr(module, name, changed(getattr(module, name), **changes))
    with pytest.raises(FailureGroup):
        ask(path, by)


def test_a_planted_bug_is_found(monkeypatch):
    monkeypatch.setattr(CompiledSource, "cut", fails)
    with pytest.raises(FailureGroup, match="Server error"):
        ask("/v1/sources/cards")


def test_a_door_that_says_not_when_to_come_again_is_found(monkeypatch):
    monkeypatch.setattr(source_door, "as_problem", changed(source_door.as_problem, bare=True))
    with pytest.raises(FailureGroup, match="Retry-After"):
        ask("/v1/sources/cards", is_full=True)


@pytest.mark.parametrize("path", OPERATIONS[:3])
def test_a_door_that_lets_everybody_in_is_found(monkeypatch, path):
    monkeypatch.setattr(door_server.DoorServer, "_token_of", lambda *_: LET_IN[0])
    monkeypatch.setattr("streams.door.signatures._any_equal", lambda *_: True)
    with pytest.raises(FailureGroup, match="authentication"):
        ask(path, Stranger)
