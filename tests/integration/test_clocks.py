"""A worker whose clock is wrong, and steps: every value is right, and the worker says what is wrong."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support import worker_child
from support.flow_harness import order, payment
from support.installation import Installation
from support.kafka import alter_topic
from support.reference import to_ms

from streams.clock import now_ms
from streams.worker.stops import ExitCode

pytestmark = pytest.mark.stack
HOUR_MS = 3_600_000
PROGRAM = (sys.executable, Path(worker_child.__file__), "--patch", "clock_of_a_file")


def not_ready(address):
    """Why the worker is not ready; empty when it is."""
    try:
        with urllib.request.urlopen(f"{address.rpartition('/')[0]}/readyz", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()


async def test_a_clock_an_hour_off_moves_no_value_and_its_worker_is_not_ready(
    stack, unique, tmp_path
):
    installed = Installation(stack, unique("clock"), tmp_path, inputs=1, arrival="broker")
    await installed.create_topics()
    error = tmp_path / "ahead"
    error.write_text(str(-HOUR_MS))  # behind from the start
    child = installed.start_worker(PROGRAM, CLOCK_AHEAD=str(error))

    async def says(part):
        address = installed.metrics_of(child)
        if address is None:
            return False
        why = await asyncio.to_thread(not_ready, address)
        return part in why if part else not why

    sent = 0
    async with installed.producer() as producer:
        for ahead_ms, part in (
            (-HOUR_MS, "behind"),
            (HOUR_MS, "ahead of"),
            (-HOUR_MS, "behind"),
            (0, ""),
        ):
            error.write_text(str(ahead_ms))
            await installed.until(lambda part=part: says(part))
            for _ in range(3):
                sent += 1
                await installed.send(producer, "orders", order(f"o{sent}", now_ms()))
                await installed.send(producer, "payments", payment(f"p{sent}", now_ms()))
            await producer.flush()
            sent_ms = now_ms()

            async def shown(sent_ms=sent_ms):
                values = await installed.redis_values("PK")
                as_of_ms = to_ms(values["@as_of"]) if "@as_of" in values else 0
                published_ms = to_ms(values["@published_at"]) if "@published_at" in values else 0
                assert max(as_of_ms, published_ms) <= now_ms(), values
                return as_of_ms >= sent_ms

            await installed.until(shown)
            days = await installed.redis_values("PK", "days")
            assert sum(int(days[name]) for name in days if "orders:market:all:" in name) == sent
    report = await installed.audit()
    assert report.equal, "\n".join(report.lines())
    installed.stop()


async def test_a_worker_ends_where_the_broker_does_not_stamp_the_partials(stack, unique, tmp_path):
    installed = Installation(stack, unique("clock"), tmp_path, inputs=1)
    await installed.create_topics()
    partials = installed.settings.topics.partials
    producers = {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
    await alter_topic(stack.bootstrap, partials, producers)
    child = installed.start_worker()
    assert await asyncio.to_thread(child.wait, 60) == ExitCode.USAGE
    assert f"{partials}: message.timestamp.type must be LogAppendTime" in child.log_tail(60)
    assert "`ecindex topics check` prints the command" in child.log_tail(60)
    code, out, _ = await installed.command("topics", "check")
    assert code == 1
    assert f"{partials} message.timestamp.type=LogAppendTime" in out
