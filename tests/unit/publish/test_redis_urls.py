"""Each form of an address is taken apart, or refused with the forms that there are."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import pytest
import redis
from redis.exceptions import (
    AuthenticationError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    SlotNotCoveredError,
)

from streams.publish.redis_clients import (
    REDIS_ERRORS,
    advice,
    async_client,
    close_client,
    in_words,
    is_cluster,
    is_refusal,
    sync_client,
)
from streams.publish.redis_store import MAY_WRITE, SCRIPT
from streams.publish.redis_urls import Deployment, RedisAddress, parse_redis_url

ADDRESSES = {
    "redis://h/0": RedisAddress(Deployment.SINGLE, tls=False),
    "rediss://h:1/0": RedisAddress(Deployment.SINGLE, tls=True),
    "unix:///run/redis.sock": RedisAddress(Deployment.SINGLE, tls=False),
    "redis+sentinel://a,b:1/mymaster": RedisAddress(
        Deployment.SENTINEL, tls=False, nodes=(("a", 26379), ("b", 1)), service="mymaster"
    ),
    "rediss+sentinel://[::1]:5/my-master/3": RedisAddress(
        Deployment.SENTINEL, tls=True, nodes=(("::1", 5),), service="my-master", db=3
    ),
    "redis+cluster://a:7000,b,[::1]": RedisAddress(
        Deployment.CLUSTER, tls=False, nodes=(("a", 7000), ("b", 6379), ("::1", 6379))
    ),
    "rediss+cluster://a/0": RedisAddress(Deployment.CLUSTER, tls=True, nodes=(("a", 6379),)),
}
REFUSED = {
    "http://a": "redis+sentinel",
    "redis+sentinel://a:1": "name of the master",
    "redis+sentinel://a:1/": "name of the master",
    "redis+sentinel://a:1/m/x": "name of the master",
    "redis+sentinel:///m": "redis+cluster",
    "redis+sentinel://a:0/m": "'a:0' is no HOST:PORT",
    "redis+sentinel://a:1,/m": "'' is no HOST:PORT",
    "redis+cluster://user:pw@a:1": "is no HOST:PORT",
    "redis+cluster://a:1/2": "database 0 only",
    "redis+cluster://a:1?x=1": "redis+cluster",
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_address_is_taken_apart(url):
    assert parse_redis_url(url) == ADDRESSES[url]


@pytest.mark.parametrize("url", REFUSED)
def test_another_text_is_refused_with_what_was_expected(url):
    with pytest.raises(ValueError, match=re.escape(REFUSED[url])):
        parse_redis_url(url)


def test_a_refusal_concerns_this_client_alone():
    in_script = ResponseError("ACL failure in script: User u has no permissions to run the 'hset'")
    moved = MovedError("3999 127.0.0.1:7001")
    own = [AuthenticationError("x"), NoPermissionError("x"), in_script, moved]
    assert all(map(is_refusal, own))
    assert "redis+cluster://" in advice(moved)
    assert "redis.password" in advice(own[0])
    everybody = [ReadOnlyError("x"), OutOfMemoryError("x"), OSError("x"), ResponseError("ERR x")]
    assert not any(map(is_refusal, everybody))
    assert "READONLY" in advice(everybody[0])
    assert advice(everybody[1]) == ""


NOBODY = [
    "redis://127.0.0.1:1/0",
    "redis+sentinel://127.0.0.1:2,127.0.0.1:1/mymaster",
    "redis+cluster://127.0.0.1:2,127.0.0.1:1",
    "unix:///nowhere/redis.sock",
]


@pytest.mark.parametrize("url", NOBODY)
async def test_nobody_answers_is_said_in_the_same_words_each_time(url):
    """By the client for an event loop, and by that for threads; each time of a new client."""

    async def failure():
        client = async_client(url, {}, timeout_s=1)
        try:
            with pytest.raises(REDIS_ERRORS) as caught:
                await client.exists("x")
        finally:
            await close_client(client)
        return in_words(caught.value)

    def failure_in_threads():
        with pytest.raises(REDIS_ERRORS) as caught, sync_client(url, {}, timeout_s=1) as client:
            client.exists("x")
        return in_words(caught.value)

    texts = {await failure(), await failure()}
    in_threads = {failure_in_threads(), failure_in_threads()}
    assert len(texts) == len(in_threads) == 1
    for text in texts | in_threads:
        assert "object" not in text
        assert len(text) < 200
    if "cluster" in url:
        assert texts == {"no node of the Cluster answers: Error 111. Connect call failed."}
    if "sentinel" in url:
        silent = "127.0.0.1:1 (ConnectionError), 127.0.0.1:2 (ConnectionError)"
        expected = f"the Sentinels name no master 'mymaster' that is up: no answer from {silent}"
        assert texts == in_threads == {expected}


def test_what_varies_or_is_missing_in_a_failure_is_not_said():
    odd = OSError("<redis.retry.Retry object at 0x7f3ff2160090> gave up")
    assert in_words(odd) == "<redis.retry.Retry object> gave up"
    assert in_words(TimeoutError()) == "TimeoutError"
    unknown = redis.sentinel.MasterNotFoundError("No master found for 'm'")
    assert in_words(unknown) == (
        "the Sentinels name no master 'm' that is up: those that answer know none"
    )


def test_a_client_for_threads_is_made_for_one_server():
    with sync_client("redis://h:1/2", {"username": "u", "password": "p"}, timeout_s=1) as client:
        assert isinstance(client, redis.Redis)
        options = client.connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("h", 1, 2)
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 1


def test_the_probe_uses_each_command_of_the_script():
    def commands(script):
        return set(re.findall(r"(?:redis\.call|in_chunks)\('([A-Z]+)'", script))

    assert commands(SCRIPT) <= commands(MAY_WRITE)


async def test_a_slot_that_no_node_of_a_cluster_has_is_a_failure_of_redis_and_no_bug():
    client = async_client("redis+cluster://127.0.0.1:1", {}, timeout_s=1)
    with pytest.raises(SlotNotCoveredError):
        client.nodes_manager.get_node_from_slot(5)
    assert issubclass(SlotNotCoveredError, REDIS_ERRORS)


async def test_a_new_client_of_a_cluster_reads_the_commands_from_a_node_that_answers():
    class Node:
        def __init__(self, answer):
            self.answer = answer

        async def execute_command(self, _command):
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    client = async_client("redis+cluster://127.0.0.1:1", {}, timeout_s=1)
    dead, living = Node(redis.exceptions.ConnectionError("dead")), Node({"GET": {}})
    client.nodes_manager.nodes_cache = {"a": dead, "b": living}
    await client.commands_parser.initialize(dead)
    assert client.commands_parser.commands == {"get": {}}
    assert client.commands_parser.node is living
    await client.commands_parser.initialize(dead)  # known already


def connection_of(client):
    """A connection as the client makes them."""
    if is_cluster(client):
        options = dict(client.nodes_manager.connection_kwargs)
        return options.pop("connection_class")(host="127.0.0.1", port=1)
    return client.connection_pool.make_connection()


@pytest.mark.parametrize("url", ADDRESSES)
async def test_a_write_to_a_connection_that_was_closed_is_a_failure_of_redis_and_no_bug(url):
    # It ended one worker after another while a node of a Cluster was away.
    uvloop = pytest.importorskip("uvloop")

    async def write_to_a_closed_one():
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        connection = connection_of(async_client(url, {}, timeout_s=1))
        connection._reader, writer = await asyncio.open_connection(host, port)
        connection._writer = writer
        writer.transport.abort()
        await asyncio.sleep(0)
        server.close()
        await connection.send_packed_command([b"PING"], check_health=False)

    def on_a_loop_of_its_own():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(write_to_a_closed_one())

    with pytest.raises(redis.exceptions.ConnectionError, match="closed by another call"):
        await asyncio.to_thread(on_a_loop_of_its_own)


async def test_another_runtime_error_is_a_bug_and_ends_a_worker():
    connection = connection_of(async_client("redis://h/0", {}, timeout_s=1))
    connection._reader = connection._writer = SimpleNamespace(writelines=lambda _: raised())

    def raised():
        raise RuntimeError("a bug")

    connection.disconnect = lambda **_options: asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="a bug"):
        await connection.send_packed_command([b"PING"], check_health=False)
    assert not issubclass(RuntimeError, REDIS_ERRORS)
