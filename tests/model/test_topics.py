"""Sequences in which a topic changes under the workers' hands (exactness rule 9)."""

from __future__ import annotations

from streams.index.panes import HOUR_MS, MINUTE_MS
from tests.model.stage import PANE, Stage, both, held
from tests.model.topics import PARTIALS

LOG = 1 << 40
"""Number of the first offset in the log that takes a log's place."""


@both("inputs read by name", "a state goes on over another log")
def test_nothing_of_another_log_is_counted_until_the_operator_accepts_it(off):
    """``orders`` is created again under load: its new log soon reaches beyond the old state.

    Read by its name, the new log looked like the old one from where the state ended: what lay before
    was never counted, and nothing looked wrong.
    """

    def script(stage: Stage) -> None:
        for name in "ab":
            stage.produce("orders-0", name)
        stage.produce("payments-0", "p")
        stage.world.settle()
        _, before = stage.world.redis.as_of["AA"]
        stage.recreate("orders")
        for name in "cde":
            stage.tick(PANE)
            stage.produce("orders-0", name)
        worker = stage.owner("orders-0")
        for worker.only in (0, 0, 1, 1):
            worker.step(lands=True)
        worker.producer.land_all()
        stage.kill(worker)
        stage.world.settle()
        assert stage.owner("orders-0").halted == "recreated"
        stage.tick(5 * MINUTE_MS)
        stage.world.settle()
        _, after = stage.world.redis.as_of["AA"]
        assert after <= before + PANE
        stage.accept()
        stage.kill(stage.owner("orders-0"))
        stage.world.settle()
        assert stage.owner("orders-0").level.through == LOG + 2
        stage.finish()

    held(script, off, topics_change=True)


@both("a partition without a state believes its topic")
def test_nothing_of_a_new_topic_is_counted_in_partitions_that_no_state_is_of(off):
    """``orders`` is created again with one partition more. Nothing says what topic this one is of.

    It was counted at once, while the partition beside it halted; nobody had accepted the new topic. One
    that is added later is held too, and all of them begin once it is accepted, with whatever owner.
    """

    def script(stage: Stage) -> None:
        for name in ("orders-0", "payments-0"):
            stage.produce(name, "a")
        stage.world.settle()
        stage.recreate("orders")
        for number in (1, 2):
            stage.grow("orders")
            stage.produce(f"orders-{number}", "x")
            stage.tick(PANE)
            stage.world.settle()
        assert [stage.owner(f"orders-{number}").halted for number in range(3)] == ["recreated"] * 3
        stage.accept()
        stage.rest("orders-0", "orders-1")
        stage.kill(stage.owner("orders-2"))  # its new owner finds that the others have gone on
        stage.world.settle()
        assert stage.owner("orders-0").level.through == LOG - 1
        assert stage.owner("orders-1").level.through == stage.owner("orders-2").level.through == 0
        stage.finish()

    held(script, off, topics_change=True)


def test_partitions_that_are_added_to_the_same_topic_wait_for_nobody():
    def script(stage: Stage) -> None:
        for name in ("orders-0", "payments-0"):
            stage.produce(name, "a")
        stage.world.settle()
        stage.recreate("orders")
        stage.world.settle()
        stage.accept()
        stage.world.settle()
        stage.grow("orders")
        stage.produce("orders-1", "x")
        stage.world.settle()
        assert stage.owner("orders-1").halted is None
        assert stage.owner("orders-1").level.through == 0
        stage.finish()

    held(script, None, topics_change=True)


def test_a_partition_that_nothing_was_counted_of_begins_with_the_log_there_is():
    """It is empty when its topic is created again; its owner is killed before its first flush.

    The new owner finds no checkpoint and numbers the records from 0. Had the owner numbered them as
    those of a second log, its rows would win for ever, and nothing would be counted any more.
    """

    def script(stage: Stage) -> None:
        stage.produce("payments-0", "p")
        stage.world.settle()
        stage.recreate("orders")
        stage.produce("orders-0", "a")
        for _ in range(2):
            stage.world.settle()
            stage.accept()
        stage.tick(MINUTE_MS)
        stage.produce("orders-0", "b")
        worker = stage.owner("orders-0")
        stage.go(worker, "folded", flush=False)
        stage.go(worker, "sent", flush=False)
        stage.kill(worker)
        stage.produce("orders-0", "c")
        stage.finish()

    held(script, None, topics_change=True)


