"""An operator sets as_of back: the market begins a generation, and nobody falls behind it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from streams.flow.compile import PartitionCompile
from streams.flow.fence_record import decode_fence_record, encode_fence_record
from streams.index.history_records import ClockReset, reset_record
from streams.index.panes import DAY_MS, HOUR_MS, rfc3339
from streams.publish.journal import journal_records
from tests.support.bases import based
from tests.support.events import T0
from tests.support.flow_harness import Flow, order, payment

STEP = 5_000


class Ahead:
    """A live market that an earlier owner has published ahead of its events."""

    def __init__(self, ahead_ms: int = HOUR_MS) -> None:
        self.flow = flow = Flow(partitions=1)
        ((self.partition, _),) = [
            (number, each) for number, each in flow.compiles.items() if "PK" in each.markets
        ]
        self.sent = 0
        self.run(T0)
        published = flow.published["PK"]
        self.true = published.fence
        record = msgspec.structs.replace(
            published.fence_record,
            as_of={each: at + ahead_ms for each, at in published.fence_record.as_of.items()},
            headline=published.fence_record.headline + ahead_ms,
            hours_until=(T0 + ahead_ms) // HOUR_MS * HOUR_MS + HOUR_MS,
        )
        self.record = record
        flow.tables[self.partition][b"f|PK|fast.1"] = encode_fence_record(record)
        self.take_over()

    def take_over(self) -> None:
        self.flow.start_compile(self.partition)
        self.flow.apply(self.partition)

    def run(self, at_ms: int) -> None:
        """Send an order and a payment at this time, and let everything pass."""
        flow = self.flow
        flow.now_ms = at_ms
        self.sent += 1
        (orders,), (payments,) = flow.sps["orders"], flow.sps["payments"]
        flow.produce(orders, order(f"o{self.sent}", at_ms, shopper_id="aisha"), at_ms)
        flow.produce(payments, payment(f"p{self.sent}", at_ms), at_ms)
        flow.run()

    def reset(self, generation: int = 1) -> None:
        reset = ClockReset("PK", generation, "2026-11-24T10:00:00.000Z", "a clock was fast")
        self.flow.book.apply_record(*reset_record(reset))

    @property
    def published(self):
        return self.flow.published["PK"]


@pytest.fixture
def ahead():
    return Ahead()


def test_without_a_reset_nothing_goes_back(ahead):
    ahead.run(T0 + 60_000)
    assert ahead.published.fence.as_of_ms == ahead.true.as_of_ms + HOUR_MS
    assert ahead.published.fence.generation == 0


def test_a_reset_begins_a_generation_at_what_the_marks_say(ahead):
    ahead.run(T0 + 60_000)
    before = ahead.published
    ahead.reset()
    ahead.run(T0 + 120_000)
    after = ahead.published
    assert after.fence.generation == 1
    assert after.fence.as_of_ms < T0 + 120_000 < before.fence.as_of_ms
    assert after.fence.follows(before.fence)
    assert not before.fence.follows(after.fence)
    counted = {value.field: value.observed for value in after.values}
    assert counted["orders:market:all:5m"] == 2  # the third is younger than as_of
    assert after.fence_record.generation == 1
    assert after.fence_record.hours_until <= T0 + 120_000, (
        "hours closed ahead of time are open again"
    )


def held_by_readers(flow):
    """What readers of the topic hold of PK: the last record of each key."""
    held = {}
    for publication in [each for each in flow.history if each.market == "PK"]:
        held |= {value.key: value for value in (*publication.changed, *publication.days)}
        for key in publication.gone:
            held.pop(key, None)
    return held


def test_no_value_keeps_an_as_of_that_a_reset_has_taken_back(ahead):
    # A minute of no orders was one an hour ahead too: those values were not published again.
    ahead.run(T0 + 60_000)
    ahead.run(T0 + 120_000)
    before = held_by_readers(ahead.flow)
    ahead.reset()
    ahead.run(T0 + 180_000)
    after = held_by_readers(ahead.flow)
    assert {key for key in before.keys() ^ after.keys() if "shopper" not in key} == set()
    assert max(value.as_of for value in before.values()) == rfc3339(T0 + HOUR_MS - STEP)
    assert max(value.as_of for value in after.values()) == rfc3339(T0 + 180_000 - STEP)
    quiet = after["PK|orders|category|books|1m"]
    assert (quiet.observed, quiet.covered, quiet.revision) == (0, 1.0, 0)


def test_who_bought_on_a_day_that_had_ended_ahead_of_time_is_shown_as_of_now():
    ahead = Ahead(20 * HOUR_MS)
    ahead.run(T0 + 60_000)
    of_day = "PK|shoppers|market|all|day|2026-09-21"
    assert held_by_readers(ahead.flow)[of_day].covered == 1
    ahead.reset()
    ahead.run(T0 + 5 * 60_000)
    assert of_day not in held_by_readers(ahead.flow), "not a quarter of an hour is known yet"
    ahead.run(T0 + 20 * 60_000)
    held = held_by_readers(ahead.flow)
    assert 0 < held[of_day].covered < 1
    assert max(each.as_of for each in held.values()) <= rfc3339(ahead.published.as_of_ms)


def test_a_source_that_the_marks_do_not_know_has_no_value_after_a_reset(ahead):
    flow = ahead.flow
    ahead.run(T0 + 60_000)
    assert "PK|payments|market|all|1m" in held_by_readers(flow)
    end = len(flow.partials[ahead.partition].records)
    at = "2026-11-24T10:00:00.000Z"
    flow.book.apply_record(*reset_record(ClockReset("PK", 1, at, "fast", partials_end=end)))
    flow.now_ms = T0 + 120_000
    (orders,) = flow.sps["orders"]
    flow.send_partials(orders)
    flow.apply(ahead.partition)
    flow.step(ahead.partition)
    assert ahead.published.sources == {"orders": T0 + 120_000 - STEP}
    held = held_by_readers(flow)
    assert "PK|orders|market|all|1m" in held
    assert not {index for key in held for _, index, *_ in [key.split("|")] if "payments" in index}
    assert max(value.as_of for value in held.values()) == rfc3339(T0 + 120_000 - STEP)
    flow.send_partials(flow.sps["payments"][0])
    flow.apply(ahead.partition)
    flow.step(ahead.partition)
    assert held_by_readers(flow)["PK|payments|market|all|5m"].observed == 2


def test_the_first_publication_of_a_generation_journals_why(ahead):
    ahead.reset()
    ahead.run(T0 + 60_000)
    kinds = [
        msgspec.json.decode(record.value)
        for publication in ahead.flow.history
        for record in journal_records(publication, "journal")
        if publication.market == "PK"
    ]
    (told,) = [each["resets"] for each in kinds if each["kind"] == "reset"]
    assert [(each["generation"], each["reason"]) for each in told] == [(1, "a clock was fast")]


def test_a_new_owner_takes_the_generation_from_the_fence_record_alone(ahead):
    ahead.reset()
    ahead.run(T0 + 60_000)
    published = ahead.published
    # The zombie's record of the older generation is there too, whichever is read first.
    table = dict(ahead.flow.tables[ahead.partition])
    kept = {key: value for key, value in table.items() if not key.startswith(b"f|PK|")}
    own = [(b"f|PK|own.1", encode_fence_record(published.fence_record))]
    zombie = [(b"f|PK|fast.1", encode_fence_record(ahead.record))]
    for fences in (own + zombie, zombie + own):
        new_owner = PartitionCompile(
            ahead.partition, 3, ahead.flow.methodology, ahead.flow.sps, "new"
        )
        new_owner.recover(kept | dict(fences))
        progress = new_owner.markets["PK"].progress
        assert progress.generation == 1
        assert progress.headline_ms == published.as_of_ms
        assert progress.hours_until == published.fence_record.hours_until


def test_a_reset_that_a_crash_left_is_begun_by_the_next_owner(ahead):
    ahead.reset()
    ahead.take_over()  # whoever knew it published nothing
    ahead.run(T0 + 60_000)
    assert ahead.published.fence.generation == 1
    assert decode_fence_record(
        next(
            value
            for key, value in ahead.flow.tables[ahead.partition].items()
            if key.startswith(b"f|PK|") and decode_fence_record(value).generation
        )
    ).headline == ahead.published.as_of_ms  # fmt: skip


def test_within_the_generation_nothing_goes_back_and_a_second_reset_begins_another(ahead):
    ahead.reset()
    ahead.run(T0 + 60_000)
    first = ahead.published.fence
    ahead.run(T0 + 120_000)
    assert ahead.published.fence.as_of_ms > first.as_of_ms
    ahead.reset(generation=2)
    ahead.run(T0 + 180_000)
    assert ahead.published.fence.generation == 2


class Live:
    """A market with one order and one payment at T0, published by the owner of its partials."""

    def __init__(self, topic_id: str = "") -> None:
        self.flow = flow = Flow(partitions=1)
        ((self.partition, self.owner),) = [
            (number, each) for number, each in flow.compiles.items() if "PK" in each.markets
        ]
        self.owner.topic_id = topic_id
        self.orders, self.payments = flow.sps["orders"][0], flow.sps["payments"][0]
        flow.now_ms = T0
        flow.produce(self.orders, order("o", T0), T0)
        flow.produce(self.payments, payment("p", T0), T0)

    @property
    def end(self) -> int:
        """Where the market's partials end."""
        return len(self.flow.partials[self.partition].records)

    def reset(self, end: int, topic_id: str = "") -> None:
        """Let the owner hear of a reset that was declared when the partials ended at ``end``."""
        at = "2026-11-24T10:00:00.000Z"
        self.flow.book.apply_record(
            *reset_record(
                ClockReset("PK", 1, at, "a broker was fast", partials_end=end, partials_id=topic_id)
            )
        )


