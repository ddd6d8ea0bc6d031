"""Clients of Redis, made from an address of any kind (redis_urls.py), for every writer and reader.

After a failover a connection may still lead to the demoted master. It is alive, so no client gives it up
by itself, and it answers READONLY to every write for ever. So whoever gets such an answer calls
``renew``: new connections are made to where the address, or the Sentinels, point now.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis._parsers.commands import AsyncCommandsParser
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    ConnectionError,  # noqa: A004 - redis-py's own
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
)
from redis.maint_notifications import MaintNotificationsConfig

from streams.publish.redis_urls import Deployment, parse_redis_url

CONNECTIONS_MAX = 64
"""More than markets (50), so that each has its own when a round trip is slow or a node hangs."""
ANSWERS_MAX = 5
"""Calls made together are given up after so many time-outs. To connect takes up to three answers."""
REDIS_ERRORS = (RedisError, RedisClusterException, OSError)
"""What a call raises when Redis fails. RedisClusterException is no RedisError."""

REPLICA_ADVICE = (
    "READONLY that lasts: redis.url names a replica; set it to the master, or to the Sentinels that "
    "name it (redis+sentinel://HOST:PORT/SERVICE)"
)
"""For a Redis that takes no writes. It passes by itself while a failover is under way."""

_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
_REFUSALS = (
    AuthenticationError,
    AuthorizationError,
    AuthenticationWrongNumberOfArgsError,
    NoPermissionError,
    MovedError,
)
_REFUSED_IN_SCRIPT = "ACL failure in script"
_NO_MASTER = re.compile(r"No master found for '([^']*)'")
_SILENT_SENTINEL = re.compile(r"host=([^,]*),port=(\d+),.*?\)> - (?:\w+:)?(\w*)")
_NO_NODE = "Redis Cluster cannot be connected. Please provide at least one reachable node: "
_LAST_NODE = re.compile(r" connecting to \S+:\d+(?=\.)| \('[^']*', \d+(, \d+, \d+)?\)")
_OBJECT_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Retries(NamedTuple):
    """How often a call is tried again after a lost connection, and after how many seconds each time."""

    number: int
    every_s: float = 0.0


ONE_RETRY = Retries(1)
"""One immediate retry for a connection that a restarted server closed."""


def is_refusal(error: BaseException) -> bool:
    """True when Redis answers and refuses this very client: password, right, or kind of address.

    Others may be served meanwhile. All else (no answer, no memory, a failover) concerns every client.
    """
    if isinstance(error, _REFUSALS):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_REFUSED_IN_SCRIPT)


def is_of_another_type(error: BaseException) -> bool:
    """Whether a call failed because somebody else has made its key one of another type."""
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")


def in_words(error: BaseException) -> str:
    """Say a failure of Redis in words that are the same each time it is the same failure.

    redis-py says of Sentinels that do not answer how its own objects look, with their addresses in
    memory, and of a Cluster's nodes the one that it asked last. `ecindex doctor` could not confirm what
    was said in other words each time.
    """
    text = _OBJECT_ADDRESS.sub("", str(error)) or type(error).__name__
    if text.startswith(_NO_NODE):
        # The nodes are asked in any order, so which one was the last says nothing.
        return f"no node of the Cluster answers: {_LAST_NODE.sub('', text.removeprefix(_NO_NODE))}"
    no_master = _NO_MASTER.match(text)
    if no_master is None:
        return text
    silent = sorted(
        f"{host}:{port} ({kind})" for host, port, kind in _SILENT_SENTINEL.findall(text)
    )
    why = f"no answer from {', '.join(silent)}" if silent else "those that answer know none"
    return f"the Sentinels name no master {no_master[1]!r} that is up: {why}"


def advice(error: BaseException) -> str:
    """Sentence that says what to do about a failure of Redis; '' when its own text says enough."""
    if isinstance(error, ReadOnlyError):
        return REPLICA_ADVICE
    if isinstance(error, MovedError):
        return "this Redis is a Cluster: set redis.url to redis+cluster://HOST:PORT"
    if is_refusal(error):
        return "check redis.username, redis.password and the user's rights (docs/security.md)"
    return ""


def async_client(
    url: str, options: Mapping[str, Any], *, timeout_s: float, retries: Retries = ONE_RETRY
) -> Any:
    """Client for an event loop. ``timeout_s`` bounds each connection and each answer.

    ``options``: ``username``, ``password``, ``ssl_*``, of Sentinels ``sentinel_username`` and
    ``sentinel_password``. Raises ValueError when ``url`` is no address.
    """
    return _client(_ASYNC, url, options, timeout_s, retries)


def sync_client(
    url: str, options: Mapping[str, Any], *, timeout_s: float, retries: Retries = ONE_RETRY
) -> Any:
    """Client for threads, which may share it; otherwise as ``async_client``."""
    return _client(_SYNC, url, options, timeout_s, retries)


async def is_replica(client: Any) -> bool:
    """Whether an ``async_client`` leads to a replica; False where the server does not say so.

    HELLO is a right of every connection; INFO and ROLE are not. A Cluster's client finds the masters.
    """
    if isinstance(client, redis.asyncio.RedisCluster):
        return False
    try:
        answer = await client.execute_command("HELLO")
    except ResponseError:  # before Redis 6, or not allowed
        return False
    pairs = (
        answer.items()
        if isinstance(answer, Mapping)
        else zip(answer[::2], answer[1::2], strict=True)
    )
    return {bytes(name): value for name, value in pairs}.get(b"role") == b"replica"


async def drop_connections(client: Any) -> None:
    """Make the next call of an ``async_client`` connect anew; calls under way end first.

    A Cluster's client reads the slots anew and follows its nodes by itself.
    """
    if isinstance(client, redis.asyncio.RedisCluster):
        client._initialize = True  # noqa: SLF001 - aclose() would cut off the calls under way
        return
    pool = client.connection_pool
    await pool.update_active_connections_for_reconnect()
    # Taken out first: while a connection is closing, another call would be given it.
    idle, pool._available_connections = pool._available_connections, []  # noqa: SLF001
    for connection in idle:
        with contextlib.suppress(*REDIS_ERRORS):
            await connection.disconnect()


async def renew(client: Any, error: BaseException) -> None:
    """Drop the connections of an ``async_client`` after a failure that new ones may not have.

    A Cluster's client notices a failed node by itself, but not that a slot is covered by now.
    """
    if not isinstance(client, redis.asyncio.RedisCluster) or isinstance(
        error, (RedisClusterException, ReadOnlyError)
    ):
        await drop_connections(client)


async def close_client(client: Any) -> None:
    """Close an ``async_client``, and its connections to Sentinels."""
    await client.aclose()
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    if manager is not None:
        await manager.aclose()


def drop_connections_of(client: Any) -> None:
    """Make the next call of a ``sync_client`` connect anew.

    A Cluster's client follows its nodes by itself; it reads the slots anew.
    """
    with contextlib.suppress(*REDIS_ERRORS):
        if isinstance(client, redis.cluster.RedisCluster):
            client.nodes_manager.initialize()
        else:
            client.connection_pool.disconnect(inuse_connections=False)


def is_cluster(client: Any) -> bool:
    """Whether a client, of either kind, is of a Cluster: some of its nodes may answer and others not."""
    return isinstance(client, (redis.cluster.RedisCluster, redis.asyncio.RedisCluster))


def by_node(client: Any, keys: Mapping[str, str]) -> list[list[str]]:
    """Names of ``keys``, by the node of a Cluster that has each; those that no node has are together."""
    found: dict[str, list[str]] = {}
    for name, key in keys.items():
        try:
            node = client.get_node_from_key(key).name
        except SlotNotCoveredError:
            node = ""
        found.setdefault(node, []).append(name)
    return list(found.values())


def lacks_a_slot(error: BaseException) -> bool:
    """Whether a Cluster's client knows no node for the key: it will not ask again by itself."""
    return isinstance(error, RedisClusterException)


