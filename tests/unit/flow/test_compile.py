"""Level 2 of a partition: tables, takeovers, zombies, what may be published when."""

import re
from dataclasses import replace

import msgspec
import pytest

from streams.flow.chain import RecoveryError
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import LIVE_WITHIN_MS, PartitionCompile
from streams.flow.merged import HOUR
from streams.flow.own_records import OwnRecordError
from streams.flow.wire import (
    MarkRecord,
    PartialRecord,
    encode_partial,
    mark_key,
    partition_of,
)
from streams.index.formats import OLDEST
from streams.index.label_rows import PackedRow
from streams.index.panes import DAY_MS, HOUR_MS
from streams.index.partials import ORDERS as ORDERS_COLUMN
from streams.index.partials import PAYMENTS
from tests.support.events import T0, tuned
from tests.support.flow_harness import METHODOLOGY, Flow, order, payment
from tests.support.flow_harness import PAYMENTS as PAYMENTS_TOPIC

ORDERS = "orders"


def pk_partition(flow: Flow) -> int:
    return partition_of("PK", flow.partials_partitions)


def fold_and_send(flow: Flow, *events: tuple[dict, int]) -> None:
    (orders,) = flow.sps[ORDERS]
    for event, arrived_ms in events:
        flow.produce(orders, event, arrived_ms)
    flow.fold(orders)
    flow.send_partials(orders)


def own(flow: Flow) -> PartitionCompile:
    return flow.compiles[pk_partition(flow)]


