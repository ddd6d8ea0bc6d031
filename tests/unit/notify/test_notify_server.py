"""The port that Alertmanager posts to: what it answers decides whether Alertmanager comes again."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from support.notifications import body, notification
from support.notifying import delivering, vendors

from streams.notify import notify_server
from streams.notify.notify_server import NotifyServer
from streams.notify.sent_store import INCIDENTS_MAX, SentMessage, SentStore


@pytest.fixture
async def found():
    async with vendors() as local:
        yield local


@contextlib.asynccontextmanager
async def serving(found, directory, *, token=None, receivers=("webhook", "pagerduty")):
    async with delivering(found, directory) as running, aiohttp.ClientSession() as client:
        server = NotifyServer(
            running.delivery,
            receivers,
            running.metrics,
            host="127.0.0.1",
            port=0,
            names=(),
            token=token,
        )
        url = f"http://127.0.0.1:{await server.start()}"

        async def ask(path, data=None, **headers):
            method = "GET" if data is None else "POST"
            async with client.request(method, url + path, data=data, headers=headers) as answer:
                return answer.status, await answer.text()

        ask.port = server._server.port
        try:
            yield ask
        finally:
            await server.stop()


BODY = body(notification())


async def test_taken_by_all_is_200_and_all_is_what_the_address_names(found, tmp_path):
    async with serving(found, tmp_path) as ask:
        assert await ask("/alerts/pagerduty", BODY) == (200, "ok\n")
        assert (len(found.pagerduty.events), len(found.webhook.taken)) == (1, 0)
        assert await ask("/alerts", BODY) == (200, "ok\n")
        assert (len(found.pagerduty.events), len(found.webhook.taken)) == (1, 1)
        _, text = await ask("/metrics")
        assert 'ecindex_notify_messages_total{outcome="sent",receiver="webhook"} 1.0' in text
        assert [await ask(path) for path in ("/livez", "/readyz")] == [(200, "ok\n")] * 2


async def test_what_one_has_not_taken_is_503_with_who_must_act(found, tmp_path):
    found.webhook.next_answers = [(403, {}, "who\x1b are you?")]
    async with serving(found, tmp_path) as ask:
        status, text = await ask("/alerts", BODY)
        assert status == 503
        assert text == (
            "webhook: it answered 403: who\N{REPLACEMENT CHARACTER} are you?; "
            "look at the log of the webhook's owner (notify.webhook_url)\n"
        )
        assert await ask("/alerts", BODY) == (200, "ok\n")


async def test_who_is_not_set_is_not_told_and_alertmanager_keeps_it(found, tmp_path):
    async with serving(found, tmp_path) as ask:
        status, text = await ask("/alerts/slack,webhook", BODY)
        assert status == 503
        assert "asked for slack, the settings notify.* name webhook, pagerduty" in text
        assert found.webhook.taken == []
    async with serving(found, tmp_path, receivers=()) as ask:
        status, text = await ask("/alerts", BODY)
        assert (status, text[:16]) == (503, "nobody is told: ")
        assert (await ask("/readyz"))[0] == 503


async def test_a_token_is_asked_for_and_no_page_may_send(found, tmp_path):
    async with serving(found, tmp_path, token="secret") as ask:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer sécret"}):
            assert (await ask("/alerts", BODY, **headers))[0] == 401
        given = {"Authorization": "Bearer secret"}
        assert (await ask("/alerts", BODY, Origin="https://x.example", **given))[0] == 401
        assert (await ask("/alerts", BODY, Host="x.example", **given))[0] == 421
        assert (await ask("/alerts", BODY, **given))[0] == 200


async def test_a_header_that_is_no_text_is_a_wrong_token(found, tmp_path):
    async with serving(found, tmp_path, token="secret") as ask:
        reader, writer = await asyncio.open_connection("127.0.0.1", ask.port)
        writer.write(
            b"POST /alerts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xe9\r\n\r\n"
        )
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()
    async with serving(found, tmp_path) as ask:
        status, text = await ask("/alerts/%ff%1b", BODY)
        assert (status, text[:32]) == (503, "nobody is told: asked for %FF\ufffd, ")


async def test_a_message_that_does_not_come_whole_is_asked_for_again(found, tmp_path, monkeypatch):
    monkeypatch.setattr("streams.publish.http_server.BODY_S", 0.01)

    async def dribbles():
        yield BODY[:10]
        await asyncio.Event().wait()

    async with serving(found, tmp_path) as ask:
        assert await ask("/alerts", dribbles()) == (503, "expected the whole body within 0.01 s\n")


async def test_whoever_only_tries_the_port_is_logged_and_pages_nobody(found, tmp_path, capsys):
    async with serving(found, tmp_path, token="secret") as ask:
        for path in ("/alerts", "/wp-login.php"):
            await ask(path, BODY, Authorization="Bearer guess")
        _, before = await ask("/metrics")
        await ask("/alerts", BODY, **{"User-Agent": "Alertmanager/0.28.0"})
        _, after = await ask("/metrics")
    counter = 'ecindex_notify_refused_total{status="%d"} %d.0\n'
    assert counter % (401, 0) in before
    assert counter % (404, 0) in before
    assert counter % (401, 1) in after, "a message that nobody has got"
    assert capsys.readouterr().out.count("notification_refused") == 3


async def test_what_is_no_notification_is_not_asked_for_again(found, tmp_path, monkeypatch):
    monkeypatch.setattr(notify_server, "BODY_BYTES_MAX", 10_000)
    async with serving(found, tmp_path) as ask:
        assert (await ask("/alerts", b"{"))[0] == 400
        assert (await ask("/alerts", b"x" * 20_000))[0] == 413


async def test_what_is_refused_is_counted_and_said(found, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notify_server, "BODY_BYTES_MAX", 10_000)
    given = {"Authorization": "Bearer secret"}
    async with serving(found, tmp_path, token="secret") as ask:

        async def bug(*_group):
            raise KeyError("a bug")

        asked = [
            (401, "/alerts", BODY, {"User-Agent": "Alertmanager/0.28.0"}),
            (400, "/alerts", b"{", given),
            (413, "/alerts", b"x" * 20_000, given),
            (421, "/alerts", BODY, given | {"Host": "x.example"}),
            (404, "/alert", BODY, given),
            (503, "/alerts/slack", BODY, given),
        ]
        for status, path, data, headers in asked:
            assert (await ask(path, data, **headers))[0] == status
        found.webhook.next_answers = [(403, {}, "no")]
        assert (await ask("/alerts", BODY, **given))[0] == 503
        monkeypatch.setattr("streams.notify.delivery.Delivery.deliver", bug)
        assert (await ask("/alerts", BODY, **given))[0] == 500
        assert (await ask("/nothing"))[0] == 404
        _, text = await ask("/metrics")
    statuses = (400, 401, 404, 413, 421, 500, 503)
    for status in statuses:
        assert f'ecindex_notify_refused_total{{status="{status}"}} 1.0\n' in text
    assert 'ecindex_notify_refused_total{status="405"} 0.0\n' in text
    said = capsys.readouterr().out
    assert said.count("notification_refused") == len(statuses)
    assert "expected notify.token as bearer token" in said


async def test_more_at_a_time_than_is_bearable_come_again(found, tmp_path, monkeypatch):
    monkeypatch.setattr(notify_server, "UNDER_WAY_MAX", 1)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def before():
        entered.set()
        await leave.wait()

    found.webhook.before = before
    async with serving(found, tmp_path, receivers=("webhook",)) as ask:
        first = asyncio.create_task(ask("/alerts", BODY))
        await entered.wait()
        assert (await ask("/alerts", BODY))[0] == 503
        monkeypatch.setattr(notify_server, "UNDER_WAY_MAX", 2)
        second = asyncio.create_task(ask("/alerts", BODY))
        leave.set()
        assert [await first, await second] == [(200, "ok\n")] * 2
    assert len(found.webhook.taken) == 1


async def test_what_was_sent_is_bounded_and_open_incidents_are_kept_longest(tmp_path):
    store = SentStore(tmp_path)
    for number in range(INCIDENTS_MAX + 10):
        incident = store.incident(f"s{number}", number, firing=True)
        incident.sent["slack"] = SentMessage("a", number, {"ts": "1"})
        incident.closed = number >= 100
    await store.save()
    after = SentStore(tmp_path)
    assert len(after._incidents) == INCIDENTS_MAX
    assert after.incident("s0", 0, firing=True).name == "s0-1"
    assert after.incident("s100", 0, firing=True).sent == {}, "closed for longest"


async def test_a_file_that_cannot_be_read_is_moved_away_and_one_that_cannot_be_written_is_said(
    tmp_path, capsys
):
    (tmp_path / "notify").mkdir()
    (tmp_path / "notify" / "sent.json").write_text("{")
    store = SentStore(tmp_path)
    assert (tmp_path / "notify" / "sent.unreadable").exists()
    (tmp_path / "notify" / "sent.partial").mkdir()
    store.incident("s", 0, firing=True)
    await store.save()
    assert "sent_not_kept" in capsys.readouterr().out
