"""Recovery says why it ends: a late broker call is not "the service was stopped"."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import faust
import pytest
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.types import TP

from streams.flow.chunk import Chunk, SourcePartition
from streams.worker.intake import Intake
from streams.worker.recovery import LoudRecovery
from streams.worker.stops import ExitCode, Fatal, StopSwitch
from streams.worker.tables import PartitionTable
from streams.worker.watchdog import WatchdogSettings


@pytest.fixture
async def recovery():
    app = faust.App("seam", broker="kafka://127.0.0.1:1", autodiscover=False)
    return LoudRecovery(app, app.tables)


async def test_a_call_in_time_is_waited_for(recovery):
    await recovery._wait(asyncio.sleep(0), timeout=5)


async def test_a_late_call_raises_with_its_limit(recovery):
    with pytest.raises(Fatal, match=r"took longer than 0\.05 s") as raised:
        await recovery._wait(asyncio.sleep(60), timeout=0.05)
    assert raised.value.code == ExitCode.RECOVERY_STUCK


async def test_an_error_in_the_call_comes_out(recovery):
    async def fail():
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        await recovery._wait(fail())


async def test_a_cancellation_from_within_comes_out_as_a_crash(recovery):
    """Passed on it would end the recovery task without a word, and the worker would wait for ever."""

    async def stop_a_client():
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    with pytest.raises(Fatal, match="cancelled from within") as raised:
        await recovery._wait(stop_a_client(), timeout=5)
    assert raised.value.code == ExitCode.CRASHED


async def test_the_next_rebalance_interrupts_it(recovery):
    cancelled = asyncio.Event()

    async def endless():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    waiting = asyncio.create_task(recovery._wait(endless(), timeout=60))
    await asyncio.sleep(0.01)
    recovery.signal_recovery_start.set()
    with pytest.raises(RebalanceAgain):
        await waiting
    await asyncio.wait_for(cancelled.wait(), 1)


async def test_a_stop_interrupts_it(recovery):
    waiting = asyncio.create_task(recovery._wait(asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    recovery._stopped.set()
    with pytest.raises(ServiceStopped):
        await waiting


async def test_half_recovered_tables_are_never_opened(recovery):
    """Faust swallows a rebalance while it waits for changelogs, and would go on from there."""
    recovery.need_recovery = lambda: True
    with pytest.raises(RebalanceAgain):
        await recovery.on_recovery_completed(1)


class Assigned:
    """A consumer that owns one partition for as long as it lives."""

    class _thread:  # noqa: N801 - Faust's name
        @staticmethod
        def _ensure_consumer():
            return Assigned

    @staticmethod
    def assignment():
        return {SourcePartition("orders", 0)}

    @staticmethod
    def partitions_for_topic(topic):
        return {0}


@pytest.fixture
def table(recovery):
    """A table whose changelog partition 0 is ours and held offsets 2 to 36."""
    made = PartitionTable(recovery.app, name="toy", source="orders", partitions=1)
    recovery.tables["toy"] = made
    tp = TP(made.changelog_topic_name, 0)
    recovery.tp_to_table[tp] = made
    recovery.active_offsets[tp] = 29  # what came of it since the rebalance
    recovery.active_highwaters[tp] = 36
    return made


def event(table, first, last):
    content = Chunk(
        SourcePartition(table.changelog_topic_name, 0), first, last, [b"k"], [b"v"], [0],
        fetch_offset=first,
    )  # fmt: skip
    message = SimpleNamespace(
        topic=table.changelog_topic_name, partition=0, key=None, value=content
    )
    return SimpleNamespace(message=message)


class Earliest:
    @staticmethod
    async def earliest_offsets(*tps):
        return dict.fromkeys(tps, 2)


async def test_a_changelog_is_read_from_its_beginning_whatever_came_of_it_before(recovery, table):
    tps = set(recovery.active_offsets)
    await recovery._build_offsets(Earliest, tps, recovery.active_offsets, "active")
    assert list(recovery.active_offsets.values()) == [1], "Faust seeks to the one before"
    table.apply_changelog_batch([event(table, 2, 36)])
    recovery._check_tables(frozenset(), tps)
    assert dict(table.recovered(0)) == {b"k": b"v"}


@pytest.mark.parametrize(
    ("first", "last", "why"), [(30, 36, "left a hole"), (2, 29, "read to 29, not to 36")]
)
async def test_a_part_of_a_changelog_is_not_taken_for_the_whole(recovery, table, first, last, why):
    tps = set(recovery.active_offsets)
    await recovery._build_offsets(Earliest, tps, recovery.active_offsets, "active")
    table.apply_changelog_batch([event(table, first, last)])
    with pytest.raises(Fatal, match=why) as raised:
        recovery._check_tables(frozenset(), tps)
    assert raised.value.code is ExitCode.RECOVERY_STUCK


async def test_a_revocation_while_the_states_are_built_opens_nothing(recovery):
    """Revoked, not yet assigned anew: the generation is still the same.

    The states were dropped by the revocation, so the partitions were opened without any, from the
    beginning of their logs, and some of them were not even ours any more.
    """
    app = recovery.app
    app.intake = Intake({"orders"})
    app.consumer = Assigned()
    app.consumer_generation_id = 7

    async def on_recovered(sps):
        app.intake.close(sps)

    app.on_recovered = on_recovered
    with pytest.raises(RebalanceAgain):
        await recovery._open_sources(7)
    assert not app.intake.owned


class Seconds:
    """Stands for the app; each of the recovery's sleeps is a second, and only the first ``count``."""

    def __init__(self, recovery, count, *, lately=True, flow_active=True):
        self.recovery, self.left = recovery, count
        self.switch = StopSwitch()
        self.watchdog = SimpleNamespace(settings=WatchdogSettings(deaf_ms=20_000))
        self.answers = SimpleNamespace(lately=lately)
        self.consumer = SimpleNamespace(flow_active=flow_active)
        recovery.app, recovery.sleep = self, self.sleep
        recovery._set_recovery_started()

    async def sleep(self, _seconds):
        self.left -= 1
        if self.left <= 0:
            self.recovery._stopped.set()


async def test_a_recovery_that_reads_nothing_from_a_broker_that_answers_ends_the_process(recovery):
    app = Seconds(recovery, 60)
    await recovery._end_when_deaf(recovery)
    assert app.switch.reason.code is ExitCode.RECOVERY_STUCK
    assert "no changelog record in 20 s" in app.switch.reason.reason


async def test_a_broker_that_is_away_is_waited_for(recovery):
    app = Seconds(recovery, 60, lately=False)
    await recovery._end_when_deaf(recovery)
    assert app.switch.reason is None


async def test_what_comes_before_the_reading_is_not_counted(recovery):
    """Records sent for the last assignment may need a whole request timeout to be acknowledged."""
    app = Seconds(recovery, 60, flow_active=False)
    await recovery._end_when_deaf(recovery)
    assert app.switch.reason is None


async def test_a_recovery_that_reads_or_has_ended_is_left_alone(recovery):
    app = Seconds(recovery, 60)

    async def received(_seconds):
        recovery._active_events_received_at["tp"] = app.left
        await app.sleep(_seconds)

    recovery.sleep = received
    await recovery._end_when_deaf(recovery)
    assert app.switch.reason is None

    recovery._stopped.clear()
    app = Seconds(recovery, 60)
    recovery._set_recovery_ended()
    await recovery._end_when_deaf(recovery)
    assert app.switch.reason is None