class _Shared:
    """Makes a connection that another call has closed fail as what it is, a lost connection.

    The asyncio client of a Cluster closes a node's connections after a failure, those in use too. The
    calls that use them then find None where their stream was. uvloop answers a write to a connection
    that was just closed, by whomever, with a RuntimeError: it ended one worker after another while a
    node of a Cluster was away.
    """

    async def connect(self) -> None:
        with _closed_by_another():
            await super().connect()  # type: ignore[misc]

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        with _closed_by_another():
            await super().send_packed_command(*args, **options)  # type: ignore[misc]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        with _closed_by_another():
            return await super().read_response(*args, **options)  # type: ignore[misc]


class _AsksSentinels(_Shared):
    """Asks for the master each time it connects. redis-py's connects again to where it was before."""

    async def _connect(self) -> None:
        address = await self.connection_pool.get_master_address()  # type: ignore[attr-defined]
        self.host, self.port = address
        await super()._connect()  # type: ignore[misc]


class _AsksSentinelsInThreads:
    """The counterpart for threads."""

    def _connect(self) -> Any:
        self.host, self.port = self.connection_pool.get_master_address()  # type: ignore[attr-defined]
        return super()._connect()  # type: ignore[misc]


class _SentinelConnection(_AsksSentinels, redis.asyncio.sentinel.SentinelManagedConnection):
    pass


class _SentinelTlsConnection(_AsksSentinels, redis.asyncio.sentinel.SentinelManagedSSLConnection):
    pass


class _ThreadsSentinelConnection(_AsksSentinelsInThreads, redis.sentinel.SentinelManagedConnection):
    pass


class _ThreadsSentinelTlsConnection(
    _AsksSentinelsInThreads, redis.sentinel.SentinelManagedSSLConnection
):
    pass


class _SharedConnection(_Shared, redis.asyncio.Connection):
    pass


class _SharedTlsConnection(_Shared, redis.asyncio.SSLConnection):
    pass


class _SharedSocketConnection(_Shared, redis.asyncio.UnixDomainSocketConnection):
    pass


