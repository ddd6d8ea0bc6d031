"""Translators for tests: a source of WooCommerce's orders, what it must become, and one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaProducer
from support.kafka import create_topic, read_partitions
from xxhash import xxh3_64_intdigest

from streams.records.kafka_topics import create_topics, existing_partitions, plan_topics
from streams.settings import load_sources
from streams.translate.order_state import advance
from streams.translate.read_progress import PROGRESS_KEY, decode_progress
from streams.translate.refused_records import RefusedRecord
from streams.translator.readings import readings_of
from streams.translator.translator_process import translate
from streams.worker import names

EXAMPLE = Path(__file__).parents[2] / "config/examples/sources/woocommerce.toml"
DEADLINE_S = 150
"""So long that only a failure reaches it."""


def source_file(directory, topics, *, keyed=False, name="woocommerce"):
    """The example of WooCommerce, reading these topics."""
    where = f"topics = {json.dumps(topics)}\nkeyed_by_order = {json.dumps(keyed)}\n"
    text = EXAMPLE.read_text().replace("[where]\n", f"[where]\n{where}")
    text = text.replace('name = "woocommerce"', f'name = "{name}"')
    path = directory / "-".join(topics) / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


async def create_all(settings, partitions=3):
    """The topics of the sources, and all of an installation."""
    topics = [topic for source in load_sources(settings) for topic in source.topics]
    for topic in topics:
        await create_topic(settings.kafka.bootstrap_servers, topic, partitions)

    # A broker may not know yet what its controller has created, and the plan is made of what it knows.
    async def known():
        return {*topics} <= (await existing_partitions(settings.kafka)).keys()

    await until(known)
    await create_topics(settings.kafka, await plan_topics(settings, inputs=3, arrival="broker"))


async def deliver(settings, topic, records):
    """Write records, (key, value), as a shop does: those of one order to one partition, in order."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, acks="all", linger_ms=5
    ) as producer:
        for key, value in records:
            await producer.send(topic, value, key=key)
        await producer.flush()


def expected(settings, records):
    """What the pure translation makes of values: (input, key, event) sorted, and what it refuses."""
    (source,) = load_sources(settings)
    states, events, refused = {}, [], []
    for value in records:
        read = source.compiled.read(value)
        if isinstance(read, RefusedRecord):
            refused.append(read)
        if not isinstance(read, list):
            continue
        (reported,) = read
        digest = xxh3_64_intdigest(value)
        advanced = advance(source.name, states.get(reported.id), reported, digest)
        states[reported.id] = advanced.state
        events += [(event.topic, event.key, event.value) for event in advanced.events]
    return sorted(events), refused


async def records_of(settings, topic):
    """The committed records of a topic, by partition."""
    bootstrap = settings.kafka.bootstrap_servers
    count = (await existing_partitions(settings.kafka))[topic]
    return (await read_partitions(bootstrap, topic, count))[0]


async def stated(settings):
    """What is in the inputs, as ``expected`` has it."""
    return sorted(
        [
            (name, record.key, record.value)
            for name in ("orders", "payments")
            for found in (await records_of(settings, getattr(settings.topics, name))).values()
            for record in found
        ]
    )


async def is_at_the_end(settings):
    """Whether all that the topics of the sources hold is translated."""
    for reading in readings_of(settings, load_sources(settings)):
        there = await records_of(settings, reading.topic)
        changelog = names.translated_topic(settings.topics.prefix, reading.topic)
        for partition, found in (await records_of(settings, changelog)).items():
            progress = [each.value for each in found if each.key == PROGRESS_KEY]
            ends = [each.offset + 1 for each in there[partition]]
            if not progress or decode_progress(progress[-1]).next_offset < max(ends, default=0):
                return False
    return True


async def until(condition):
    """Wait for an awaited condition that must come true."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await condition()):  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.1)
    return found


async def samples(url):
    """Samples of a metrics port, by name and labels as they are written."""
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        lines = (await answer.text()).splitlines()
    rows = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


class Translator:
    """A translator in this process."""

    def __init__(self, url, task, stopped):
        self.url = url
        self._task = task
        self._stopped = stopped

    async def sample(self, name, **labels):
        """The sum of samples of a name and some labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for found, value in (await samples(self.url)).items()
            if found.partition("{")[0] == f"ecindex_source_{name}"
            and all(each in found for each in wanted)
        )

    async def stop(self):
        """End in order."""
        self._stopped.set()
        await self._task


@contextlib.asynccontextmanager
async def translating(settings):
    """A translator that runs while within, or until it is stopped."""
    stopped, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:  # its failure ends what waits for it
        task = group.create_task(translate(settings, stopped, listening.set_result))
        translator = Translator(await listening, task, stopped)
        yield translator
        await translator.stop()
