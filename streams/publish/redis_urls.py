"""Addresses of Redis: one server, a master that Sentinels name, or a Cluster. No IO here.

    redis://HOST[:PORT][/DB]                                   one server; rediss:// with TLS
    unix:///PATH                                               one server on this machine
    redis+sentinel://HOST[:PORT][,HOST[:PORT]..]/SERVICE[/DB]  the Sentinels' addresses
    redis+cluster://HOST[:PORT][,HOST[:PORT]..]                some nodes of the Cluster

``rediss+sentinel://`` and ``rediss+cluster://`` use TLS, to the Sentinels too.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

SENTINEL_PORT = 26_379
CLUSTER_PORT = 6_379
EXPECTED = (
    "redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or "
    "redis+cluster://HOST:PORT,HOST:PORT (with TLS: rediss), or unix:///PATH"
)

_PORT_MAX = 65_535
_URL = re.compile(
    r"^redis(?P<tls>s?)\+(?P<kind>sentinel|cluster)://(?P<nodes>[^/?#]+)(?P<path>/.*)?$"
)
_NODE = re.compile(
    r"^(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:@\[\]]+))(?::(?P<port>\d{1,5}))?$"
)
_SERVICE = re.compile(r"^/(?P<service>[A-Za-z0-9._-]+)(?:/(?P<db>\d{1,5}))?$")


class Deployment(StrEnum):
    """How the Redis behind an address is run."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class RedisAddress(NamedTuple):
    """An address taken apart."""

    deployment: Deployment
    tls: bool
    nodes: tuple[tuple[str, int], ...] = ()
    """(host, port) of the Sentinels, or of nodes of the Cluster; empty for one server."""
    service: str = ""
    """Name under which the Sentinels know the master."""
    db: int = 0


def parse_redis_url(url: str) -> RedisAddress:
    """Take ``url`` apart. Raises ValueError, which says what was expected.

    The address of one server is left to redis-py, which knows more forms of it.
    """
    if url.startswith(("redis://", "unix://")):
        return RedisAddress(Deployment.SINGLE, tls=False)
    if url.startswith("rediss://"):
        return RedisAddress(Deployment.SINGLE, tls=True)
    match = _URL.match(url)
    if match is None:
        raise ValueError(EXPECTED)
    deployment, path = Deployment(match["kind"]), match["path"] or ""
    sentinel = deployment is Deployment.SENTINEL
    default_port = SENTINEL_PORT if sentinel else CLUSTER_PORT
    nodes = tuple(_node(text, default_port) for text in match["nodes"].split(","))
    service, db = _service(path) if sentinel else ("", 0)
    if not sentinel and path not in ("", "/", "/0"):
        raise ValueError(f"{EXPECTED}; a Cluster has database 0 only")
    return RedisAddress(deployment, bool(match["tls"]), nodes, service, db)


def _node(text: str, default_port: int) -> tuple[str, int]:
    match = _NODE.match(text)
    port = default_port if match is None or match["port"] is None else int(match["port"])
    if match is None or not 0 < port <= _PORT_MAX:
        raise ValueError(f"{EXPECTED}; {text!r} is no HOST:PORT")
    return match["six"] or match["host"], port


def _service(path: str) -> tuple[str, int]:
    match = _SERVICE.match(path)
    if match is None:
        raise ValueError(f"{EXPECTED}; after the Sentinels the name of the master is missing")
    return match["service"], int(match["db"] or 0)
