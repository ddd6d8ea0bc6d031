"""Kafka, Redis, topics, N workers and the page on this machine: start, supervision and end.

Everything that takes time starts at once. The workers import Faust while the broker's JVM comes up, and
then wait for the topics. They know the addresses because those are chosen before the fork.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streams.clock import monotonic_ms
from streams.console.errors import OperationError
from streams.console.progress import ProgressFunction, no_progress
from streams.local import ports
from streams.local.child import ChildProcess
from streams.local.debian_packages import DebianPackages
from streams.local.local_stack import LocalStack
from streams.local.monitoring import Monitoring
from streams.local.readyz import why_not_ready
from streams.local.server_process import Server
from streams.local.supervisor import Supervisor, stop_all
from streams.settings import (
    Settings,
    as_toml,
    environment_of_page,
    environment_without_settings,
    load_methodology,
    local_settings,
    loopback_port,
)
from streams.worker import names

DEFAULT_INPUTS = 8
READY_DEADLINE_MS = 180_000
TOPICS_WAIT_S = 120
"""How long a worker waits for the topics. A first start formats the broker's directory before that."""
POLL_S = 0.1
SERVER_GIVEN_UP_AFTER = 5
SETTINGS_FILE = "ecindex.toml"


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Parts to run. ``directory`` None: a temporary directory, removed at the end."""

    directory: Path | None = None
    workers: int = 1
    inputs: int = DEFAULT_INPUTS
    prometheus: bool = False
    alertmanager: bool = False
    """Run Alertmanager, and Prometheus with it: nothing else sends it alerts."""
    notify: str | None = None
    """URL that Alertmanager posts its notifications to."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of the parts; None for a part that does not run."""

    bootstrap: str
    redis: str
    metrics: tuple[str, ...]
    board: str | None = None
    prometheus: str | None = None
    alertmanager: str | None = None


class Interrupted(Exception):  # noqa: N818 - an order, not an error
    """A stop was requested during a download."""


