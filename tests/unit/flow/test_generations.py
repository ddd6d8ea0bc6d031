"""An operator sets as_of back: the market begins a generation, and nobody falls behind it."""

from __future__ import annotations

import msgspec
import pytest

from streams.flow.compile import PartitionCompile
from streams.flow.fence_record import decode_fence_record, encode_fence_record
from streams.index.history_records import ClockReset, reset_record
from streams.index.panes import HOUR_MS
from streams.publish.journal import journal_records
from tests.support.events import T0
from tests.support.flow_harness import Flow, order, payment

STEP = 5_000


class Ahead:
    """A live market that an earlier owner has published an hour ahead of its events."""

    def __init__(self) -> None:
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
            as_of={each: at + HOUR_MS for each, at in published.fence_record.as_of.items()},
            headline=published.fence_record.headline + HOUR_MS,
            hours_until=(T0 + HOUR_MS) // HOUR_MS * HOUR_MS + HOUR_MS,
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
        flow.produce(orders, order(f"o{self.sent}", at_ms), at_ms)
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


def test_a_false_mark_of_a_quiet_partition_counts_neither_after_a_reset_nor_for_a_new_owner():
    # The clock of the broker was an hour ahead. Of two marks of one prefix the one caught up later
    # knows more, so the false one stood for an hour after the clock was right.
    flow = Flow(partitions=1)
    ((partition, _),) = [(n, each) for n, each in flow.compiles.items() if "PK" in each.markets]
    flow.now_ms = T0
    for topic, event in (("orders", order("o", T0)), ("payments", payment("p", T0))):
        flow.produce(flow.sps[topic][0], event, T0)
    flow.run()
    flow.now_ms = T0 + HOUR_MS
    flow.run()
    assert flow.published["PK"].as_of_ms > T0 + HOUR_MS // 2
    end = len(flow.partials[partition].records)
    reset = ClockReset(
        "PK", 1, "2026-11-24T10:00:00.000Z", "a broker was fast", partials_end=end, partials_id=""
    )
    flow.book.apply_record(*reset_record(reset))
    flow.now_ms = T0 + 60_000
    flow.run()
    after = flow.published["PK"]
    assert (after.fence.generation, after.as_of_ms) == (1, T0 + 55_000)
    assert set(after.sources.values()) == {T0 + 55_000}

    flow.start_compile(partition)
    flow.apply(partition)
    (again,) = (each for each in flow.compiles[partition].step(flow.now_ms) if each.market == "PK")
    assert again.fence == after.fence