def test_a_new_owner_publishes_nothing_before_it_applied_all_that_its_predecessor_had():
    # A paused owner goes on. It applies and publishes beyond the high water that the new owner read
    # before it read the table. The new owner must not publish older rows under that version.
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    highwater = len(flow.partials[partition].records)
    zombie = own(flow)
    fold_and_send(flow, (order("b", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.apply(partition)
    (newer,) = (p for p in flow.step(partition) if p.market == "PK")
    assert newer.fence.applied == zombie.through

    new_owner = PartitionCompile(partition, 3, flow.methodology, flow.sps, "new")
    new_owner.recover(dict(flow.tables[partition]))
    new_owner.apply_chunk(flow.partials[partition].chunk(("p", partition), 0, highwater))
    new_owner.replayed()
    assert new_owner.step(flow.now_ms) == []
    new_owner.apply_chunk(flow.partials[partition].chunk(("p", partition), highwater))
    (publication,) = (p for p in new_owner.step(flow.now_ms) if p.market == "PK")
    assert publication.fence == newer.fence
    assert [v.value for v in publication.values] == [v.value for v in newer.values]


def test_a_new_owner_does_not_close_an_hour_again_when_its_record_was_only_rewritten():
    # A new owner took the hour for changed by what it read. The second closing had no shoppers left.
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + 3 * HOUR_MS
    for topic, event in ((ORDERS, order), (PAYMENTS_TOPIC, payment)):
        for at_ms in (T0, flow.now_ms):
            flow.produce(flow.sps[topic][0], event(f"{topic}{at_ms}", at_ms), at_ms)
    for _ in range(2):  # the watermark of the second is known to the marks of the first
        for (sp,) in flow.sps.values():
            flow.fold(sp)
            flow.send_partials(sp)
    flow.apply(partition)
    (publication,) = (each for each in own(flow).step(flow.now_ms) if each.market == "PK")
    assert [each.kind for each in publication.closings] == ["hour"]
    own(flow).through += 10  # marks alone were read since
    for batch in (own(flow).table_batch(), own(flow).fence_batch(publication)):
        flow._write_table(partition, batch)

    new_owner = PartitionCompile(partition, 3, flow.methodology, flow.sps, "new")
    new_owner.recover(dict(flow.tables[partition]))
    market = new_owner.markets["PK"]
    (hour,) = (merged for (kind, _), merged in market.ledger.merged.items() if kind == HOUR)
    assert hour.applied > market.progress.floor_applied >= hour.changed
    assert market._slots_to_close == set()


def test_a_new_owner_retires_the_fence_records_of_former_writers_once():
    # The contract's "the writer is gone": a reader of the values gave up at 10,000 of them.
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.apply(partition)
    former = own(flow)
    (published,) = (p for p in flow.step(partition) if p.market == "PK")
    zombie_too = {b"f|PK|paused.7": former.fence_batch(published).writes[-1][1]}
    new_owner = PartitionCompile(partition, 3, flow.methodology, flow.sps, "new")
    new_owner.recover(dict(flow.tables[partition]) | zombie_too)
    new_owner.apply_chunk(flow.partials[partition].chunk(("p", partition), 0))
    new_owner.replayed()
    (publication,) = (p for p in new_owner.step(flow.now_ms) if p.market == "PK")
    assert publication.fence.follows(published.fence)
    assert new_owner.fence_batch(publication).retired == sorted([former.nonce, "paused"])
    assert new_owner.fence_batch(publication).retired == []


def test_a_table_goes_on_over_recreated_partials_once_every_row_is_there_again():
    # By the id, not by the end of the log: other workers' rows may have made that long again.
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    own(flow).topic_id = "first"
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.send_partials(flow.sps[PAYMENTS_TOPIC][0])
    flow.apply(partition)
    flow.step(partition)
    table = dict(flow.tables[partition])

    def new_owner(topic_id):
        found = PartitionCompile(partition, 3, flow.methodology, flow.sps, "new", topic_id=topic_id)
        found.recover(table)
        return found

    for same in ("first", ""):
        assert (new_owner(same).anew, new_owner(same).base) == (False, 0)
    anew = new_owner("second")
    assert (anew.anew, anew.base) == (True, 1 << 40)
    rows = [r for r in flow.partials[partition].records if r.value is not None]
    marks = [r for r in rows if r.key.startswith(b"mark|")]
    anew.replayed()

    def apply(records, first):
        anew.apply_chunk(
            Chunk(
                SourcePartition("partials", partition), first, first + len(records) - 1,
                [r.key for r in records], [r.value for r in records], [0] * len(records),
            )
        )  # fmt: skip

    apply([r for r in rows if r not in marks] + marks[:1], anew.base)
    assert anew.step(flow.now_ms) == []  # the other topic's partition has sent nothing yet
    apply(marks, anew.base + len(rows))
    (publication,) = anew.step(flow.now_ms)
    written = anew.fence_batch(publication)
    table |= dict(written.writes)
    assert (new_owner("second").anew, new_owner("second").base) == (False, 1 << 40)


def test_a_mark_whose_rows_went_into_partials_that_are_gone_says_nothing():
    flow = Flow(partitions=1)
    (orders,) = flow.sps[ORDERS]

    def known(named, own_id):
        compiled = PartitionCompile(
            pk_partition(flow), 3, flow.methodology, flow.sps, "new", topic_id=own_id
        )
        mark = MarkRecord(METHODOLOGY.edition, 5, {"PK": T0}, T0, T0, ["PK"], partials_id=named)
        chunk = Chunk(
            SourcePartition("partials", 0),
            0,
            0,
            [mark_key(orders, "w")],
            [encode_partial(mark)],
            [T0],
        )
        compiled.apply_chunk(chunk)
        return orders in compiled.marks

    assert not known("first", "second")
    assert known("second", "second")
    assert known("", "second")  # an older release does not say; a broker before 2.8 names no ids
    assert known("first", "")


def test_a_final_hour_is_not_revised_by_the_same_row_in_recreated_partials():
    # The counter pages: it should never rise where the broker stamps the inputs.
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    own(flow).topic_id = "first"
    flow.now_ms = T0
    fold_and_send(flow, (order("a", T0), T0))
    flow.send_partials(flow.sps[PAYMENTS_TOPIC][0])
    flow.apply(partition)
    flow.now_ms = T0 + 2 * HOUR_MS  # quiet since: the hour is final, its row is open
    for (sp,) in flow.sps.values():
        flow.send_partials(sp)
    flow.apply(partition)
    (published,) = (each for each in flow.step(partition) if each.market == "PK")
    assert [each.kind for each in published.closings] == ["hour"]
    flow._write_table(partition, own(flow).fence_batch(published))
    rows = [record for record in flow.partials[partition].records if record.value is not None]
    anew = PartitionCompile(partition, 3, flow.methodology, flow.sps, "new", topic_id="second")
    anew.recover(dict(flow.tables[partition]))
    filled(anew, partition, rows)
    anew.replayed()
    (again,) = (each for each in anew.step(flow.now_ms) if each.market == "PK")
    assert again.closings == []
    assert anew.markets["PK"].revised_after_final == 0
    assert [v.value for v in again.values] == [v.value for v in published.values]


def test_an_imports_order_behind_its_payments_closes_its_hour_while_partials_are_created_anew():
    # The hours up to the payments were closed, since no order of the market had been read. The order's
    # row was taken for one that they held, and the journal never got its hour.
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    own(flow).topic_id = "first"
    (orders,), (payments,) = flow.sps[ORDERS], flow.sps[PAYMENTS_TOPIC]
    flow.now_ms = T0 + 1_000 * DAY_MS
    flow.produce(payments, payment("far", T0 + 2 * DAY_MS), T0 + 2 * DAY_MS)
    flow.fold(payments)
    for sp in (orders, payments):
        flow.send_partials(sp)
    flow.apply(partition)
    (published,) = (each for each in flow.step(partition) if each.market == "PK")
    assert published.fence_record.hours_until > T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0), T0))
    rows = [record for record in flow.partials[partition].records if record.value is not None]
    anew = PartitionCompile(partition, 3, flow.methodology, flow.sps, "new", topic_id="second")
    anew.recover(dict(flow.tables[partition]))
    filled(anew, partition, rows)
    anew.replayed()
    (again,) = (each for each in anew.step(flow.now_ms) if each.market == "PK")
    assert [(each.kind, each.start_ms) for each in again.closings][:1] == [("hour", T0)]


