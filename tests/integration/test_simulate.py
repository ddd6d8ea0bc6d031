"""The simulated shops against a real broker: what was reported is what is in the log."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from support.kafka import read_all
from support.methodologies import DEMO

from streams import clock
from streams.index.events import Rejected, decode_orders, decode_payments
from streams.index.stamps import IMPORTED
from streams.local.local_stack import LocalStack
from streams.records.kafka_topics import TopicsError, create_topics, wanted_topics
from streams.settings import load_settings
from streams.shops.simulate_options import ShopOptions
from streams.shops.simulate_profile import load_profile
from streams.shops.simulate_run import Span, open_shops, simulate

pytestmark = pytest.mark.stack
PROFILE = load_profile()
OPTIONS = ShopOptions(seed=5, rate_per_s=60, season="flat", duplicates=0.02, out_of_order=0.05)


def settings_for(bootstrap, unique):
    return load_settings(
        overrides={
            "kafka.bootstrap_servers": bootstrap,
            "topics.prefix": unique("ecindex"),
            "topics.orders": unique("orders"),
            "topics.payments": unique("payments"),
        }
    )


@pytest.fixture
def settings(stack, unique):
    return settings_for(stack.bootstrap, unique)


async def records_of(settings, topic):
    return await read_all(settings.kafka.bootstrap_servers, topic)


async def first_record(settings, ended):
    """Return when something was sent, or nothing more will be."""
    orders = settings.topics.orders
    while not ended() and not await records_of(settings, orders):  # noqa: ASYNC110 - a broker's log
        await asyncio.sleep(0.1)


async def simulated(settings, span, stopping=None):
    floor = open_shops(PROFILE, OPTIONS, span)
    return await simulate(settings, floor, span, stopping or asyncio.Event())


async def assert_log_holds(settings, expected):
    """Every expected event once, valid, with its own time, all of an order in one partition."""
    for name, decode in (("orders", decode_orders), ("payments", decode_payments)):
        records = await records_of(settings, getattr(settings.topics, name))
        sent = [event for event in expected if event.topic == name]
        assert Counter((r.key, r.value, r.timestamp) for r in records) == Counter(
            (event.key, event.value, event.timestamp_ms) for event in sent
        )
        assert not [e for e in decode([r.value for r in records]) if isinstance(e, Rejected)]
        by_key = {}
        for record in records:
            assert by_key.setdefault(record.key, record.partition) == record.partition


async def test_what_was_reported_is_in_the_log_and_is_what_the_core_says(settings):
    await create_topics(settings.kafka, wanted_topics(settings, inputs=3, arrival="producer"))
    start = clock.now_ms()
    span = Span(start, backfill_ms=20_000, for_ms=1_500)
    summary = await simulated(settings, span)

    floor = open_shops(PROFILE, OPTIONS, span)
    expected = floor.events_between(start - 20_000, start + 1_500)
    assert summary.events == len(expected) > 500
    kinds = Counter(msgspec.json.decode(event.value)["type"] for event in expected)
    assert summary.by_type == dict(sorted(kinds.items()))
    assert (summary.first_ms, summary.last_ms) == (
        expected[0].timestamp_ms,
        expected[-1].timestamp_ms,
    )
    await assert_log_holds(settings, expected)
    for record in await records_of(settings, settings.topics.orders):
        assert tuple(record.headers) == (IMPORTED if record.timestamp < start else ())


async def test_stopping_ends_it_and_flushes(settings):
    await create_topics(settings.kafka, wanted_topics(settings, inputs=1))
    stopping = asyncio.Event()
    running = asyncio.create_task(simulated(settings, Span(clock.now_ms()), stopping))
    await first_record(settings, running.done)
    stopping.set()
    summary = await running
    found = await records_of(settings, settings.topics.orders)
    assert len(found) == summary.by_type["order.placed"] > 0


async def test_history_needs_inputs_that_keep_the_producers_time(settings):
    await create_topics(settings.kafka, wanted_topics(settings, inputs=1, arrival="broker"))
    span = Span(clock.now_ms(), backfill_ms=1_000, for_ms=1)
    with pytest.raises(TopicsError, match="LogAppendTime"):
        await simulated(settings, span)


async def test_missing_inputs_are_named_at_once(settings):
    with pytest.raises(TopicsError, match="topics create --inputs"):
        await simulated(settings, Span(clock.now_ms()))


@pytest.mark.deep
async def test_a_broker_that_stalls_costs_no_event(tmp_path, cache_dir, unique):
    with LocalStack(tmp_path, cache_dir=cache_dir, with_redis=False) as local:
        settings = settings_for(local.bootstrap, unique)
        await create_topics(settings.kafka, wanted_topics(settings, inputs=2, arrival="producer"))
        span = Span(clock.now_ms(), for_ms=4_000)
        running = asyncio.create_task(simulated(settings, span))
        await asyncio.sleep(1)
        local.kafka.pause()
        await asyncio.sleep(1.5)
        local.kafka.resume()
        await running
        floor = open_shops(PROFILE, OPTIONS, span)
        expected = floor.events_between(span.start_ms, span.start_ms + 4_000)
        await assert_log_holds(settings, expected)


@pytest.mark.deep
async def test_a_simulator_that_was_stopped_sends_what_was_due_meanwhile(settings, stack):
    await create_topics(settings.kafka, wanted_topics(settings, inputs=2, arrival="producer"))
    argv = ["simulate", "--bootstrap", stack.bootstrap, "--json", "--for", "4", "--seed", "5"]
    argv += ["--rate", "60", "--season", "flat"]
    argv += ["--duplicates", "0.02", "--out-of-order", "0.05"]
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "ECINDEX_TOPICS__ORDERS": settings.topics.orders,
        "ECINDEX_TOPICS__PAYMENTS": settings.topics.payments,
        "ECINDEX_METHODOLOGY": str(DEMO),
    }
    process = await asyncio.create_subprocess_exec(
        "ecindex", *argv, env=environment, stdout=subprocess.PIPE
    )
    await first_record(settings, lambda: process.returncode is not None)
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    output, _ = await process.communicate()
    summary = msgspec.json.decode(output.splitlines()[-1])
    start = summary["start_ms"]
    floor = open_shops(PROFILE, OPTIONS, Span(start))
    expected = floor.events_between(start, start + 4_000)
    assert summary["events"] == len(expected)
    await assert_log_holds(settings, expected)


@pytest.mark.deep
async def test_a_second_signal_ends_it_although_the_broker_is_gone(tmp_path, cache_dir, unique):
    with LocalStack(tmp_path, cache_dir=cache_dir, with_redis=False) as local:
        settings = settings_for(local.bootstrap, unique)
        await create_topics(settings.kafka, wanted_topics(settings, inputs=1, arrival="producer"))
        environment = {
            "PATH": str(Path(sys.executable).parent),
            "ECINDEX_TOPICS__ORDERS": settings.topics.orders,
            "ECINDEX_TOPICS__PAYMENTS": settings.topics.payments,
            "ECINDEX_METHODOLOGY": str(DEMO),
        }
        argv = ["simulate", "--bootstrap", local.bootstrap, "--rate", "60", "--season", "flat"]
        process = await asyncio.create_subprocess_exec(
            "ecindex", *argv, env=environment, stderr=subprocess.PIPE
        )
        await first_record(settings, lambda: process.returncode is not None)
        local.kafka.pause()
        await asyncio.sleep(1)  # some events that will never be acknowledged
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        assert process.returncode is None, "the first one waits for acknowledgements"
        # Another one than the first, with which it would be one while that is not taken yet.
        process.send_signal(signal.SIGINT)
        _, message = await process.communicate()
        assert process.returncode == 1
        assert b"second signal" in message
        local.kafka.resume()
