"""A connection that broke a moment ago is not written to, which under uvloop ended aiokafka's tasks.

And whatever ends the task that asks for metadata ends the worker.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import BrokerMetadata

from streams.worker.answers import Answers
from streams.worker.broken_connections import reopen_broken
from streams.worker.consumer_thread import ChunkConsumerThread
from streams.worker.stops import ExitCode, StopSwitch

pytestmark = pytest.mark.stack
uvloop = pytest.importorskip("uvloop")
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which a closed socket sends a reset, as the kernel does for a killed broker."""


class Relay:
    """Passes bytes on between clients and a broker until it resets the connections that there are."""

    def __init__(self, bootstrap):
        self._broker = bootstrap.split(":")
        self._clients = []

    async def listen(self):
        server = await asyncio.start_server(self._on_client, "127.0.0.1", 0)
        return server.sockets[0].getsockname()

    async def _on_client(self, reader, writer):
        self._clients.append(writer)
        from_broker, to_broker = await asyncio.open_connection(*self._broker)
        await asyncio.gather(self._pass(reader, to_broker), self._pass(from_broker, writer))

    async def _pass(self, reader, writer):
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    def reset(self):
        for writer in self._clients:
            linger = (socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.get_extra_info("socket").setsockopt(*linger)
            writer.transport.abort()


async def brokers_found(bootstrap, prepare):
    """Numbers of the brokers that answer in the moment after a connection broke."""
    client, relay = AIOKafkaClient(bootstrap_servers=bootstrap), Relay(bootstrap)
    prepare(client)
    await client.bootstrap()
    try:
        client.cluster._brokers[1] = BrokerMetadata(1, *await relay.listen(), None)
        connection = await client._get_conn(1)
        relay.reset()
        await connection._closed_fut  # uvloop knows; aiokafka hears of it with the loop's next turn
        answer = await (await client._get_conn(1)).send(MetadataRequest([]))
        return [each[0] for each in answer.brokers]
    finally:
        await client.close()


def test_it_is_opened_anew(stack):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(brokers_found(stack.bootstrap, reopen_broken)) == [1]


def test_without_that_uvloop_raises_what_aiokafka_does_not_expect(stack):
    """When this fails, aiokafka or uvloop has mended it, and worker/broken_connections.py can go."""
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(RuntimeError, match="the handler is closed"),
    ):
        runner.run(brokers_found(stack.bootstrap, lambda client: None))


async def test_a_worker_that_can_ask_for_no_metadata_ends(stack, unique):
    switch = StopSwitch()
    async with AIOKafkaConsumer(bootstrap_servers=stack.bootstrap, group_id=unique()) as consumer:
        thread = SimpleNamespace(
            _ensure_consumer=lambda: consumer, _switch=switch, _answers=Answers(3000)
        )
        ChunkConsumerThread._check_background_tasks(thread)
        assert switch.reason is None
        consumer._client._sync_task.cancel()
        await asyncio.wait({consumer._client._sync_task})
        ChunkConsumerThread._check_background_tasks(thread)
        consumer._client._sync_task = None
    assert switch.reason.code is ExitCode.CRASHED
    assert switch.reason.reason == "asking for metadata has ended: None"


async def test_a_worker_of_which_the_group_hears_nothing_ends(stack, unique):
    switch, answers = StopSwitch(), Answers(3000)
    for at_ms in range(0, 62_000, 1000):
        answers.fetched(at_ms)
    async with AIOKafkaConsumer(bootstrap_servers=stack.bootstrap, group_id=unique()) as consumer:
        thread = SimpleNamespace(
            _ensure_consumer=lambda: consumer, _switch=switch, _answers=answers
        )
        ChunkConsumerThread._check_background_tasks(thread)
    assert switch.reason.code is ExitCode.AWAY
    assert "no heartbeat was answered for 61000 ms, while fetches were" in switch.reason.reason