def test_a_false_mark_of_a_quiet_partition_counts_neither_after_a_reset_nor_for_a_new_owner():
    # The clock of the broker was an hour ahead. Of two marks of one prefix the one caught up later
    # knows more, so the false one stood for an hour after the clock was right.
    live = Live()
    flow = live.flow
    flow.run()
    flow.now_ms = T0 + HOUR_MS
    flow.run()
    assert flow.published["PK"].as_of_ms > T0 + HOUR_MS // 2
    live.reset(live.end)
    flow.now_ms = T0 + 60_000
    flow.run()
    after = flow.published["PK"]
    assert (after.fence.generation, after.as_of_ms) == (1, T0 + 55_000)
    assert set(after.sources.values()) == {T0 + 55_000}

    flow.start_compile(live.partition)
    flow.apply(live.partition)
    (again,) = (
        each for each in flow.compiles[live.partition].step(flow.now_ms) if each.market == "PK"
    )
    assert again.fence == after.fence


def test_a_reset_that_is_heard_late_counts_every_mark_since_it():
    # A partition was halted meanwhile, so its last mark said less than the one before; a zombie's does
    # too. Had the last one counted, as_of would have begun where the last event was.
    live = Live()
    flow = live.flow
    flow.run()
    end = live.end
    flow.now_ms = T0 + 60_000
    flow.run()
    flow.run(caught_up=False)
    live.reset(end)
    flow.run(caught_up=False)
    after = flow.published["PK"]
    assert (after.fence.generation, after.as_of_ms) == (1, T0 + 55_000)