def test_partitions_that_were_added_hold_as_of_until_they_have_a_mark():
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0
    fold_and_send(flow, (order("a", T0), T0))
    flow.apply(partition)
    flow.step(partition)
    before = own(flow).markets["PK"].progress.as_of_ms[ORDERS]
    (orders,) = flow.sps[ORDERS]
    flow.levels[orders].grow(2)
    flow.now_ms = T0 + 60_000
    fold_and_send(flow, (order("b", flow.now_ms), flow.now_ms))
    flow.apply(partition)
    flow.step(partition)
    assert own(flow).markets["PK"].progress.as_of_ms[ORDERS] == before
    added = SourcePartition(ORDERS, 1)
    mark = MarkRecord(METHODOLOGY.edition, -1, {}, flow.now_ms, flow.now_ms, [], partitions=2)
    flow.partials[partition].append(encode_partial(mark), flow.now_ms, mark_key(added, "other"))
    flow.apply(partition)
    flow.step(partition)
    assert own(flow).markets["PK"].progress.as_of_ms[ORDERS] > before


def filled(anew, partition, rows):
    """Let a new owner read rows of partials that were created again."""
    keys, values, stamps = zip(*((r.key, r.value, r.timestamp_ms) for r in rows), strict=True)
    sp = SourcePartition("partials", partition)
    last = anew.base + len(rows) - 1
    anew.apply_chunk(Chunk(sp, anew.base, last, list(keys), list(values), list(stamps)))


def test_a_table_that_lost_its_records_publishes_nothing():
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0
    fold_and_send(flow, (order("a", T0), T0))
    flow.now_ms = T0 + 2 * HOUR_MS
    fold_and_send(flow, (order("b", T0 + 2 * HOUR_MS), T0 + 2 * HOUR_MS))
    flow.apply(partition)
    flow.step(partition)
    assert any(record.value is None for record in flow.partials[partition].records)
    flow.tables[partition].clear()
    flow.start_compile(partition)
    assert "merged changelog was deleted" in own(flow).lost
    assert flow.step(partition) == []
    # Another edition's rows are deleted from the same partials, by its own owners.
    raised = tuned(edition=METHODOLOGY.edition + 1)
    other = PartitionCompile(partition, 3, raised, flow.sps, "other")
    other.recover({})
    other.apply_chunk(flow.partials[partition].chunk(SourcePartition("partials", partition), 0))
    other.replayed()
    assert other.lost is None


