"""Each form of an address is taken apart, or refused with the forms that there are."""

from __future__ import annotations

import re

import pytest
import redis
from redis.exceptions import (
    AuthenticationError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from streams.publish.redis_clients import advice, is_refusal, sync_client
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
    assert advice(everybody[0]) == ""


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