_SHARED = {
    redis.asyncio.Connection: _SharedConnection,
    redis.asyncio.SSLConnection: _SharedTlsConnection,
    redis.asyncio.UnixDomainSocketConnection: _SharedSocketConnection,
}
_CLOSED = "the handler is closed"
"""Words of uvloop's RuntimeError. Any other is a bug."""


@contextlib.contextmanager
def _closed_by_another() -> Iterator[None]:
    try:
        yield
    except (AttributeError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _CLOSED not in str(error):
            raise
        raise ConnectionError("the connection was closed by another call") from error


def _share_connections(client: Any) -> None:
    """Let an asyncio client of a Cluster make connections that others may close."""
    options = client.nodes_manager.connection_kwargs
    options["connection_class"] = _SHARED[options["connection_class"]]
    for node in client.nodes_manager.startup_nodes.values():
        node.connection_class = options["connection_class"]


class _CommandsOfAnyNode(AsyncCommandsParser):
    """Reads once what commands there are, from whichever node answers.

    redis-py asks the first master that the Cluster names. While that was dead and had no replica, no new
    client could read or write a thing on the other nodes.
    """

    def __init__(self, nodes: Any) -> None:
        super().__init__()
        self._nodes = nodes

    async def initialize(self, node: Any = None) -> None:
        if self.commands:
            return
        first = [] if node is None else [node]
        others = [each for each in self._nodes.nodes_cache.values() if each is not node]
        for each in (*first, *others):
            with contextlib.suppress(*REDIS_ERRORS):
                await super().initialize(each)
                return
        await super().initialize(node)


class _Nodes(redis.asyncio.cluster.NodesManager):
    """Says that no node has a slot, as the client for threads does.

    redis-py's raised a KeyError, which is no failure of Redis to anybody: workers ended as by a bug.
    """

    __slots__ = ()

    def get_node_from_slot(self, slot: int, *arguments: Any, **options: Any) -> Any:
        try:
            return super().get_node_from_slot(slot, *arguments, **options)
        except KeyError as error:
            raise SlotNotCoveredError(f"no node of the Cluster has slot {slot}") from error


class _Library(NamedTuple):
    """One of the two halves of redis-py."""

    redis: Any
    cluster: Any
    node: Any
    sentinel: Any
    retry: Any
    by_sentinel: tuple[Any, Any]
    """Classes of a connection to the master: plain, with TLS."""


_ASYNC = _Library(
    redis.asyncio.Redis,
    redis.asyncio.RedisCluster,
    redis.asyncio.cluster.ClusterNode,
    redis.asyncio.sentinel.Sentinel,
    redis.asyncio.retry.Retry,
    (_SentinelConnection, _SentinelTlsConnection),
)
_SYNC = _Library(
    redis.Redis,
    redis.cluster.RedisCluster,
    redis.cluster.ClusterNode,
    redis.sentinel.Sentinel,
    redis.retry.Retry,
    (_ThreadsSentinelConnection, _ThreadsSentinelTlsConnection),
)
_CLUSTER = {
    # Markets whose slots are covered do not wait for the others.
    "require_full_coverage": False,
    # A MOVED patches its slot. Reading all slots anew would close the connections of calls under way.
    "reinitialize_steps": 0,
}


def _client(
    library: _Library,
    url: str,
    options: Mapping[str, Any],
    timeout_s: float,
    retries: Retries,
) -> Any:
    address = parse_redis_url(url)
    shared = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        # The notices are of a hosted service; other servers answer with an error.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    common = {
        **shared,
        "max_connections": CONNECTIONS_MAX,
        "retry": library.retry(
            ConstantBackoff(retries.every_s),
            retries.number,
            supported_errors=(ConnectionError,),  # a time-out is wait enough
        ),
        **{name: value for name, value in options.items() if name not in _SENTINEL_OPTIONS},
    }
    if address.deployment is Deployment.SINGLE:
        client = library.redis.from_url(url, **common)
        if library is _ASYNC:
            pool = client.connection_pool
            pool.connection_class = _SHARED[pool.connection_class]
        return client
    if address.deployment is Deployment.CLUSTER:
        nodes = [library.node(*node) for node in address.nodes]
        client = library.cluster(startup_nodes=nodes, ssl=address.tls, **_CLUSTER, **common)
        if library is _ASYNC:
            _share_connections(client)
            client.nodes_manager.__class__ = _Nodes  # made by the client's constructor
            client.commands_parser = _CommandsOfAnyNode(client.nodes_manager)
        return client
    to_sentinels = {
        **shared,
        "ssl": address.tls,
        "retry": library.retry(NoBackoff(), 0),  # there are others to ask
        **{name: common[name] for name in _TLS_OPTIONS if name in common},
        **{new: options[name] for name, new in _SENTINEL_OPTIONS.items() if name in options},
    }
    sentinel = library.sentinel(address.nodes, sentinel_kwargs=to_sentinels)
    common["connection_class"] = library.by_sentinel[address.tls]
    return sentinel.master_for(address.service, db=address.db, **common)
