"""The users that docs/security.md gives are enough, and a worker that Redis refuses keeps no market."""

from __future__ import annotations

import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.command import Command, until
from support.publications import AS_OF_MS, others_of_day, publication
from support.valkeys import HOST, Cluster, Pair, Valkey

from streams.board.hub import Hub
from streams.board.redis_poller import RedisPoller
from streams.index.panes import rfc3339
from streams.notify.sent_publisher import SentPublisher
from streams.notify.sent_store import SentMessage, SentStore
from streams.operate.market_views import ViewState, connect, read_markets
from streams.publish.metrics import Metrics
from streams.publish.other_records import published_others
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import Outcome, RedisStore
from streams.reader import DEFAULT_PREFIX, AsyncReader, Limits, Reader
from streams.records.redis_reader import RedisReader
from streams.settings import RedisSettings, Settings

pytestmark = pytest.mark.stack

PASSWORD = "not-told"
SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
NOW_MS = AS_OF_MS + 2_500


def documented():
    """User -> its rules, of the lines ``user NAME on ..`` in the document."""
    lines = re.findall(r"^user (\w+) +on >\.\.\. (.+)$", SECURITY, re.MULTILINE)
    return {name: rules.split() for name, rules in lines}


def add_users(server, *more):
    for name, rules in documented().items():
        server.db.execute_command("ACL", "SETUSER", name, "on", f">{PASSWORD}", *rules, *more)
    server.db.execute_command("ACL", "SETUSER", "default", "off")


def settings_of(url, user="reader"):
    return Settings(redis=RedisSettings(url=url, username=user, password=PASSWORD))


def store_of(url, user="ecindex", password=PASSWORD):
    return RedisStore(
        url,
        Metrics(markets=["PK"], version="0", edition=1, methodology="0"),
        prefix=DEFAULT_PREFIX,
        limits=RedisLimits(60_000),
        timeout_s=3.0,
        auth={"username": user, "password": password},
    )


async def use_all(url):
    """Write as the documented user, and read in every way as the other."""
    store = store_of(url)
    assert await store.probe()
    others = [others_of_day(("garden gnomes", 300))]
    assert await store.publish(publication(others=others), NOW_MS) is Outcome.WRITTEN
    assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
    assert store.health.trouble is None
    await store.close()
    auth = {"username": "reader", "password": PASSWORD}
    limits = Limits(None, None)
    with Reader(url, limits=limits, **auth) as reader:
        assert reader.get("PK", "orders:category:books:1m").value == 1
        assert next(reader.watch("PK")).market == "PK"
    async with AsyncReader(url, limits=limits, **auth) as reader:
        assert (await reader.snapshot("PK")).market == "PK"
        async for snapshot in reader.watch("PK"):
            assert snapshot.market == "PK"
            break
    settings = settings_of(url)
    doctor = RedisReader(settings)
    await doctor.ping()
    held = await doctor.read("PK")
    assert held.snapshot.market == "PK"
    assert held.others == [published_others("PK", each) for each in others]
    assert await doctor.refused("PK") == []
    assert await doctor.refused_of_all() == []
    await doctor.close()
    told = SentStore(Path("nowhere"))
    incident = told.incident("PK-20260102T0437-down", NOW_MS, firing=True, named=True)
    incident.sent["slack"] = SentMessage("began", NOW_MS, first_ms=NOW_MS)
    for user, refused in (("reader", True), ("notify", False)):
        publisher = SentPublisher(settings_of(url, user).redis, told, {"PK"})
        await publisher.write()
        assert ("docs/security.md" in publisher._failed) == refused
        await publisher.close()
    with connect(settings.redis) as client:
        (view,) = read_markets(client, NOW_MS, None, DEFAULT_PREFIX)
        assert view.state is ViewState.LIVE
        assert view.sent[incident.name].receivers == {"slack": rfc3339(NOW_MS)}
        assert view.incidents == []
    poller = RedisPoller(url, Hub(), {}, prefix=DEFAULT_PREFIX, timeout_s=3.0, auth=auth)
    await poller.poll()
    assert poller.away is None
    await poller.close()
    intruder = store_of(url, user="reader")
    assert not await intruder.probe()
    assert intruder.health.trouble.refused_since_ms is not None
    await intruder.close()