def test_a_new_owner_deletes_nothing_that_was_deleted_already():
    # With each takeover it grew: every row of the log once more, for every record of it.
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    for name in ("a", "b"):  # two records under one key
        fold_and_send(flow, (order(name, T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.now_ms += HOUR_MS
    fold_and_send(flow, (order("closes it", flow.now_ms), flow.now_ms))
    log = flow.partials[partition]
    flow.apply(partition)
    batch = own(flow).table_batch()
    assert len(batch.tombstones) == len(set(batch.tombstones)) == 1

    table = {key: value for key, value in batch.writes if value is not None}
    for deleted in (False, True):
        new_owner = PartitionCompile(partition, 3, flow.methodology, flow.sps, "new")
        new_owner.recover(table)
        new_owner.apply_chunk(log.chunk(("p", partition), 0))
        assert new_owner.table_batch().tombstones == ([] if deleted else batch.tombstones)
        log.append(None, flow.now_ms, batch.tombstones[0])


def test_a_new_edition_publishes_once_it_reaches_as_far_as_the_older():
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0 + HOUR_MS), T0 + HOUR_MS))
    flow.apply(partition)
    flow.step(partition)
    fences = {k: v for k, v in flow.tables[partition].items() if k.startswith(b"f|")}
    assert fences

    newer = Flow(tuned(edition=METHODOLOGY.edition + 1), partitions=1)
    newer.tables[partition] = fences
    newer.start_compile(partition)
    newer.now_ms = T0
    fold_and_send(newer, (order("a", T0), T0))
    newer.apply(partition)
    assert newer.step(partition) == []
    newer.now_ms = T0 + 2 * HOUR_MS
    fold_and_send(newer, (order("b", T0 + 2 * HOUR_MS), T0 + 2 * HOUR_MS))
    newer.apply(partition)
    (publication,) = newer.step(partition)
    assert publication.fence.edition == METHODOLOGY.edition + 1
    assert publication.fence.follows(flow.published["PK"].fence)
    assert not flow.published["PK"].fence.follows(publication.fence)
    assert publication.fence.applied == newer.compiles[partition].through


def test_a_market_is_live_by_any_mark_not_only_by_the_best():
    # Compaction keeps the last mark of each writer: which of them is met first must not matter.
    old = MarkRecord(METHODOLOGY.edition, 5, {"PK": T0}, T0, T0, ["PK"])  # of now, when it was sent
    best = MarkRecord(METHODOLOGY.edition, 5, {"PK": T0}, T0 + 2 * HOUR_MS, T0 + 2 * HOUR_MS)
    for order_of_marks in ([old, best], [best, old]):
        flow = Flow(partitions=1)
        (orders,) = flow.sps[ORDERS]
        partition = pk_partition(flow)
        for number, mark in enumerate(order_of_marks):
            key = mark_key(orders, f"w{number}")
            flow.partials[partition].append(encode_partial(mark), mark.sent_at, key)
        flow.apply(partition)
        assert own(flow).markets["PK"].progress.live


def test_rows_of_another_edition_version_or_partition_count_are_skipped_and_counted():
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.apply(partition)
    compiled = own(flow)
    assert compiled.skipped == {"foreign": 0, "expired": 0}
    (sp,) = flow.sps[ORDERS]
    log = flow.partials[partition]
    (known,) = {each.key for each in log.records if b"|live|" in (each.key or b"")}
    row = PackedRow([PAYMENTS, 1])
    other_edition = encode_partial(PartialRecord(flow.methodology.edition + 1, 99, row))
    log.append(other_edition, flow.now_ms, key=known)
    log.append(other_edition, flow.now_ms, key=known.replace(b"PK", b"ZZ"))
    by_member = [flow.methodology.edition, 99, [PAYMENTS, 1], b"", OLDEST - 1]
    log.append(msgspec.msgpack.encode(by_member), flow.now_ms, key=known)
    mark = MarkRecord(flow.methodology.edition + 1, 99, {"PK": flow.now_ms}, None, flow.now_ms)
    log.append(encode_partial(mark), flow.now_ms, key=mark_key(sp, "other"))
    flow.apply(partition)
    assert compiled.skipped == {"foreign": 4, "expired": 0}
    assert compiled.markets["PK"].ledger.pane_sum(T0 + HOUR_MS - 60_000)[PAYMENTS] == 0
    assert set(compiled.marks) == {sp}
    assert compiled.marks[sp].edition == flow.methodology.edition


