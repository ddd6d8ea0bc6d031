"""Addresses of Redis: one server, a master that Sentinels name, or a Cluster. No IO here.

    redis://HOST[:PORT][/DB]                                   one server; rediss:// with TLS
    unix:///PATH                                               one server on this machine
    redis+sentinel://HOST[:PORT][,HOST[:PORT]..]/SERVICE[/DB]  the Sentinels' addresses
    redis+cluster://HOST[:PORT][,HOST[:PORT]..]                some nodes of the Cluster

``rediss+sentinel://`` and ``rediss+cluster://`` use TLS, to the Sentinels too.
"""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import NamedTuple

SENTINEL_PORT = 26_379
CLUSTER_PORT = 6_379
EXPECTED = (
    "redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or "
    "redis+cluster://HOST:PORT,HOST:PORT (with TLS: rediss), or unix:///PATH"
)

_HOST_MAX = 253
_PORT_MAX = 65_535
_URL = re.compile(
    r"^redis(?P<tls>s?)\+(?P<kind>sentinel|cluster)://(?P<nodes>[^/?#]+)(?P<path>/.*)?$"
)
_NODE = re.compile(
    r"^(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:@\[\]]+))(?::(?P<port>\d{1,5}))?$"
)
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,63}(\.[a-zA-Z0-9_-]{1,63})*\.?$")
_ONE_SERVER = re.compile(r"^rediss?://(?P<node>[^\s/?#]+)(/(\d{1,5})?)?(\?db=\d{1,5})?$")
_SOCKET = re.compile(r"^unix:///[^\s?#]+(\?db=\d{1,5})?$")
_WITHOUT_SECRET = re.compile(
    r"^[a-zA-Z+]*:?/*(?:[^\s@?#%:\[\]]|\[[0-9a-fA-F:.]*\]|:\d{1,5}(?=[,/]|$))*$"
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


def check_redis_url(url: str) -> None:
    """Refuse an address that redis-py would stumble over later, or that holds options or a password.

    Raises ValueError, which says what was expected, and never what may be a password. redis-py takes
    credentials and any option from a URL. Those are settings of ours, which are checked and masked.
    """
    if "@" in url:
        raise ValueError("no user or password in it; set redis.username and redis.password")
    if "?" in url and not (_ONE_SERVER.fullmatch(url) or _SOCKET.fullmatch(url)):
        raise ValueError(
            f"{EXPECTED}; no option but ?db=N: redis.username, redis.password, redis.timeout_ms and "
            "redis.tls_ca_file are settings of their own"
        )
    if not may_be_shown(url.partition("?")[0]) and not _SOCKET.fullmatch(url):
        raise ValueError(EXPECTED)
    if parse_redis_url(url).deployment is not Deployment.SINGLE:
        return
    match = _ONE_SERVER.fullmatch(url)
    if match is not None:
        _node(match["node"], _PORT_MAX)
    elif not _SOCKET.fullmatch(url) or "%00" in url:
        raise ValueError(EXPECTED)


def may_be_shown(url: str) -> bool:
    """Whether a text that was given for an address surely holds no user, password or option."""
    return bool(_WITHOUT_SECRET.fullmatch(url))


def _node(text: str, default_port: int) -> tuple[str, int]:
    match = _NODE.match(text)
    port = default_port if match is None or match["port"] is None else int(match["port"])
    if match is None or not 0 < port <= _PORT_MAX or not _is_host(match["host"], match["six"]):
        raise ValueError(f"{EXPECTED}; {text!r} is no HOST:PORT")
    return match["six"] or match["host"], port


def _is_host(name: str | None, six: str | None) -> bool:
    if name is not None:
        return len(name) <= _HOST_MAX and bool(_NAME.match(name))
    try:
        ipaddress.IPv6Address(six or "")
    except ValueError:
        return False
    return True


def _service(path: str) -> tuple[str, int]:
    match = _SERVICE.match(path)
    if match is None:
        raise ValueError(f"{EXPECTED}; after the Sentinels the name of the master is missing")
    return match["service"], int(match["db"] or 0)
