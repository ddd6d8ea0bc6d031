"""Redis as it is run elsewhere: a replicated pair with a Sentinel, a Cluster, an address that moves.

Real servers on loopback, each a child that ends with its context.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import redis
from redis.exceptions import RedisError

from streams.local import ports
from streams.local.redis_server import find_redis

HOST = "127.0.0.1"
LIMIT_S = 40.0


def wait_for(check, what, limit_s=LIMIT_S):
    """Return what ``check`` returns once it is true; errors of Redis count as not yet."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with contextlib.suppress(RedisError, OSError):
            if found := check():
                return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {limit_s:g} s")


async def wait_until(check, what, limit_s=LIMIT_S):
    """``wait_for`` for a coroutine function, on the running loop. Returns the seconds it took."""
    began = time.monotonic()
    while time.monotonic() - began < limit_s:
        with contextlib.suppress(RedisError, OSError):
            if await check():
                return time.monotonic() - began
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what}: not within {limit_s:g} s")


class Valkey:
    """One server. ``options`` are those of its command line."""

    def __init__(self, home: Path, *options, port=None, password=None):
        self.port = port or ports.choose(1)[0]
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / f"{self.port}.log"
        argv = [find_redis(), *options, "--port", str(self.port), "--bind", HOST]
        argv += ["--dir", str(home), "--save", ""]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=home)
        self.db = redis.Redis(port=self.port, decode_responses=True, password=password)
        with contextlib.ExitStack() as unfinished:
            unfinished.callback(self.stop)
            wait_for(self._answers, f"server at {self.port} ({self.log})")
            unfinished.pop_all()

    def _answers(self):
        try:
            return self.db.ping()
        except redis.exceptions.ResponseError:
            return True

    @property
    def url(self):
        return f"redis://{HOST}:{self.port}/0"

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        self.db.close()
        if self.process.poll() is None:
            self.thaw()
            self.process.kill()
            self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Pair:
    """A master and a replica that one Sentinel watches under a name."""

    service = "mymaster"

    def __init__(self, home: Path, *options, down_after_ms=1_000, sentinel=()):
        with contextlib.ExitStack() as unfinished:  # leaves no server when it fails
            self._stack = unfinished
            self._start(home, options, down_after_ms, sentinel)
            self._stack = unfinished.pop_all()

    def _start(self, home, options, down_after_ms, sentinel):
        self.first = self._stack.enter_context(Valkey(home / "a", *options))
        self.second = self._stack.enter_context(
            Valkey(home / "b", *options, "--replicaof", f"{HOST} {self.first.port}")
        )
        wait_for(lambda: self.second.db.info("replication")["master_link_status"] == "up", "sync")
        (home / "s").mkdir()
        config = home / "s" / "sentinel.conf"
        lines = [f"sentinel monitor {self.service} {HOST} {self.first.port} 1"]
        lines += [f"sentinel down-after-milliseconds {self.service} {down_after_ms}"]
        lines += [f"sentinel failover-timeout {self.service} 5000", *sentinel]
        config.write_text("\n".join(lines) + "\n")
        self.sentinel = self._stack.enter_context(
            Valkey(home / "s", str(config), "--sentinel", port=ports.choose(1)[0])
        )
        wait_for(
            lambda: len(self.sentinel.db.sentinel_slaves(self.service)) == 1, "the Sentinel's view"
        )

    @property
    def url(self):
        return f"redis+sentinel://{HOST}:{self.sentinel.port}/{self.service}/0"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()


class Cluster:
    """A Cluster of ``masters`` nodes, each with a replica if asked."""

    def __init__(self, home: Path, *, masters=3, replicas=True, timeout_ms=2_000):
        with contextlib.ExitStack() as unfinished:  # leaves no server when it fails
            self._stack = unfinished
            self._start(home, masters, timeout_ms, replicas=replicas)
            self._stack = unfinished.pop_all()

    def _start(self, home, masters, timeout_ms, *, replicas):
        count = masters * (2 if replicas else 1)
        chosen = ports.choose(2 * count)
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout_ms)]
        options += ["--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"]
        self.nodes = [
            self._stack.enter_context(
                Valkey(home / f"n{n}", *options, "--cluster-port", str(bus), port=port)
            )
            for n, (port, bus) in enumerate(zip(chosen[:count], chosen[count:], strict=True))
        ]
        first, bus = self.nodes[0], chosen[count]
        for node in self.nodes[1:]:
            node.db.execute_command("CLUSTER MEET", HOST, first.port, bus)
        self.masters, self.replicas = self.nodes[:masters], self.nodes[masters:]
        bounds = [16384 * n // masters for n in range(masters + 1)]
        for node, low, high in zip(self.masters, bounds, bounds[1:], strict=False):
            node.db.execute_command("CLUSTER ADDSLOTSRANGE", low, high - 1)
        for node in self.nodes:
            wait_for(lambda node=node: len(self._known(node)) == count, "the nodes know each other")
        for replica, master in zip(self.replicas, self.masters, strict=False):
            own = master.db.execute_command("CLUSTER MYID")
            wait_for(
                lambda r=replica, i=own: r.db.execute_command("CLUSTER REPLICATE", i), "replica"
            )
        for node in self.nodes:
            wait_for(lambda node=node: self._covered(node), "the Cluster is up")
        for replica in self.replicas:
            wait_for(
                lambda r=replica: r.db.info("replication")["master_link_status"] == "up", "sync"
            )

    @staticmethod
    def _covered(node):
        """Whether ``node`` knows who has each slot: without full coverage "ok" is said before."""
        said = node.db.execute_command("CLUSTER INFO")
        return said["cluster_state"] == "ok" and int(said["cluster_slots_ok"]) == 16384

    @staticmethod
    def _known(node):
        return node.db.execute_command("CLUSTER NODES")

    @property
    def url(self):
        return f"redis+cluster://{HOST}:{self.nodes[0].port},{HOST}:{self.nodes[-1].port}"

    def owner(self, key):
        """The master whose slot holds ``key``."""
        client = redis.RedisCluster(host=HOST, port=self.nodes[-1].port)
        port = client.get_node_from_key(key).port
        client.close()
        return next(node for node in self.nodes if node.port == port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()


class Passage:
    """An address that moves: a new connection goes to ``target``, old ones stay where they are.

    ``delay_s``: half of the round trip that it adds. ``tls``: the context with which it speaks TLS.
    """

    def __init__(self, target: int, *, delay_s: float = 0.0, tls=None):
        self.target = target
        self.delay_s = delay_s
        self.taken = 0
        self._tls = tls
        self._links: set[asyncio.Task] = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, HOST, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._links:
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    @property
    def url(self):
        return f"redis://{HOST}:{self.port}/0"

    async def _accept(self, reader, writer):
        self.taken += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._links.add(task)
            task.add_done_callback(self._links.discard)

    async def _pump(self, source, sink):
        loop = asyncio.get_running_loop()
        try:
            while data := await source.read(65_536):
                if self.delay_s:
                    loop.call_later(self.delay_s, sink.write, data)
                else:
                    sink.write(data)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            sink.close()
