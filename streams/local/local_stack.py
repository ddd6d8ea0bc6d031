"""Real Kafka and Redis for ``demo``, ``up`` and the tests: one directory, no ports to choose.

Starting is synchronous: a session fixture of pytest lives outside any event loop, and waiting for a JVM
is no work for one. A command with a running loop calls ``await asyncio.to_thread(stack.start)`` and
``await asyncio.to_thread(stack.stop)``. Any thread may start the stack, because one thread that lives as
long as the process forks all children.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import IO, TYPE_CHECKING, Self

from streams.console.progress import ProgressFunction, no_progress
from streams.local.child import ChildProcess, StackError, end_leftover
from streams.local.kafka_broker import KafkaBroker
from streams.local.kafka_jars import (
    KAFKA_VERSION,
    JarCache,
    default_cache_dir,
)
from streams.local.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType


class LocalStack:
    """Kafka, Redis or both under ``directory``, which a later run may reuse.

    ``cache_dir`` holds the downloaded jars (default ``~/.cache/ecindex``). ``env`` is the environment of
    the children (None: ours). ``progress`` is called during downloads. ``java`` is the path of a Java
    (None: it is searched). ``kafka_settings`` override :data:`streams.local.kafka_broker.SETTINGS`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        with_kafka: bool = True,
        with_redis: bool = True,
        cache_dir: Path | None = None,
        progress: ProgressFunction = no_progress,
        env: Mapping[str, str] | None = None,
        java: str | None = None,
        kafka_settings: Mapping[str, str | int] | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.logs = self.directory / "logs"
        self._pids = self.directory / "pids"
        self._env = env
        self._jars = JarCache(
            (cache_dir or default_cache_dir({})) / f"kafka-{KAFKA_VERSION}", progress=progress
        )
        self._kafka = (
            KafkaBroker(self.directory, self._jars, java=java, settings=kafka_settings, env=env)
            if with_kafka
            else None
        )
        self._redis = RedisServer(self.directory, env=env) if with_redis else None
        self._children: list[ChildProcess] = []
        self._lock: IO[str] | None = None

    @property
    def kafka(self) -> KafkaBroker:
        """The broker: start, stop, kill, restart, pause, resume."""
        if self._kafka is None:
            raise StackError("this stack was made with with_kafka=False; make it with Kafka")
        return self._kafka

    @property
    def redis(self) -> RedisServer:
        """The Redis server: start, stop, kill, restart, pause, resume."""
        if self._redis is None:
            raise StackError("this stack was made with with_redis=False; make it with Redis")
        return self._redis

    @property
    def bootstrap(self) -> str:
        """Address of Kafka, host:port."""
        return self.kafka.bootstrap

    @property
    def redis_url(self) -> str:
        """Address of Redis, redis://host:port/0."""
        return self.redis.url

    @property
    def downloaded_bytes(self) -> int:
        """Bytes that this start fetched from the network; 0 when everything was cached."""
        return self._jars.downloaded_bytes

    @property
    def _parts(self) -> list[RedisServer | KafkaBroker]:
        return [part for part in (self._redis, self._kafka) if part is not None]

    def start(self) -> None:
        """Start everything at once and return when each part answers its protocol."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Fork everything. The addresses are known from here on, and clients may begin to wait.

        Addresses can still change in :meth:`wait_ready`, if another process takes a port just now.
        """
        self._claim_directory()
        for pid_file in sorted(self._pids.glob("*.pid")):
            end_leftover(pid_file)
        try:
            for part in self._parts:
                part.launch()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self) -> None:
        """Return when each part answers its protocol."""
        try:
            for part in self._parts:
                part.wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything in order: spawned children, Kafka, Redis. Safe to call twice."""
        with contextlib.ExitStack() as steps:  # each step runs even if one before it failed
            if self._lock is not None:
                steps.callback(self._lock.close)
                self._lock = None
            for part in (self._redis, self._kafka):
                if part is not None:
                    steps.callback(part.stop)
            for child in self._children:
                child.ask_to_end()  # all at once, so that they drain side by side
                steps.callback(child.terminate)
            self._children.clear()

    def spawn(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start another child (a worker, the board). It logs to logs/<name>.log; ``stop`` ends it."""
        child = ChildProcess(
            name,
            argv,
            self.logs / f"{name}.log",
            env=self._env if env is None else env,
            pid_file=self._pids / f"{name}.pid",
        )
        child.start()
        self._children.append(child)
        return child

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _claim_directory(self) -> None:
        """Let one process own the directory. The lock ends with that process, however it ends."""
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.directory / "owner.lock"
        lock = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise StackError(
                f"{self.directory}: expected to be its only user, found process {owner} using it "
                f"({path}); stop that one or choose another directory"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
