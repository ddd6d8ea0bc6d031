"""`ecindex notify` between real servers (Redis, Alertmanager with our routes) and local vendors."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from functools import partial

import aiohttp
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs
from support.command import Command
from support.local_vendors import variables
from support.methodologies import DEMO
from support.notifications import alert, body, notification
from support.notifying import settings_for, vendors
from support.prometheus import program
from support.rig import until
from support.shopfloor import Floor
from support.vendors import shown

from streams import clock
from streams.index.instants import parse_instant
from streams.index.panes import MINUTE_MS, rfc3339
from streams.local.debian_packages import ALERTMANAGER, DebianPackages
from streams.local.local_stack import LocalStack
from streams.local.monitoring import AlertmanagerServer
from streams.notify.alert_group import decode_group
from streams.notify.notify_process import notifying
from streams.publish.keys import sent_key
from streams.publish.sent_records import SENT_KEPT_MS, SENT_MAX, read_sent
from streams.reader import DEFAULT_PREFIX
from streams.settings import load_settings

pytestmark = pytest.mark.stack

SHIFT = {"direction": "down", "ratio": 0.002, "lower": 0.0, "upper": 0.01, "evidence": 1.4,
         "observed": 10.0, "expected": 4_900.0}  # fmt: skip
LIMIT_S = 60
FLUSH_S = 12
"""Alertmanager tries for 10 s to get rid of what fired when it began to try."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LocalStack(tmp_path_factory.mktemp("redis"), with_kafka=False) as local:
        yield local.redis


def settings_of(server, directory):
    own = {"redis.url": server.url, "data_dir": str(directory), "methodology": DEMO}
    return load_settings(None, own)


