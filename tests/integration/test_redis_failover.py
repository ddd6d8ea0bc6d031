"""Values are back after a failover of a real Redis, under load, and never older after newer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import ssl
import subprocess

import pytest
from support.command import Command
from support.publications import publication, value
from support.valkeys import HOST, Cluster, Pair, Passage, Valkey, wait_until

from streams import clock
from streams.board.hub import Hub
from streams.board.redis_poller import RedisPoller
from streams.console.errors import OperationError
from streams.index.panes import rfc3339
from streams.operate.market_views import ViewState, connect, read_markets
from streams.proof.doctor.findings import Level
from streams.proof.doctor.redis_answers import check_answers, read_redis
from streams.publish.keys import market_keys
from streams.publish.metrics import Metrics
from streams.publish.redis_clients import async_client, close_client
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import RedisStore
from streams.reader import (
    DEFAULT_PREFIX,
    AsyncReader,
    Limits,
    Reader,
    ReaderError,
    UnreachableError,
)
from streams.records.redis_reader import RedisReader
from streams.settings import RedisSettings, Settings

pytestmark = pytest.mark.stack

MARKETS = [f"C{number:02}" for number in range(12)]


def made(market, as_of_ms, applied, definitions=0):
    values = [value("orders", "market", "all", "1m", applied, market=market, as_of_ms=as_of_ms)]
    return publication(
        values, market=market, as_of_ms=as_of_ms, applied=applied, definitions=definitions
    )


class Load:
    """Publishes markets several times a second and renews them each second, as a worker does."""

    def __init__(self, url, markets=("PK",), **options):
        metrics = Metrics(markets=markets, version="0", edition=1, methodology="0")
        self.store = RedisStore(
            url,
            metrics,
            prefix=DEFAULT_PREFIX,
            limits=RedisLimits(60_000),
            **({"timeout_s": 2.0} | options),
        )
        self.markets = markets
        self._applied = itertools.count(1)
        self._stopped = False

    async def __aenter__(self):
        works = [self._publishing(market) for market in self.markets]
        self._tasks = [asyncio.create_task(work) for work in (*works, self._beating())]
        return self

    async def __aexit__(self, *_):
        self._stopped = True
        await asyncio.gather(*self._tasks)
        await self.store.close()

    async def _publishing(self, market):
        while not self._stopped:
            now_ms = clock.now_ms()
            await self.store.publish(made(market, now_ms, next(self._applied)), now_ms)
            await asyncio.sleep(0.2)

    async def _beating(self):
        beats = []
        while not self._stopped:
            beats.append(asyncio.create_task(self.store.heartbeat(clock.now_ms())))
            await asyncio.sleep(1)
        await asyncio.gather(*beats)


class Watched:
    """What readers of each market get, all the time. An older version after a newer one is an error."""

    def __init__(self, url, markets, **options):
        self.reader = AsyncReader(url, limits=Limits(), **options)
        self.newest = {}
        self.backwards = []
        self._stopped = False
        self._markets = markets

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._watch(market)) for market in self._markets]
        return self

    async def __aexit__(self, *_):
        self._stopped = True  # redis-py may swallow a cancellation
        await asyncio.gather(*self._tasks)
        await self.reader.close()
        assert self.backwards == []

    async def _watch(self, market):
        while not self._stopped:
            with contextlib.suppress(ReaderError):
                reading = await self.reader.get(market, "orders:market:all:1m")
                version = reading.edition, reading.as_of_ms
                if version < self.newest.get(market, version):
                    self.backwards.append((market, self.newest[market], version))
                self.newest[market] = version
            await asyncio.sleep(0.1)

    async def fresh(self, markets=None):
        """Wait until readers of the markets got something that was published after now."""
        now_ms = clock.now_ms()

        async def is_fresh():
            return all(
                self.newest.get(market, (0, 0))[1] > now_ms for market in markets or self._markets
            )

        return await wait_until(is_fresh, f"fresh values of {markets or self._markets}")


async def test_an_address_moves_and_the_old_master_is_demoted(tmp_path):
    with (
        Valkey(tmp_path / "a") as old,
        Valkey(tmp_path / "b", "--replicaof", f"{HOST} {old.port}") as new,
    ):
        async with (
            Passage(old.port) as address,
            Load(address.url) as load,
            Watched(address.url, load.markets) as watched,
        ):
            await watched.fresh()
            new.db.execute_command("REPLICAOF", "NO", "ONE")
            old.db.execute_command("REPLICAOF", HOST, new.port)
            address.target = new.port
            await watched.fresh()
            await wait_until(lambda: untroubled(load), "no trouble")
            assert new.db.info("replication")["role"] == "master"


@pytest.mark.deep
async def test_a_writer_leaves_a_master_that_was_only_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.publish.redis_store.CONNECTIONS_KEPT_MS", 2_000)
    values = market_keys("PK", DEFAULT_PREFIX).values
    with Valkey(tmp_path / "a") as old, Valkey(tmp_path / "b") as new:
        async with Passage(old.port) as address, Load(address.url):

            async def published():
                return old.db.hget(values, "@as_of")

            await wait_until(published, "published")
            address.target = new.port  # old connections still write to the old one, and succeed

            async def followed():
                return (new.db.hget(values, "@as_of") or "") > old.db.hget(values, "@as_of")

            await wait_until(followed, "published where the address points")


@pytest.mark.deep
async def test_a_reader_leaves_a_master_that_was_cut_off(tmp_path):
    with Valkey(tmp_path / "a") as old, Valkey(tmp_path / "b") as new:
        async with Passage(old.port) as address, Watched(address.url, ["PK"]) as watched:
            async with Load(old.url):
                await watched.fresh()
            address.target = new.port
            async with Load(new.url):
                await watched.fresh()


@pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.deep)])
async def test_sentinels_name_another_master(tmp_path, how):
    with Pair(tmp_path) as pair:
        async with Load(pair.url) as load, Watched(pair.url, load.markets) as watched:
            await watched.fresh()
            if how == "killed":
                pair.first.process.kill()
            else:
                pair.first.freeze()
            await watched.fresh()
            assert pair.second.db.info("replication")["role"] == "master"
            if how == "frozen":
                pair.first.thaw()  # it believes that it is the master until it hears of the other
                await wait_until(lambda: demoted(pair.first), "the old master is a replica")
                await watched.fresh()
        with Reader(pair.url) as reader:  # the client for threads
            assert reader.get("PK", "orders:market:all:1m").status == "ok"


async def demoted(server):
    return server.db.info("replication")["role"] == "slave"


@pytest.mark.deep
async def test_a_dead_sentinel_is_missed_by_nobody_while_the_master_stands(tmp_path):
    with Pair(tmp_path) as pair:
        async with Load(pair.url) as load, Watched(pair.url, load.markets) as watched:
            await watched.fresh()
            pair.sentinel.stop()
            await watched.fresh()
        gone = pair.url.replace(str(pair.sentinel.port), "1")
        two = f"redis+sentinel://{HOST}:1,{gone.partition('//')[2]}"
        async with Load(two) as load:
            trouble = await wait_until(lambda: in_trouble(load), "it says so")
            assert trouble >= 0
            assert "name no master" in load.store.health.trouble.detail


async def in_trouble(load):
    return load.store.health.trouble is not None


async def untroubled(load):
    return load.store.health.trouble is None


async def test_a_new_master_that_lacks_the_last_writes_is_rewritten(tmp_path):
    with (
        Valkey(tmp_path / "a") as old,
        Valkey(tmp_path / "b", "--replicaof", f"{HOST} {old.port}") as new,
    ):
        async with (
            Passage(old.port) as address,
            Load(address.url) as load,
            Watched(address.url, load.markets) as watched,
        ):
            await watched.fresh()
            new.db.execute_command("REPLICAOF", "NO", "ONE")  # from here on it lacks every write
            await watched.fresh()
            address.target = new.port
            old.stop()
            await watched.fresh()
            key = market_keys("PK", DEFAULT_PREFIX)
            assert new.db.hget(key.fence, "as_of_ms") is not None


@pytest.mark.deep  # of the tests' own servers
def test_a_cluster_that_is_interrupted_while_it_starts_leaves_no_server(tmp_path, monkeypatch):
    started = []

    def interrupted(self, node):
        started.extend(self.nodes)
        raise KeyboardInterrupt

    monkeypatch.setattr(Cluster, "_covered", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Cluster(tmp_path, masters=1, replicas=False)
    assert [node.process.poll() is None for node in started] == [False]


async def test_a_node_of_a_cluster_is_killed(tmp_path):
    with Cluster(tmp_path) as cluster:
        async with Load(cluster.url, MARKETS), Watched(cluster.url, MARKETS) as watched:
            await watched.fresh()
            victim = cluster.owner(market_keys(MARKETS[0], DEFAULT_PREFIX).fence)
            owners = {m: cluster.owner(market_keys(m, DEFAULT_PREFIX).fence) for m in MARKETS}
            others = [market for market, owner in owners.items() if owner is not victim]
            assert 0 < len(others) < len(MARKETS)
            victim.stop()
            assert await watched.fresh(others) < 4.0, "other nodes' markets do not wait for it"
            await watched.fresh()
        with Reader(cluster.url) as reader:
            for market in MARKETS:
                assert reader.snapshot(market).market == market


@pytest.mark.deep
async def test_a_node_of_a_cluster_hangs(tmp_path):
    with Cluster(tmp_path, timeout_ms=5_000) as cluster:
        async with Load(cluster.url, MARKETS) as load, Watched(cluster.url, MARKETS) as watched:
            await watched.fresh()
            owners = {m: cluster.owner(market_keys(m, DEFAULT_PREFIX).fence) for m in MARKETS}
            victim = owners[MARKETS[0]]
            others = [market for market, owner in owners.items() if owner is not victim]
            victim.freeze()
            await watched.fresh(others)
            await watched.fresh()  # a replica has taken over
            await wait_until(lambda: untroubled(load), "no trouble")


@pytest.mark.deep
@pytest.mark.parametrize("dead", ["a node", "the node that lists the markets"])
async def test_without_a_replica_the_other_nodes_serve_their_markets(tmp_path, dead):
    with Cluster(tmp_path, replicas=False) as cluster:
        poller = RedisPoller(cluster.url, Hub(), {}, prefix=DEFAULT_PREFIX, timeout_s=3.0)
        async with Load(cluster.url, MARKETS) as load, Watched(cluster.url, MARKETS) as watched:
            await watched.fresh()
            await poller.poll()
            owners = {m: cluster.owner(market_keys(m, DEFAULT_PREFIX).fence) for m in MARKETS}
            victim = cluster.owner(f"{DEFAULT_PREFIX}:markets")
            if dead == "a node":
                victim = next(node for node in cluster.masters if node is not victim)
            lost = [market for market, owner in owners.items() if owner is victim]
            others = [market for market in MARKETS if market not in lost]
            victim.stop()
            await watched.fresh(others)
            await watched.fresh(others)
            await wait_until(lambda: in_trouble(load), "the lost ones are not silent")

            # Page, `show` and doctor name what is lost, and have the rest. On a busy machine a lost node
            # may cut off an answer of another one.
            async def page_says_so():
                await poller.poll()
                beats = poller.beat(clock.now_ms()).markets
                states = {each.market: each.state for each in beats}
                return (
                    poller.away is None
                    and {each.market for each in beats if each.redis is not None} == set(lost)
                    and {market for market in states if states[market] == "live"} == set(others)
                    and {market for market in states if states[market] == "stale"} == set(lost)
                )

            await wait_until(page_says_so, "the page names the lost ones and has the others")

            def seen():
                with connect(RedisSettings(url=cluster.url)) as client:
                    return read_markets(client, clock.now_ms(), None, DEFAULT_PREFIX, MARKETS)

            async def show_says_so():
                views = await asyncio.to_thread(seen)
                live = {view.market for view in views if view.state is ViewState.LIVE}
                return live == set(others) and {v.market for v in views if v.failure} == set(lost)

            await wait_until(show_says_so, "`show` names the lost ones and has the others")
            reader = RedisReader(Settings(redis=RedisSettings(url=cluster.url)))

            async def read_whole():
                nonlocal read
                read = await read_redis(reader, MARKETS)
                held = {code for code, each in read.held.items() if each is not None}
                return read.failed.keys() - {""} == set(lost) and held == set(others)

            read = None
            await wait_until(read_whole, "doctor misses the lost ones and has the others")
            await reader.close()
            wrong = [each for each in check_answers("redis", read) if each.level is Level.WRONG]
            assert [each.where for each in wrong if each.where.endswith(lost[0])]
            assert all("replica" in each.fix for each in wrong)
        await poller.close()
        for node in cluster.masters:
            node.stop()
        reader = RedisReader(Settings(redis=RedisSettings(url=cluster.url)))
        with pytest.raises(OperationError):
            await read_redis(reader, MARKETS)
        await reader.close()


@pytest.mark.deep
async def test_who_starts_while_the_first_node_is_dead_serves_the_markets_of_the_others(tmp_path):
    # redis-py asks the first master which commands there are: no new client could do a thing.
    with Cluster(tmp_path, replicas=False) as cluster:
        victim = cluster.masters[0]
        victim.stop()
        owners = {m: cluster.owner(market_keys(m, DEFAULT_PREFIX).fence) for m in MARKETS}
        others = [market for market, owner in owners.items() if owner is not victim]
        assert 0 < len(others) < len(MARKETS)
        async with Load(cluster.url, MARKETS) as load, Watched(cluster.url, MARKETS) as watched:
            await watched.fresh(others)
            await wait_until(lambda: in_trouble(load), "the lost ones are not silent")
        with Reader(cluster.url) as reader:
            assert reader.snapshot(others[0]).market == others[0]


@pytest.mark.deep
async def test_slots_that_no_node_has_are_named_and_the_others_are_served(tmp_path):
    with Cluster(tmp_path, replicas=False) as cluster:
        async with Load(cluster.url, MARKETS) as load, Watched(cluster.url, MARKETS) as watched:
            await watched.fresh()
            owners = {m: cluster.owner(market_keys(m, DEFAULT_PREFIX).fence) for m in MARKETS}
            loser = owners[MARKETS[0]]
            others = [market for market, owner in owners.items() if owner is not loser]
            number = cluster.masters.index(loser)
            slots = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
            for node in cluster.masters:
                node.db.execute_command("CLUSTER DELSLOTSRANGE", *slots)
            reader = Reader(cluster.url)  # it has never known who has them
            with pytest.raises(UnreachableError):
                reader.snapshot(MARKETS[0])

            async def named():
                trouble = load.store.health.trouble
                return trouble is not None and "slot" in trouble.detail.lower()

            await wait_until(named, "it is said that no node has the slot")
            await watched.fresh(others)  # and no task has ended: `Load` would raise
            loser.db.execute_command("CLUSTER ADDSLOTSRANGE", *slots)
            await watched.fresh()
            await wait_until(lambda: untroubled(load), "no trouble")

            async def read():
                with contextlib.suppress(ReaderError):
                    return await asyncio.to_thread(reader.snapshot, MARKETS[0])

            await wait_until(read, "the reader for threads has found the slot")
            reader.close()


@pytest.mark.deep
async def test_slots_move_under_load(tmp_path):
    with Cluster(tmp_path, replicas=False) as cluster:
        async with Load(cluster.url, MARKETS) as load, Watched(cluster.url, MARKETS) as watched:
            await watched.fresh()
            keys = market_keys(MARKETS[0], DEFAULT_PREFIX)
            source = cluster.owner(keys.fence)
            target = next(node for node in cluster.masters if node is not source)
            slot = source.db.execute_command("CLUSTER KEYSLOT", keys.fence)
            ids = {n: n.db.execute_command("CLUSTER MYID") for n in (source, target)}
            target.db.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
            source.db.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
            await asyncio.sleep(1)
            while found := source.db.execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
                for key in found:
                    await asyncio.sleep(0.2)  # some keys here, some there
                    source.db.execute_command("MIGRATE", HOST, target.port, key, 0, 5_000)
            for node in (target, source, *cluster.masters):
                node.db.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])
            await watched.fresh()
            assert target.db.exists(keys.fence) == 1
            assert source.db.execute_command("CLUSTER COUNTKEYSINSLOT", slot) == 0
            await wait_until(lambda: untroubled(load), "no trouble")


@pytest.fixture
def tls(tmp_path):
    """(context of a server, its certificate's file), signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}"]
    subprocess.run([*make, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, str(cert)


async def test_a_master_behind_tls_is_found_through_sentinels_behind_tls(tmp_path, tls):
    context, cert = tls
    # Valkey from PyPI speaks no TLS: both servers are asked through an address that does.
    with Valkey(tmp_path / "m", "--requirepass", "data", password="data") as master:
        async with Passage(master.port, tls=context) as to_master:
            config = tmp_path / "sentinel.conf"
            config.write_text(
                f"sentinel monitor mymaster {HOST} {to_master.port} 1\n"
                "sentinel down-after-milliseconds mymaster 600000\nrequirepass watch\n"
            )
            with Valkey(tmp_path / "s", str(config), "--sentinel", password="watch") as sentinel:
                async with Passage(sentinel.port, tls=context) as to_sentinel:
                    url = f"rediss+sentinel://{HOST}:{to_sentinel.port}/mymaster/1"
                    options = {"password": "data", "sentinel_password": "watch"}
                    client = async_client(url, options | {"ssl_ca_certs": cert}, timeout_s=3)
                    assert await client.set("a", "1")
                    await close_client(client)
                    for wrong in ({"ssl_ca_certs": None}, {"sentinel_password": "no"}):
                        client = async_client(
                            url, options | {"ssl_ca_certs": cert} | wrong, timeout_s=3
                        )
                        with pytest.raises(Exception, match="No master found"):
                            await client.get("a")
                        await close_client(client)


async def test_a_redis_without_memory_keeps_the_old_version_and_gets_the_new_one_later(tmp_path):
    with Valkey(tmp_path) as server:
        load = Load(server.url)
        keys = market_keys("PK", DEFAULT_PREFIX)
        await load.store.publish(made("PK", 1_700_000_000_000, 1), 0)
        server.db.config_set("maxmemory", "1mb")
        server.db.config_set("maxmemory-policy", "noeviction")
        await load.store.publish(made("PK", 1_700_000_005_000, 2), 0)
        assert load.store.health.trouble.refused_since_ms is None, "it refuses everybody"
        new_owner = Load(server.url, ["BD"])  # of a market that Redis does not have
        await new_owner.store.publish(made("BD", 1_700_000_005_000, 2), 0)
        assert server.db.exists(*market_keys("BD", DEFAULT_PREFIX)) == 0
        await new_owner.store.close()
        assert server.db.hget(keys.fence, "applied") == "1"
        assert server.db.hget(keys.values, "orders:market:all:1m") == "1"
        server.db.config_set("maxmemory", "0")
        await asyncio.sleep(0.6)
        await load.store.heartbeat(0)
        assert load.store.health.trouble is None
        assert server.db.hget(keys.values, "@as_of") == rfc3339(1_700_000_005_000)
        await load.store.close()


@pytest.mark.deep
async def test_a_round_trip_of_more_than_a_second_is_enough(tmp_path):
    with Valkey(tmp_path) as server:
        async with (
            Passage(server.port, delay_s=0.6) as address,
            Load(address.url, MARKETS, timeout_s=3.0) as load,
            Watched(address.url, MARKETS) as watched,
        ):
            await watched.fresh()
            await watched.fresh()
            await wait_until(lambda: untroubled(load), "no trouble")


async def test_the_board_shows_nothing_older_after_a_failover(tmp_path):
    old_ms, new_ms = 1_700_000_000_000, 1_700_000_005_000
    with Valkey(tmp_path) as server:
        load = Load(server.url)
        poller = RedisPoller(server.url, Hub(), {}, prefix=DEFAULT_PREFIX, timeout_s=3.0)

        def shown():
            (market,) = poller.beat(new_ms).markets
            return market.as_of

        await load.store.publish(made("PK", new_ms, 9), new_ms)
        await poller.poll()
        assert shown() == rfc3339(new_ms)
        server.db.flushall()  # stands for a new master that lacks the last writes
        other = Load(server.url)
        await other.store.publish(made("PK", old_ms, 8), new_ms + 1_000)
        await poller.poll()
        assert shown() == rfc3339(new_ms)
        await load.store.heartbeat(new_ms + 2_000)
        await poller.poll()
        assert shown() == rfc3339(new_ms)
        server.db.flushall()
        await other.store.publish(made("PK", old_ms, 9), new_ms + 120_000)
        await poller.poll()
        assert shown() == rfc3339(old_ms), "after a minute it is the truth"
        server.db.flushall()
        await other.store.publish(made("PK", new_ms, 10, definitions=1), new_ms + 121_000)
        await poller.poll()
        server.db.flushall()
        other.store.drop("PK")
        await other.store.publish(made("PK", old_ms, 9, definitions=2), new_ms + 122_000)
        await poller.poll()
        assert shown() == rfc3339(new_ms), "definitions and as_of: neither goes back"
        await poller.close()
        for each in (load, other):
            await each.store.close()


async def test_show_names_a_market_that_a_cluster_does_not_take(tmp_path):
    with Cluster(tmp_path, replicas=False) as cluster:
        load = Load(cluster.url, MARKETS)
        lost = next(
            market
            for market in MARKETS
            if cluster.owner(market_keys(market, DEFAULT_PREFIX).fence)
            is not cluster.owner(f"{DEFAULT_PREFIX}:markets")
        )
        cluster.owner(market_keys(lost, DEFAULT_PREFIX).fence).db.config_set("maxmemory", "1mb")
        now_ms = clock.now_ms()
        for market in MARKETS:
            await load.store.publish(made(market, now_ms, 1), now_ms)
        with connect(RedisSettings(url=cluster.url)) as client:
            views = {v.market: v.state for v in read_markets(client, now_ms, None, DEFAULT_PREFIX)}
        assert set(views) == set(MARKETS)
        assert views[lost] is ViewState.ABSENT
        assert ViewState.LIVE in views.values()
        await load.store.close()
        as_one_server = Load(cluster.nodes[0].url, MARKETS)
        for market in MARKETS:
            await as_one_server.store.publish(made(market, now_ms, 1), now_ms)
        trouble = as_one_server.store.health.trouble
        assert "redis+cluster://" in trouble.detail
        assert trouble.refused_since_ms is not None
        await as_one_server.store.close()
        listed = cluster.owner(f"{DEFAULT_PREFIX}:markets")
        elsewhere = next(node for node in cluster.nodes if node is not listed)
        with Command("show", "--redis", elsewhere.url) as command:
            code, out, err = command.finish()
        assert code == 1
        assert "redis+cluster://" in err, (out, err)
