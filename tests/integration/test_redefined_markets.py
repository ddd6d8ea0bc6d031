"""A live market is edited by the real command while owners die; its twin, which is not, stays equal.

The log is read once; what the edits make of it is what a fold makes that had them from its first event.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
import tomllib
from typing import NamedTuple

import aiohttp
import msgspec
import pytest
from support.installation import Installation
from support.methodologies import DEMO_TEXT
from support.twins import CONTROL, EDITED, Twins, methodology_text, write_seed

from streams.clock import now_ms
from streams.index.definitions import Definitions, MemberDefinition
from streams.index.instants import parse_instant
from streams.index.measured import MEASURED
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.operate.definitions_file import as_definitions_toml

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.long,
]

HISTORY_MS = 50 * HOUR_MS
"""A day of it is whole, so it has a level."""
RUSH = 10
LIVE_S = 10
"""An edit is live so long after its owner is ready."""
PARTIALS = 2
LEVEL = "sales_level_index"
M = MemberDefinition
_log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """What Redis has of a market."""

    values: dict[str, str]
    days: dict[str, str]

    @property
    def as_of(self):
        return self.values.get("@as_of", "")

    def untouched(self):
        """Fields that no edit touched. The base of the level was edited too."""
        return {
            field: text
            for field, text in self.all_fields().items()
            if field.split(":")[2] not in TOUCHED and LEVEL not in field
        }

    def counts(self):
        found = self.all_fields().items()
        return {field: text for field, text in found if field.split(":")[0] not in MEASURED}

    def all_fields(self):
        found = {field: text for field, text in self.values.items() if not field.startswith("@")}
        return found | self.days


class Edited:
    """The installation, its two markets and its workers."""

    def __init__(self, installed, directory):
        self.installed = installed
        self.path = directory / "edited.toml"
        self.version = 0
        self.figures = []

    # -- the command ----------------------------------------------------------------------------

    async def document(self):
        _, out, _ = await self.installed.command("definitions", "show", EDITED, check=0)
        raw = tomllib.loads(out)
        assert raw.pop("version") == self.version
        return msgspec.convert(raw, Definitions)

    async def apply(self, reason, change):
        """Edit the document as it is shown, or undo the last edit; return when it was applied."""
        if change is None:
            return await self._put("undo", EDITED, reason)
        found = await self.document()
        changed = change(dict(found.category))
        text = as_definitions_toml(
            msgspec.structs.replace(found, category=changed), self.version, reason
        )
        self.path.write_text(text)
        return await self._put("apply", str(self.path), reason)

    async def _put(self, verb, what, reason):
        arguments = ("definitions", verb, what, "--reason", reason, "--json")
        _, out, _ = await self.installed.command(*arguments, check=0)
        self.version = json.loads(out)["version"]
        return time.monotonic()

    # -- what is published ----------------------------------------------------------------------

    async def shown(self, market):
        found = await asyncio.gather(
            self.installed.redis_values(market), self.installed.redis_values(market, "days")
        )
        return Shown(*found)

    async def is_live(self):
        return int((await self.installed.redis_values(EDITED)).get("@definitions", -1)) == (
            self.version
        )

    async def at_one_instant(self, equal, other=None):
        """Return both markets (or this and that of another installation) at one ``as_of``, at rest."""
        for _ in range(600):
            own = await self.shown(EDITED)
            its = await (self.shown(CONTROL) if other is None else other.shown(EDITED))
            again = await self.shown(EDITED)
            met = own.as_of and own == again and own.as_of == its.as_of
            if met and equal(own, its):
                break
            await asyncio.sleep(0.1)
        if own.as_of and own.as_of == its.as_of:
            return own, its
        pytest.fail(f"{own.as_of} and {its.as_of} never met")

    # -- workers --------------------------------------------------------------------------------

    async def workers(self):
        """The address of each running worker."""
        return {
            await self.installed.until(
                lambda each=each: asyncio.sleep(0, self.installed.metrics_of(each))
            ): each
            for each in self.installed.workers
            if each.running
        }

    async def read(self, but=None):
        """Records of the inputs that workers have read, those left, and who owns the market."""
        total, left, owner = 0, 0, None
        async with aiohttp.ClientSession() as http:
            for url, child in (await self.workers()).items():
                async with http.get(url) as answer:
                    for line in (await answer.text()).splitlines():
                        if line.startswith("ecindex_events_total{") and child is not but:
                            total += int(float(line.rpartition(" ")[2]))
                        if line.startswith("ecindex_consumer_lag_records{") and child is not but:
                            left += int(float(line.rpartition(" ")[2]))
                        if line.startswith(f'ecindex_market_orders{{market="{EDITED}"'):
                            owner = child
        return total, left, owner

    async def two_workers(self):
        """Start another for each that has ended; return the market's owner, once both have a share.

        Whoever gets a partition folds again what came after its last checkpoint.
        """
        workers = self.installed.workers
        workers[:] = [each for each in workers if each.running]
        while len(workers) < 2:
            self.installed.start_worker()

        async def shared():
            last = [owned(each)[-1:] for each in workers]
            return all(got and got[0]["partials"] == PARTIALS // 2 for got in last)

        await self.installed.until(shared, within_s=240)

        async def owner():
            with contextlib.suppress(aiohttp.ClientError):
                return (await self.read())[2]

        return await self.installed.until(owner, within_s=240)

    async def kill(self, victim, after_s):
        """Kill a worker with -9; return when the one that is left had its partitions."""
        await asyncio.sleep(after_s)
        (heir,) = (each for each in self.installed.workers if each is not victim)
        before = len(owned(heir))
        victim.kill()
        self.installed.workers.remove(victim)

        async def has_all():
            # The group may have given it everything before: it had lost the victim already.
            got = owned(heir)
            return len(got) > before or (got and got[-1]["partials"] == PARTIALS)

        await self.installed.until(has_all, within_s=90)
        ready_ms = parse_instant(owned(heir)[-1]["timestamp"][:23] + "Z")
        return time.monotonic() - (now_ms() - ready_ms) / 1_000


def owned(child):
    """What a worker logged of the partitions that it got."""
    lines = child.log_tail(10_000).splitlines()
    return [json.loads(line) for line in lines if '"partitions_owned"' in line]


@pytest.fixture
async def edited(stack, unique, tmp_path):
    installed = Installation(stack, unique("twins"), tmp_path, inputs=2, partials=PARTIALS)
    methodology = tmp_path / "methodology.toml"
    methodology.write_text(methodology_text(DEMO_TEXT))
    installed.overrides["methodology"] = methodology
    await installed.create_topics()
    yield Edited(installed, tmp_path)
    installed.stop()


def alias(members):
    return members | {"computing": msgspec.structs.replace(members["computing"], labels=("kurta",))}


def split(members):
    return members | {"garden_gnomes": M("Gnomes for gardens"), "tablets": M()}


def parent(members):
    return members | {
        "garden": M(),
        "garden_gnomes": msgspec.structs.replace(members["garden_gnomes"], parent="garden"),
        "gnomes": M(parent="garden"),
    }


def rename(members):
    return {
        ("computers" if name == "computing" else name): (
            msgspec.structs.replace(each, name="Computers", formerly=("computing",))
            if name == "computing"
            else each
        )
        for name, each in members.items()
    }


def merge(members):
    found = dict(members)
    found.pop("womens_fashion")
    return found | {"mens_fashion": M("Fashion", formerly=("womens_fashion",))}


TOUCHED = {
    "computing", "computers", "garden_gnomes", "gnomes", "garden", "tablets", "womens_fashion",
    "mens_fashion", "other",
}  # fmt: skip


async def test_a_market_is_edited_while_owners_die_and_its_twin_stays_equal(
    edited, stack, unique, tmp_path
):
    installed, dice = edited.installed, random.Random(18)
    twins = Twins(installed)
    write_seed(tmp_path / "seed.csv", now_ms() // HOUR_MS * HOUR_MS)
    await installed.command("seed", str(tmp_path / "seed.csv"), check=0)
    async with installed.producer() as producer:
        until_ms = now_ms()
        await twins.trade(producer, until_ms - HISTORY_MS, until_ms - MINUTE_MS)
        await edited.two_workers()
        stop = asyncio.Event()

        trading = asyncio.Lock()

        async def trade():
            at_ms = until_ms - MINUTE_MS
            while not stop.is_set():
                async with trading:
                    now = now_ms()
                    await twins.trade(producer, at_ms, now, times=RUSH)
                    at_ms = now
                await asyncio.sleep(0.5)

        selling = asyncio.create_task(trade())
        open_shifts = await installed.until(lambda: opened(edited), within_s=240)

        for name, change, killed in (
            ("alias", alias, False),
            ("split", split, True),
            ("parent", parent, False),
            ("rename", rename, True),
            ("merge", merge, True),
            ("undo", None, False),
            ("merge again", merge, False),
        ):
            owner = await edited.two_workers()
            victim = owner if killed else None
            async with trading:
                read, sent = await settled(edited, but=victim), twins.sent
            began = ready = await edited.apply(name, change)
            if victim is not None:
                ready = await edited.kill(victim, after_s=dice.uniform(0, 1.5))
            await installed.until(edited.is_live, within_s=240, every_s=0.05)
            live_s = time.monotonic() - max(began, ready)
            async with trading:
                again = await settled(edited)
                news = twins.sent - sent
            edited.figures.append((name, killed, round(live_s, 2), again - read, news))
            _log.info("%s", edited.figures[-1])
            assert live_s < LIVE_S, edited.figures
            assert again - read == news or (killed and again - read < news), edited.figures
        await rebase(edited, tmp_path)
        still_open = await installed.until(lambda: opened(edited))
        # A member's may be found after the market's.
        assert still_open.items() >= open_shifts.items()
        await refused(edited)
        stop.set()
        await selling
    own, control = await edited.at_one_instant(
        equal=lambda own, its: own.untouched() == its.untouched()
    )
    assert len(own.untouched()) > 100
    assert own.untouched() == control.untouched()
    code, out, err = await installed.command("audit")
    assert code == 0, out + err
    await equal_to_a_batch(edited, stack, unique, tmp_path)


async def opened(edited):
    """Series of both markets with an open shift: direction and start."""
    found = [
        {
            name: (content["direction"], content["start"])
            for name, text in (await edited.installed.redis_values(code, "shifts")).items()
            if (content := json.loads(text)) and name in ("market:all", "category:books")
        }
        for code in (EDITED, CONTROL)
    ]
    return found[0] if found[0] and found[0] == found[1] else None


async def settled(edited, but=None):
    """Records that the workers (``but`` one) have read, once nothing is left and they read no more."""
    before = None
    while (found := (await edited.read(but))[:2]) != before or found[1]:
        before = found
        await asyncio.sleep(2)
    return found[0]


async def rebase(edited, directory):
    """Give the market another base: by methodology.toml, with which both workers start again."""
    base = "base = { from = 2026-01-01, to = 2026-02-01, net_minor = 31000000 }"
    text = methodology_text(DEMO_TEXT, **{EDITED: base})
    (directory / "methodology.toml").write_text(text)
    for worker in edited.installed.workers:
        worker.kill()
    await edited.two_workers()

    async def levels():
        days = (await edited.shown(EDITED)).days
        return [field for field in days if field.startswith(f"{LEVEL}:market:all:")]

    await edited.installed.until(levels, within_s=240)


async def refused(edited):
    edited.path.write_text(
        f'market = "{EDITED}"\nversion = {edited.version}\n\n[category.cheap]\nprice_below = 10\n'
    )
    arguments = ("definitions", "apply", str(edited.path), "--reason", "cheap ones apart")
    code, _, said = await edited.installed.command(*arguments)
    assert code != 0
    assert "category.cheap.price_below: a member is the labels that it lists" in said
    assert "the counts do not keep" in said
    _, out, _ = await edited.installed.command("definitions", "history", EDITED, "--json", check=0)
    assert json.loads(out)[-1]["version"] == edited.version
    assert await edited.is_live()


async def equal_to_a_batch(edited, stack, unique, tmp_path):
    """Counts and shares are those of a fold of the log that had the last document from the start."""
    own, directory = edited.installed, tmp_path / "batch"
    directory.mkdir()
    batch = Installation(stack, unique("batch"), directory, inputs=2, partials=PARTIALS)
    for name in ("methodology", "topics.orders", "topics.payments"):
        batch.overrides[name] = own.overrides[name]
    await batch.create_topics()
    other = Edited(batch, directory)
    document = await edited.document()
    await other.apply("from the start", lambda _: document.category)
    batch.start_worker()
    with contextlib.ExitStack() as stopping:
        stopping.callback(batch.stop)
        found, wanted = await edited.at_one_instant(
            lambda own, its: own.counts() == its.counts(), other
        )
        assert len(found.counts()) > 300
        assert found.counts() == wanted.counts()
