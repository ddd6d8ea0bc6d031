"""Who is answered at the door's port, and how it is watched; where events go is a stub here."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from types import SimpleNamespace

import aiohttp
import pytest
from multidict import CIMultiDict
from support.doors import JSON, TOKEN, order, stub_door

from streams.door.door_responses import RefusedError
from streams.door.request_limits import UNDER_WAY_BYTES_MAX, RequestLimits
from streams.settings import DoorSettings

HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": JSON}


@pytest.fixture
def door_of():
    return stub_door


@pytest.mark.parametrize(
    ("peer", "headers", "taken"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("10.0.0.7", {}, True),
        ("10.0.0.7", {"X-Forwarded-Proto": "https"}, True),
        ("10.0.0.7", {"X-Forwarded-Proto": "http"}, False),
        ("10.0.1.7", {"X-Forwarded-Proto": "https"}, False),
        ("fe80::1%eth0", {}, False),
        (None, {}, False),
        ("127.0.0.1", {"Origin": "http://127.0.0.1"}, False),
        ("127.0.0.1", {"Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_a_token_is_never_taken_in_the_clear_from_a_network_nor_from_a_page(peer, headers, taken):
    limits = RequestLimits(DoorSettings(host="0.0.0.0", trusted_proxies="10.0.0.0/24"))
    request = SimpleNamespace(remote=peer, headers=CIMultiDict(headers))
    if taken:
        limits.check_way(request)
    else:
        with pytest.raises(RefusedError) as caught:
            limits.check_way(request)
        assert caught.value.problem.status == 403


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


async def test_a_door_with_a_certificate_speaks_tls_and_nothing_else(door_of, certificate):
    cert, key = certificate
    door, keeper = door_of(tls_certificate_file=cert, tls_key_file=key)
    port = await door.start()
    try:
        trusted = ssl.create_default_context(cafile=cert)
        async with aiohttp.ClientSession(headers=HEADERS) as client:
            url = f"{door.scheme}://127.0.0.1:{port}/v1/events"
            async with client.post(url, json=order("1"), ssl=trusted) as answer:
                assert answer.status == 202
            with pytest.raises(aiohttp.ClientError):
                await client.post(url.replace("https", "http"), json=order("2"))
    finally:
        await door.stop()
    assert [json.loads(each.value)["event_id"] for each in keeper.events] == ["1"]


async def test_a_request_under_way_is_answered_when_the_door_ends(door_of):
    door, keeper = door_of()
    keeper.let.clear()
    port = await door.start()
    async with aiohttp.ClientSession(headers=HEADERS) as client:
        url = f"http://127.0.0.1:{port}/v1/events"
        asked = asyncio.create_task(client.post(url, json=order("1")))
        while not door._parts.keeper.let._waiters:  # noqa: ASYNC110 - the handler's wait
            await asyncio.sleep(0.01)
        ending = asyncio.create_task(door.stop())
        await asyncio.sleep(0.05)
        assert not ending.done()
        with pytest.raises(aiohttp.ClientError):
            await client.post(url, json=order("2"))
        keeper.let.set()
        assert (await asked).status == 202
        await ending
    assert len(keeper.events) == 1


async def test_what_is_no_path_of_the_door_is_a_problem_too(door_of):
    door, _ = door_of()
    port = await door.start()
    try:
        async with aiohttp.ClientSession(headers=HEADERS) as client:
            found = []
            for method, path in (("GET", "/v1/events"), ("POST", "/v2"), ("GET", "/metrics")):
                async with client.request(method, f"http://127.0.0.1:{port}{path}") as answer:
                    assert answer.content_type == "application/problem+json"
                    found.append(((await answer.json())["status"], answer.status))
            headers = {"Host": "events.shop.example"}
            async with client.get(f"http://127.0.0.1:{port}/healthz", headers=headers) as answer:
                found.append(answer.status)
    finally:
        await door.stop()
    assert found == [(405, 405), (404, 404), (404, 404), 421]


async def test_bodies_that_are_held_at_a_time_are_bounded(door_of):
    door, keeper = door_of()
    port = await door.start()
    try:
        async with aiohttp.ClientSession(headers=HEADERS) as client:
            url = f"http://127.0.0.1:{port}/v1/events"
            async with client.post(url, json=order("1")) as answer:
                assert answer.status == 202
            door._parts.limits.under_way_bytes = UNDER_WAY_BYTES_MAX
            async with client.post(url, json=order("2")) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            door._parts.limits.under_way_bytes = 0
            keeper.let.clear()
            asked = asyncio.create_task(client.post(url, json=order("3")))
            while not keeper.let._waiters:  # noqa: ASYNC110 - the handler's wait
                await asyncio.sleep(0.01)
            assert door._parts.limits.under_way_bytes > 100, "held until the events are kept"
            keeper.let.set()
            assert (await asked).status == 202
            assert door._parts.limits.under_way_bytes == 0
    finally:
        await door.stop()