@pytest.mark.parametrize("key", [b"\xff", b"x", b"PK|live|soon|orders-0|w", b"mark|orders|w"])
def test_a_key_that_is_none_of_ours_is_passed_over_and_a_value_of_ours_is_not(key):
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    log = flow.partials[partition]
    for value in (b"rubbish", None):
        log.append(value, flow.now_ms, key=key)
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.apply(partition)
    assert own(flow).skipped == {"foreign": 1, "expired": 0}
    assert own(flow).through == len(log.records) - 1
    log.append(b"rubbish", flow.now_ms, key=b"PK|live|5000|orders-0|w")  # may have replaced a row
    named = f"partials-{partition}@{len(log.records) - 1}, key 'PK|live|5000|orders-0|w'"
    with pytest.raises(OwnRecordError, match=re.escape(named)):
        flow.apply(partition)


def test_a_row_of_an_hour_that_is_not_kept_any_more_is_skipped_and_counted():
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.apply(partition)
    compiled = own(flow)
    list(compiled.markets["PK"].ledger.expire(T0 + 10 * 7 * 24 * HOUR_MS))
    expired = compiled.skipped["expired"]
    assert expired > 0  # it was open, and closed by nobody
    log = flow.partials[partition]
    (again,) = {(each.key, each.value) for each in log.records if b"|live|" in (each.key or b"")}
    log.append(again[1], flow.now_ms, key=again[0])
    flow.apply(partition)
    assert compiled.skipped == {"foreign": 0, "expired": expired + 1}


@pytest.mark.parametrize(
    ("read_to_its_end", "expected"),
    [
        ([], False),
        ([T0 - LIVE_WITHIN_MS], False),
        ([T0 - LIVE_WITHIN_MS - 1], True),
        ([T0, None], True),
        ([T0, T0 - LIVE_WITHIN_MS - 1], True),
    ],
)
def test_it_is_catching_up_while_any_source_partition_is(read_to_its_end, expected):
    flow = Flow(partitions=2)
    compiled = own(flow)
    for sp, at_ms in zip(flow.sps[ORDERS], read_to_its_end, strict=False):
        compiled.marks[sp] = MarkRecord(flow.methodology.edition, 1, {"PK": T0}, at_ms, T0)
    assert compiled.catching_up(T0) is expected


def test_a_market_that_inputs_of_other_names_have_published_is_refused():
    """Its headline waited for them for ever. The checkpoints that tell it at a start may be gone."""
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    flow.apply(partition)
    flow.step(partition)
    sps = {"orders2": flow.sps[ORDERS], PAYMENTS_TOPIC: flow.sps[PAYMENTS_TOPIC]}
    owner = PartitionCompile(partition, 3, flow.methodology, sps, "new")
    with pytest.raises(
        RecoveryError, match="found orders2, payments, and PK was published from ord"
    ):
        owner.recover(dict(flow.tables[partition]))
    next_edition = replace(flow.methodology, edition=flow.methodology.edition + 1)
    PartitionCompile(partition, 3, next_edition, sps, "new").recover(dict(flow.tables[partition]))


def test_of_the_rows_of_a_key_only_the_last_of_a_chunk_is_read():
    """As compaction might have left no other: a takeover reads the rows of a day of many flushes."""
    flow = Flow(partitions=1)
    partition = pk_partition(flow)
    flow.now_ms = T0 + HOUR_MS
    fold_and_send(flow, (order("a", T0 + HOUR_MS - 60_000), T0 + HOUR_MS))
    log = flow.partials[partition]
    (known,) = [each for each in log.records if b"|live|" in (each.key or b"")]
    nonsense = PartialRecord(flow.methodology.edition, 0, PackedRow([], ["9none"]))
    log.records.insert(0, replace(known, value=encode_partial(nonsense)))
    flow.apply(partition)
    assert own(flow).markets["PK"].ledger.pane_sum(T0 + HOUR_MS - 60_000)[ORDERS_COLUMN] == 1
