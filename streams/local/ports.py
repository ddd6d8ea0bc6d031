"""Loopback ports for servers that must come back on the same one after kill -9."""

from __future__ import annotations

import json
import secrets
import socket
from typing import TYPE_CHECKING

import psutil

from streams.local.child import StackError

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = "127.0.0.1"
# Below every common ephemeral range (Linux 32768.., macOS and IANA 49152..). Within such a range, a
# client that retries a dead server's port can be given that very port as its own source port. It then
# talks to itself, and the restarted server cannot bind.
FIRST_PORT, LAST_PORT = 20_000, 32_000
ATTEMPTS = 200

_claims: dict[int, socket.socket] = {}
"""Ports that this process chose, each held by an open UDP socket until the process ends."""


def is_free(port: int) -> bool:
    """True if a server can bind this loopback port now. Connections in TIME_WAIT do not prevent it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def listens(pid: int, port: int) -> bool:
    """True if this very process listens there; an answer alone could be another stack's server."""
    try:
        sockets = psutil.Process(pid).net_connections("tcp4")
    except psutil.NoSuchProcess:
        return False
    return any(
        entry.status == psutil.CONN_LISTEN and entry.laddr.port == port
        for entry in sockets
        if entry.laddr
    )


def choose(count: int) -> tuple[int, ...]:
    """Choose ports that are free now and claimed by nobody, this process included; claim them.

    Raises StackError.
    """
    chosen: list[int] = []
    for _ in range(ATTEMPTS):
        if len(chosen) == count:
            return tuple(chosen)
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        if port not in _claims and is_free(port) and claim(port):
            chosen.append(port)
    raise StackError(
        f"expected {count} free loopback ports between {FIRST_PORT} and {LAST_PORT}, found "
        f"{len(chosen)} in {ATTEMPTS} tries; is loopback networking allowed here?"
    )


def claim(port: int) -> bool:
    """Keep other processes that choose ports from this one, until this process ends; True if it is ours.

    A server that is killed, or not up yet, leaves its TCP port free for as long. Another stack chose
    that very port meanwhile, and the clients of the first found the server of the second. Nobody
    needs the UDP port of the same number, and the kernel gives it back however a process ends.
    """
    if port in _claims:
        return True
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        held.bind((LOOPBACK, port))
    except OSError:
        held.close()
        return False
    _claims[port] = held
    return True


def remembered(path: Path, count: int) -> tuple[int, ...] | None:
    """Ports of an earlier run in this directory; None unless all ``count`` of them are free again."""
    try:
        ports = tuple(int(port) for port in json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    ours = len(ports) == count and all(is_free(port) and claim(port) for port in ports)
    return ports if ours else None


def remember(path: Path, ports: tuple[int, ...]) -> None:
    """Save the ports for the next run in this directory."""
    path.write_text(json.dumps(ports))