def test_a_reset_that_names_newer_partials_leaves_no_mark_of_those_that_are_gone():
    # The false marks stood in the partials that the owner still read, and the new generation began an
    # hour ahead: the reset was in vain.
    live = Live("first")
    flow = live.flow
    flow.run()
    flow.now_ms = T0 + HOUR_MS
    flow.run()
    before = flow.published["PK"]
    live.reset(0, "second")
    flow.run()
    assert flow.published["PK"] is before

    table = dict(flow.tables[live.partition])
    owner = PartitionCompile(
        live.partition, 3, flow.methodology, flow.sps, "new", flow.book, topic_id="second"
    )
    owner.recover(table)
    flow.compiles[live.partition] = owner
    owner.replayed()
    flow.partials[live.partition].records.clear()
    flow.now_ms = T0 + 60_000
    for sp in flow.logs:
        flow.send_partials(sp)
    chunk = flow.partials[live.partition].chunk(live.orders, 0)
    owner.apply_chunk(
        replace(chunk, first_offset=owner.base, last_offset=owner.base + live.end - 1)
    )
    (after,) = (each for each in owner.step(flow.now_ms) if each.market == "PK")
    assert (after.fence.generation, after.as_of_ms) == (1, T0 + 55_000)


def test_a_reset_before_the_partials_were_created_anew_leaves_all_their_marks():
    live = Live("second")
    live.flow.run()
    live.reset(1_000, "first")
    live.flow.start_compile(live.partition)
    owner = live.flow.compiles[live.partition]
    owner.topic_id = "second"
    (after,) = (each for each in owner.step(T0) if each.market == "PK")
    assert (after.fence.generation, after.as_of_ms) == (1, T0 - 5_000)