async def test_a_message_says_how_it_is_now_and_that_redis_does_not_answer(server, tmp_path):
    now_ms = clock.now_ms()
    floor = Floor(server.url, expecting=True)
    await floor.publish(now_ms // 5_000 * 5_000)
    async with vendors() as found, aiohttp.ClientSession() as client:
        shift = SHIFT | {"start": rfc3339(now_ms // MINUTE_MS * MINUTE_MS - 5 * MINUTE_MS)}
        await floor.store._redis.hset(floor.keys.shifts, "market:all", json.dumps(shift))
        settings = settings_of(server, tmp_path)
        settings = settings.model_copy(update={"notify": settings_for(found)})
        async with notifying(settings) as running:

            async def send(*alerts):
                url = f"http://127.0.0.1:{running.port}/alerts/slack,webhook"
                async with client.post(url, data=body(notification(*alerts))) as answer:
                    assert answer.status == 200, await answer.text()

            await send()
            server.stop()
            await send(alert(firing=False))
    await floor.close()
    began, over = found.webhook.taken
    assert began["began"] == shift["start"]
    assert began["size"].endswith("10 orders counted since then, 4,900 expected")
    assert began["now"].startswith("still so: ")
    assert "orders in 5 minutes" in began["now"]
    assert began["affected"] == "the whole market"
    assert over["began"] == began["began"]
    assert over["now"].startswith("how it is now is not known: Redis does not answer")
    assert "Over: PK" in shown(found.slack.updated[0])["plain_text"]


async def test_when_people_were_told_is_in_redis_again_when_it_was_emptied(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr("streams.notify.sent_publisher.WRITTEN_EVERY_S", 0.05)
    server.launch()
    await asyncio.to_thread(server.wait_ready)
    key, name = sent_key("PK", DEFAULT_PREFIX), "PK-20260102T0437-down"
    async with vendors() as found, Redis.from_url(server.url, decode_responses=True) as client:

        async def written():
            return read_sent(await client.hgetall(key)).get(name)

        settings = settings_of(server, tmp_path)
        settings = settings.model_copy(update={"notify": settings_for(found)})
        before_ms = clock.now_ms()
        old = {
            f"PK-202501{day:02}T{hour:02}00-up": "{}" for day in range(1, 5) for hour in range(24)
        }
        await client.hset(key, mapping=old)
        async with notifying(settings) as running:
            alerts = [alert(incident=name), alert(incident="XX-20260102T0437-down", market="XX")]
            group = decode_group(body(notification(*alerts)))
            assert await running.delivery.deliver(group, ["webhook", "mail"]) == []
            sent = await until(written, LIMIT_S, "written")
            assert sorted(sent.receivers) == ["mail", "webhook"]
            assert before_ms <= parse_instant(sent.first) <= clock.now_ms()
            held = await client.hgetall(key)
            assert (len(held), min(held)) == (SENT_MAX, sorted(old)[1 - SENT_MAX])
            assert 0 < await client.pttl(key) <= SENT_KEPT_MS
            assert await client.keys("*XX*") == []
            await client.flushall()
            assert await until(written, LIMIT_S, "written again") == sent
        for secret, warned in ((None, 1), ("s" * 20, 0)):
            answers = settings.answers.model_copy(update={"pagerduty_secret": secret})
            with capture_logs() as logged:
                async with notifying(settings.model_copy(update={"answers": answers})):
                    pass
            events = [each["event"] for each in logged]
            assert events.count("pagerduty_not_heard") == warned
        await client.flushall()
        async with notifying(settings):
            assert await until(written, LIMIT_S, "another process knows it") == sent


class Quick(AlertmanagerServer):
    """Alertmanager with the routes of config/ that waits for a second where production waits minutes."""

    def _prepare(self):
        command = super()._prepare()
        file = self.directory / "alertmanager.yml"
        text = file.read_text().replace("group_wait: 15s", "group_wait: 100ms")
        for interval in ("2m", "15s"):
            text = text.replace(f"group_interval: {interval}", "group_interval: 1s")
        file.write_text(text)
        return command


def receivers_in(file):
    """Receivers that are noted to have a message."""
    if not file.exists():
        return set()
    incidents = json.loads(file.read_text())["incidents"]
    return {name for incident in incidents for name in incident["sent"]}


@pytest.mark.deep
async def test_alertmanager_comes_again_until_everybody_has_it_and_nobody_has_it_twice(
    cache_dir, tmp_path
):
    program(cache_dir, ALERTMANAGER)  # skips where there is none
    async with vendors() as found:
        env = variables(settings_for(found, mail_server=None)) | {"ECINDEX_DATA_DIR": str(tmp_path)}
        found.slack.next_answers = [(200, {}, {"ok": False, "error": "not_in_channel"})] * 400
        with Command("notify", "--json", env=env) as first:
            url = (await asyncio.to_thread(first.line))["alerts"]
            port = url.rpartition(":")[2].partition("/")[0]
            manager = Quick(tmp_path / "am", DebianPackages(cache_dir / "debian"), notify=url)
            manager.launch()
            try:
                await asyncio.to_thread(manager.wait_ready)
                now = clock.now_ms()
                fired = alert() | {"startsAt": rfc3339(now), "endsAt": rfc3339(now + 3_600_000)}

                async def post(sent):
                    content = [
                        {k: sent[k] for k in ("labels", "annotations", "startsAt", "endsAt")}
                    ]
                    request = urllib.request.Request(
                        f"{manager.url}/api/v2/alerts",
                        json.dumps(content).encode(),
                        {"Content-Type": "application/json"},
                    )
                    await asyncio.to_thread(partial(urllib.request.urlopen, request, timeout=10))

                await post(fired)
                noted = tmp_path / "notify" / "sent.json"
                await until(
                    lambda: {"webhook", "pagerduty"} <= receivers_in(noted), LIMIT_S, "noted"
                )
                first.process.kill()
                first.process.wait()
                found.slack.next_answers = []
                now = clock.now_ms()
                short = alert(market="BD") | {
                    "startsAt": rfc3339(now),
                    "endsAt": rfc3339(now + 1_000),
                }
                await post(short)
                await asyncio.sleep(FLUSH_S)
                with Command("notify", "--port", port, "--json", env=env) as second:
                    await asyncio.to_thread(second.line)
                    await until(lambda: found.slack.posted, LIMIT_S, "Slack has it")
                    await post(fired | {"endsAt": rfc3339(clock.now_ms() - 1_000)})
                    await until(lambda: len(found.slack.posted) == 2, LIMIT_S, "it is over")
                    code, _, _ = await asyncio.to_thread(second.end, signal.SIGTERM)
                    assert code == 0
            finally:
                manager.stop()
    assert [taken["kind"] for taken in found.webhook.taken] == ["began", "over"]
    assert {taken["market"] for taken in found.webhook.taken} == {"PK"}, (
        "Alertmanager does not tell what began and ended meanwhile: the runbook says so"
    )
    actions = [event["event_action"] for event in found.pagerduty.events]
    assert actions == ["trigger", "resolve"]
    assert [bool(each.get("thread_ts")) for each in found.slack.posted] == [False, True]