async def test_the_documented_users_are_enough_for_one_server(tmp_path):
    with Valkey(tmp_path) as server:
        add_users(server)
        await use_all(server.url)


@pytest.mark.deep
async def test_the_documented_users_are_enough_for_sentinels_and_a_cluster(tmp_path):
    assert "+cluster|slots" in SECURITY
    assert "+sentinel|masters +@connection" in SECURITY
    with Cluster(tmp_path / "cluster", replicas=False) as cluster:
        for node in cluster.nodes:
            add_users(node, "+cluster|slots")
        await use_all(cluster.url)
    with Pair(tmp_path / "pair") as pair:
        add_users(pair.first)
        await use_all(pair.url)


async def test_a_password_and_a_right_that_are_taken_away_while_publishing_are_named(tmp_path):
    with Valkey(tmp_path) as server:
        server.db.execute_command("ACL", "SETUSER", "admin", "on", ">admin", "~*", "+@all")
        server.db.execute_command("AUTH", "admin", "admin")
        add_users(server)
        store = store_of(server.url)
        assert await store.publish(publication(applied=1), NOW_MS) is Outcome.WRITTEN
        server.db.execute_command("ACL", "SETUSER", "ecindex", "-hset")
        assert await store.publish(publication(applied=2), NOW_MS) is Outcome.FAILED
        assert "hset" in store.health.trouble.detail
        assert "docs/security.md" in store.health.trouble.detail
        assert not await store.probe(), "the probe finds it as well"
        server.db.execute_command("ACL", "SETUSER", "ecindex", "+hset")
        assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
        assert store.health.trouble is None
        server.db.execute_command("ACL", "SETUSER", "ecindex", "resetpass", ">another")
        assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}, "its connection goes on"
        server.db.execute_command("CLIENT", "KILL", "USER", "ecindex")
        assert await store.heartbeat(NOW_MS) == {"PK": Outcome.FAILED}
        assert store.health.trouble.refused_since_ms is not None
        server.db.execute_command("ACL", "SETUSER", "ecindex", f">{PASSWORD}")
        assert await store.heartbeat(NOW_MS) == {"PK": Outcome.WRITTEN}
        assert store.health.trouble is None
        await store.close()


def readiness(metrics):
    try:
        with urllib.request.urlopen(metrics.replace("/metrics", "/readyz"), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.deep
def test_of_two_workers_the_one_that_redis_refuses_ends_and_then_stays_outside(
    stack, unique, tmp_path
):
    config = tmp_path / "ecindex.toml"
    with Valkey(tmp_path / "valkey") as server:
        for name in ("one", "two"):
            server.db.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all")
        config.write_text(
            f'data_dir = "data"\n[kafka]\nbootstrap_servers = "{stack.bootstrap}"\n'
            f'[redis]\nurl = "redis://{HOST}:{server.port}/0"\npassword = "pw"\n'
            f'[topics]\norders = "{unique("orders")}"\npayments = "{unique("payments")}"\n'
            f'prefix = "{unique("own")}"\npartials_partitions = 4\n'
        )
        with Command("topics", "create", "--inputs", "2", "--config", config, "--json") as command:
            assert command.finish()[0] == 0

        def worker(user):
            env = {"ECINDEX_REDIS__USERNAME": user}
            return Command("worker", "--config", config, "--json", env=env)

        with worker("one") as one, worker("two") as two:
            first, second = one.line()["metrics"], two.line()["metrics"]
            until(lambda: readiness(first)[0] == 200 and readiness(second)[0] == 200)
            server.db.execute_command("ACL", "SETUSER", "two", "off")
            server.db.execute_command("CLIENT", "KILL", "USER", "two")
            code, _out, err = two.finish()
            assert code == 17, err
            assert "Redis refuses this worker" in err
            with worker("two") as again:
                url = again.line()["metrics"]
                until(lambda: "outside the group" in readiness(url)[1])
                until(lambda: readiness(first)[0] == 200)
                code, _out, err = again.end(signal.SIGTERM)
                assert code == 0, err
            with worker("two") as again:
                url = again.line()["metrics"]
                until(lambda: "outside the group" in readiness(url)[1])
                server.db.execute_command("ACL", "SETUSER", "two", "on")
                until(lambda: readiness(url)[0] == 200)