class LocalIndex:
    """All parts of a local index, their start and their end. Make one with ``up.local_index``."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        options: UpOptions,
        *,
        tell: Callable[[str], None],
        progress: ProgressFunction = no_progress,
    ) -> None:
        self.directory = directory.absolute()
        self._given = settings
        self._options = options
        self._tell = tell
        self._progress = progress
        self._stopping = False
        self._launched = False
        self._launching: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stack")
        self._stack = LocalStack(
            self.directory, cache_dir=settings.cache_dir, progress=self._progress_unless_stopping
        )
        packages = DebianPackages(
            settings.cache_dir / "debian", progress=self._progress_unless_stopping
        )
        self._monitoring = Monitoring(
            self.directory,
            packages,
            prometheus=options.prometheus,
            alertmanager=options.alertmanager,
            notify=options.notify,
        )
        self._workers: list[ChildProcess] = []
        self._metrics_ports: tuple[int, ...] = ()
        self._board: ChildProcess | None = None
        self._board_port = 0
        self._coordinator_asked = False
        self._worker_keeper = Supervisor(tell)
        # A server is always needed: it is restarted after every exit code, even if a user ended it.
        self._server_keeper = Supervisor(
            tell,
            final_codes=frozenset(),
            asked_codes=frozenset(),
            give_up_after=SERVER_GIVEN_UP_AFTER,
        )

    # -- where things are ------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """Settings that lead to these servers; known from ``launch`` on."""
        return local_settings(
            self._given,
            bootstrap=self._stack.bootstrap,
            redis_url=self._stack.redis_url,
            data_dir=self.directory / "data",
            board=self.board_url,
        )

    @property
    def settings_file(self) -> Path:
        """File with the settings of this index, for its workers and for ``ecindex show --config``."""
        return self.directory / SETTINGS_FILE

    @property
    def logs(self) -> Path:
        """Directory with the log file of every part."""
        return self._stack.logs

    @property
    def addresses(self) -> Addresses:
        """Addresses of the parts; known from ``launch`` on."""
        prometheus, alertmanager = self._monitoring.prometheus, self._monitoring.alertmanager
        return Addresses(
            self._stack.bootstrap,
            self._stack.redis_url,
            tuple(f"http://{ports.LOOPBACK}:{port}/metrics" for port in self._metrics_ports),
            self.board_url,
            prometheus=None if prometheus is None else prometheus.url,
            alertmanager=None if alertmanager is None else alertmanager.url,
        )

    @property
    def board_url(self) -> str:
        """Address of the live page; known from ``launch`` on."""
        return f"http://{ports.LOOPBACK}:{self._board_port}/"

    def summary(self) -> str:
        """Addresses and paths of the parts as text for people, one a line."""
        addresses, topics = self.addresses, self._given.topics
        markets = ", ".join(load_methodology(self._given).markets)
        named = f"{topics.orders}, {topics.payments}, {topics.prefix}.*"
        return "\n".join(
            [
                f"board     {addresses.board}",
                f"Kafka     {addresses.bootstrap}  topics {named}",
                f"Redis     {addresses.redis}  keys {self._given.redis.keys_prefix}:*",
                *(f"metrics   {url}" for url in addresses.metrics),
                *(f"{server.name:<9} {server.url}" for server in self._monitoring.servers),
                *untold(self._options, self.settings_file),
                f"markets   {markets}  {self._given.methodology}",
                f"settings  {self.settings_file}",
                f"logs      {self.logs}",
            ]
        )

    # -- start, in this order --------------------------------------------------------------------

    async def launch(self) -> None:
        """Fork servers and workers. A first start downloads Kafka before that."""
        self._launching = self._thread.submit(self._launch)
        await asyncio.wrap_future(self._launching)
        self._launched = True

    def _launch(self) -> None:
        self._stack.launch()
        wanted = self._options.workers
        # Ports are kept over restarts: Prometheus finds its workers again, and a browser tab the board.
        self._metrics_ports = self._kept_ports("metrics-ports.json", wanted)
        self._board_port = self.choose_page_port()
        self._launch_clients()
        self._monitoring.launch(self._metrics_ports)

    def choose_page_port(self) -> int:
        """Port of the page: as set, or as ``links.board`` names it on this machine, or one kept here."""
        if self._given.board.port:
            return self._given.board.port
        linked = loopback_port(self._given.links.board)
        if linked is not None:
            if ports.is_free(linked) and ports.claim(linked):
                return linked
            self._tell(
                f"warning: links.board names port {linked}, which is not free: the page gets another"
            )
        return self._kept_ports("board-port.json", 1)[0]

    def _kept_ports(self, name: str, count: int) -> tuple[int, ...]:
        file = self.directory / name
        found = ports.remembered(file, count) or ports.choose(count)
        ports.remember(file, found)
        return found

    async def await_servers(self) -> None:
        """Return when Kafka and Redis answer."""
        await asyncio.wrap_future(self._thread.submit(self._await_servers))
        for server in self._servers:
            self._server_keeper.keep(partial(_child_of, server), server.launch)
        if self._board is not None:
            self._server_keeper.keep(partial(_same, self._board), self._board.start)

    def _await_servers(self) -> None:
        before = self.addresses
        self._stack.wait_ready()
        if self.addresses != before:  # another process took a port between its choice and the start
            self._stop_clients()
            self._launch_clients()
        self._monitoring.wait_ready()

    async def create_topics(self, *, workers_wait: bool = False) -> None:
        """Create the topics that are missing; the broker stamps the inputs until history is imported.

        ``workers_wait``: create all but one topic, without which no worker starts. Everything sent into
        the inputs (orders, payments, seeds) before the next call is then in the log before a worker
        reads.
        """
        from streams.records import kafka_topics  # noqa: PLC0415 - its imports, while the JVM comes up

        settings = self.settings
        group = names.app_id(load_methodology(settings).edition, settings.topics.prefix)
        wanted = await kafka_topics.plan_topics(
            settings, inputs=self._options.inputs, arrival="broker"
        )
        if workers_wait:
            wanted = [topic for topic in wanted if topic.name != settings.topics.values]
        creating = kafka_topics.create_topics(settings.kafka, wanted, replication_factor=1)
        if self._coordinator_asked:
            report = await creating
        else:
            asking = kafka_topics.ask_for_coordinator(settings.kafka, group)
            report, _ = await asyncio.gather(creating, asking)
            self._coordinator_asked = True
        imported = kafka_topics.input_configs("producer")
        partials = settings.topics.partials
        for difference in report.differences:
            if difference.topic == partials and difference.setting == "message.timestamp.type":
                # An earlier release created it. Workers end without the broker's stamps.
                outdated = [topic for topic in wanted if topic.name == partials]
                await kafka_topics.set_configs(settings.kafka, outdated)
            elif imported.get(difference.setting) != difference.found:
                self._tell(f"warning: {difference}")

    async def await_ready(self) -> None:
        """Return when every worker has its partitions. Raises OperationError at a deadline.

        Every round checks all workers: one that joins takes partitions of others, and these are then not
        ready any more.
        """
        deadline_ms = monotonic_ms() + READY_DEADLINE_MS
        while (late := await self._late()) is not None:
            process, why = late
            if monotonic_ms() > deadline_ms:
                raise OperationError(
                    f"{process.name} is not ready after {READY_DEADLINE_MS // 1000} s ({why}): "
                    f"{process.last_words()}"
                )
            await asyncio.sleep(POLL_S)

    async def _late(self) -> tuple[ChildProcess, str] | None:
        for process, port in zip(self._workers, self._metrics_ports, strict=True):
            why = await why_not_ready(port)
            if why is not None:
                return process, why
        return None

    def _launch_clients(self) -> None:
        self.settings_file.write_text(as_toml(self.settings), encoding="utf-8")
        self._workers = []
        self._worker_keeper = Supervisor(self._tell)
        waiting = ("--wait-for-topics", str(TOPICS_WAIT_S))
        for number, port in enumerate(self._metrics_ports):
            process = self._command(
                f"worker-{number}", "worker", "--metrics-port", str(port), *waiting
            )
            process.start()
            self._workers.append(process)
            self._worker_keeper.keep(partial(_same, process), process.start)
        page = environment_of_page(self._given)
        self._board = self._command("board", "board", "--port", str(self._board_port), env=page)
        self._board.start()

    def _command(
        self, name: str, command: str, *options: str, env: dict[str, str] | None = None
    ) -> ChildProcess:
        """Make a child that runs one of our own commands with the settings of this index."""
        # -P: a directory `streams` in the user's working directory must not be taken for this package.
        argv = [sys.executable, "-P", "-m", "streams.cli", command]
        return ChildProcess(
            name,
            [*argv, "--config", str(self.settings_file), *options],
            self.logs / f"{name}.log",
            env=environment_without_settings() if env is None else env,
            pid_file=self.directory / "pids" / f"{name}.pid",
        )

    # -- life and end ----------------------------------------------------------------------------

    async def watch(self) -> None:
        """Restart every part that ends, for ever. Raises OperationError when one cannot go on."""
        while True:
            self._worker_keeper.poll()
            self._server_keeper.poll()
            await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        """End everything in order: monitoring, workers, Kafka, Redis. May be called at any time."""
        self._stopping = True
        if self._launching is not None and not self._launched:
            # Processes forked after the stop would stay, so it waits. A download ends at its next piece.
            await asyncio.gather(asyncio.wrap_future(self._launching), return_exceptions=True)
        await asyncio.to_thread(self._stop)

    def kill(self) -> None:
        """End everything as a crash would, even while ``stop`` is waiting in its thread."""
        for process in self._clients:
            process.kill()
        for server in self._servers:
            if server.running:
                server.kill()

    @property
    def _servers(self) -> list[Server]:
        return [self._stack.kafka, self._stack.redis, *self._monitoring.servers]

    def _stop(self) -> None:
        self._monitoring.stop()
        self._stop_clients()
        self._stack.stop()
        self._thread.shutdown()

    @property
    def _clients(self) -> list[ChildProcess]:
        return self._workers if self._board is None else [*self._workers, self._board]

    def _stop_clients(self) -> None:
        for process in stop_all(self._clients):
            self._tell(f"{process.name} did not end in time and was killed; see {process.log_path}")

    def _progress_unless_stopping(self, text: str, done_mb: float, total_mb: float) -> None:
        if self._stopping:
            raise Interrupted
        self._progress(text, done_mb, total_mb)


def untold(options: UpOptions, settings_file: Path) -> list[str]:
    """A line that says that nobody is told of alerts, where that is so.

    An index on this machine never wakes people by itself: the variables of a shell may hold the key of
    the real pager.
    """
    if not options.alertmanager or options.notify is not None:
        return []
    command = f"`ecindex notify --config {settings_file}`"
    return [f"notify    nobody is told of alerts: run {command}, and give its address by --notify"]


def _child_of(server: Server) -> ChildProcess:
    return server.child


def _same(process: ChildProcess) -> ChildProcess:
    return process