@both("marks of partials that are gone believed", "nothing waits for rows of created partials")
def test_no_value_passes_rows_that_went_with_the_partials(off):
    """The partials are created again; workers that have not heard of it go on with their marks.

    The pane of ``a`` is open, so its row was in the partials alone. A new owner of level 2 found a mark
    of every source partition in the new ones, and published without the row.
    """

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a")
        stage.produce("payments-0", "p")
        stage.tick(2 * PANE)
        stage.world.settle()
        stage.recreate(PARTIALS)
        stage.tick(5_000)
        stage.produce("orders-0", "b")
        for name in ("orders-0", "payments-0"):
            worker = stage.owner(name)
            worker.only = 0
            stage.go(worker, "folded" if name == "orders-0" else "nothing")
            worker.only = 1
            stage.go(worker, "sent")
            worker.producer.land_all()
        new_owner = stage.kill(stage.owner("level2-0"))
        for _ in range(12):
            new_owner.step(lands=True)
        stage.finish()

    held(script, off, topics_change=True)


@both("marks do not say how many partitions there are", "a new partition begins at its end")
def test_a_partition_that_is_added_is_counted_from_its_first_record_on(off):
    """A zombie of level 2 knows of one partition; the marks that it reads say that there are two."""

    def script(stage: Stage) -> None:
        for name in ("orders-0", "payments-0"):
            stage.produce(name, "a")
        stage.world.settle()
        zombie = stage.owner("level2-0")
        stage.pause(zombie)
        stage.grow("orders")
        stage.produce("orders-1", "x")
        stage.produce("orders-0", "b")
        stage.rest("orders-0")
        stage.tick(2 * PANE)
        stage.produce("orders-1", "y")
        stage.rest("orders-0", "payments-0")
        zombie.only = None
        for _ in range(12):
            zombie.step(lands=True)
        stage.finish()

    held(script, off, topics_change=True)


@both("marks sent on an old answer about the topics")
def test_no_mark_is_sent_on_an_old_answer_about_the_topics(off):
    """A worker that was slow to ask goes on: ``as_of`` would pass what the new partition holds."""

    def script(stage: Stage) -> None:
        for name in ("orders-0", "payments-0"):
            stage.produce(name, "a")
        stage.world.settle()
        stage.grow("orders")
        stage.produce("orders-1", "x")
        stage.tick(2 * PANE)
        _keep_on(stage, "orders-0", "payments-0")
        _level2_reads_in_turn(stage)
        stage.finish()

    held(script, off, topics_change=True)


@both("final by partitions known a moment ago")
def test_what_a_new_partition_holds_changes_no_final_hour(off):
    """Its first record comes right after the topics were asked, as late as the grace allows."""

    def script(stage: Stage) -> None:
        for name in ("orders-0", "payments-0"):
            stage.produce(name, "a")
        stage.world.settle()
        stage.tick(HOUR_MS + MINUTE_MS - 5_000)  # the hour is final in five seconds
        stage.world.settle()
        stage.grow("orders")
        stage.tick(1_000)
        stage.produce("orders-1", "x", MINUTE_MS)
        stage.tick(5_000)
        stage.produce("orders-0", "b", MINUTE_MS // 2)  # something to publish
        _keep_on(stage, "orders-0", "payments-0")
        _level2_reads_in_turn(stage)
        stage.finish()

    held(script, off, topics_change=True)


@both("gaps are passed over")
def test_what_retention_took_before_it_was_read_halts_the_partition(off):
    def script(stage: Stage) -> None:
        for name in ("orders-0", "payments-0"):
            stage.produce(name, "a")
        stage.world.settle()
        stage.world.do(("retention", 0, 1))
        stage.produce("orders-0", "b")
        stage.world.settle()
        assert stage.owner("orders-0").halted == "gap"
        stage.tick(5 * MINUTE_MS)
        stage.kill(stage.owner("orders-0"))
        stage.world.settle()
        stage.accept()
        stage.finish()

    held(script, off, topics_change=True)


def test_the_command_that_an_owner_named_is_good_for_the_next_whatever_retention_took_since():
    def script(stage: Stage) -> None:
        for name in ("orders-0", "payments-0"):
            stage.produce(name, "a")
        stage.world.settle()
        stage.world.do(("retention", 0, 1))
        stage.world.settle()
        named = stage.owner("orders-0").change
        stage.world.do(("retention", 0, 2))
        stage.kill(stage.owner("orders-0"))
        stage.produce("orders-0", "b")
        stage.world.settle()
        assert stage.owner("orders-0").change.name != named.name
        stage.world.accept(named)
        stage.world.settle()
        assert stage.owner("orders-0").halted is None
        stage.finish()

    held(script, None, topics_change=True)


def _level2_reads_in_turn(stage):
    """Level 2 runs its first lane for two steps, then its second for four."""
    level2 = stage.owner("level2-0")
    for level2.only in (0, 0, 1, 1, 1, 1):
        level2.step(lands=True)


def _keep_on(stage: Stage, *names: str) -> None:
    """Let workers read and send marks without asking for the topics."""
    for name in names:
        worker = stage.owner(name)
        for worker.only in (0, 1, 1, 1, 1):
            worker.step(lands=True)
        worker.producer.land_all()