def test_while_a_reset_leaves_nothing_final_the_owner_has_nothing_to_do():
    # A day waited to be learnt, and the orders were halted: the owner published the same values again
    # and again, as fast as they were acknowledged.
    live = Live()
    flow, owner = live.flow, live.owner
    for sp in flow.logs:
        flow.fold(sp)
        flow.send_partials(sp)
    flow.apply(live.partition)
    flow.step(live.partition)
    assert owner.behind
    live.reset(live.end)
    flow.now_ms = T0 + 60_000
    flow.send_partials(live.payments)
    flow.apply(live.partition)
    (after,) = flow.step(live.partition)
    assert (after.fence.generation, after.sources) == (1, {"payments": T0 + 55_000})
    assert not owner.behind
    assert flow.step(live.partition) == []
    flow.send_partials(live.orders)
    flow.apply(live.partition)
    flow.step(live.partition)
    assert owner.behind


@pytest.mark.parametrize("killed", [False, True])
def test_after_a_reset_days_end_again_and_have_levels(killed):
    # No day ended until as_of was where it had been, and the day that the clock had ended kept the
    # level of then.
    flow = Flow(based("PK", "2026-11-16", "2026-11-17", net_minor=100), partitions=1)
    noon = 1_795_003_200_000

    def run(day: float) -> None:
        flow.now_ms = noon + int(day * DAY_MS)
        for topic, event in (("orders", order), ("payments", payment)):
            flow.produce(flow.sps[topic][0], event(f"{topic} {day}", flow.now_ms), flow.now_ms)
        flow.run()

    def level(day: str) -> float | None:
        found = flow.day_value("PK", "sales_level_index", "market", "all", day)
        return None if found is None else found.value

    run(-1)
    run(0)
    partition = next(each for each, compiled in flow.compiles.items() if "PK" in compiled.markets)
    record = flow.published["PK"].fence_record
    as_of = {each: at + 3 * DAY_MS for each, at in record.as_of.items()}
    fast = msgspec.structs.replace(record, as_of=as_of, headline=record.headline + 3 * DAY_MS)
    flow.tables[partition][b"f|PK|fast.1"] = encode_fence_record(fast)
    flow.start_compile(partition)
    run(0.05)
    assert level("2026-11-18") == 200
    reset = ClockReset("PK", 1, "2026-11-24T10:00:00.000Z", "a clock was fast")
    flow.book.apply_record(*reset_record(reset))
    if killed:
        flow.start_compile(partition)
    run(0.1)
    held = held_by_readers(flow)
    assert "PK|sales_level_index|market|all|day|2026-11-18" not in held
    assert max(each.as_of for each in held.values()) <= rfc3339(flow.published["PK"].as_of_ms)
    run(1)
    run(2)
    assert (level("2026-11-18"), level("2026-11-19")) == (300, 100)
