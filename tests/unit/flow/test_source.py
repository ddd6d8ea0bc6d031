"""Records that the owner of a source partition sends, and the order that others rely on."""

import json

from streams.flow import source as module
from streams.flow.chain import Identity
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.source import SourceLevel
from streams.flow.state import DAY, LIVE
from streams.flow.wire import MarkKey, PartialKey, decode_mark, decode_partial, parse_key
from streams.index.panes import DAY_MS, MINUTE_MS
from tests.support.events import T0, tuned
from tests.support.flow_harness import METHODOLOGY, order

SP = SourcePartition("orders", 0)
IDENTITY = Identity(1, METHODOLOGY.content_hash, "topic-id", 1)


def level(methodology=METHODOLOGY, **options) -> SourceLevel:
    return SourceLevel(SP, methodology, IDENTITY, "w1", 3, payments=False, **options)


def take(owner: SourceLevel, *events: tuple[dict | bytes | None, int]):
    values = [json.dumps(e).encode() if isinstance(e, dict) else e for e, _ in events]
    first = owner.through + 1
    arrivals = [arrived_ms for _, arrived_ms in events]
    return owner.fold_chunk(
        Chunk(SP, first, first + len(values) - 1, [None] * len(values), values, arrivals)
    )


def marks(owner: SourceLevel, now_ms: int, caught_up_at: int | None) -> dict:
    sends = owner.marks(now_ms, caught_up_at)
    found = {}
    for send in sends:
        assert isinstance(parse_key(send.key), MarkKey)
        found[send.partition] = decode_mark(send.value)
    return found


def slots(sends) -> list[tuple[str, str]]:
    keys = [parse_key(send.key) for send in sends]
    assert all(isinstance(key, PartialKey) for key in keys)
    return sorted((key.slot.market, key.slot.book) for key in keys)


def test_panes_go_with_partials_and_days_with_the_checkpoint():
    owner = level()
    take(owner, (order("first", T0), T0))
    assert slots(owner.partials()) == [("PK", DAY)], "its mark may end the day before"
    take(owner, (order("a", T0), T0))
    complete_ms = T0 - T0 % 5_000 + 5_000 + 2_000  # end of the pane, and out_of_order_ms
    assert owner.partials(complete_ms - 1) == []  # as_of cannot reach the pane yet
    assert slots(owner.partials(complete_ms)) == [("PK", LIVE)]
    assert owner.partials(complete_ms) == []
    assert slots(owner.day_partials()) == [("PK", DAY)]
    assert owner.day_partials() == []


def test_a_mark_of_every_partition_names_the_markets_it_is_about():
    owner = level()
    take(owner, (order("a", T0), T0), (order("b", T0, market="BR", currency="BRL"), T0 - 5))
    found = marks(owner, T0 + 9, T0 + 8)
    assert {market for mark in found.values() for market in mark.watermarks} == {"PK", "BR"}
    assert [(mark.through, mark.caught_up_at, mark.sent_at) for mark in found.values()] == [
        (1, T0 + 8, T0 + 9)
    ] * len(found)
    pk = next(mark for mark in found.values() if "PK" in mark.watermarks)
    assert pk.watermarks["PK"] == T0


def test_no_mark_ends_a_day_whose_row_was_not_sent():
    # Days go with the checkpoint, marks do not: one that is caught up past a day's end + grace would
    # make level 2 close the day, and its last row would come after that.
    methodology = tuned(day_grace_ms=DAY_MS)
    owner = level(methodology)
    day_closes_ms = T0 + 19 * 60 * MINUTE_MS + DAY_MS  # midnight in Karachi, and a day
    take(owner, (order("a", T0), T0))
    owner.partials()
    take(owner, (order("b", T0), T0))
    owner.partials()
    (mark, *_) = marks(owner, day_closes_ms + 5, day_closes_ms + 5).values()
    assert mark.caught_up_at == day_closes_ms - 1
    (mark, *_) = marks(owner, day_closes_ms - 5, day_closes_ms - 5).values()
    assert mark.caught_up_at == day_closes_ms - 5
    owner.day_partials()
    (mark, *_) = marks(owner, day_closes_ms + 5, day_closes_ms + 5).values()
    assert mark.caught_up_at == day_closes_ms + 5


def test_the_row_of_a_day_that_its_own_watermark_closes_goes_before_the_mark():
    owner = level()
    take(owner, (order("a", T0), T0))
    owner.partials()
    take(owner, (order("b", T0 + 60 * DAY_MS), T0 + 60 * DAY_MS))
    assert slots(owner.partials()) == [("PK", DAY), ("PK", LIVE)]


def test_the_row_of_a_day_that_a_mark_ends_goes_before_it():
    """What an import still brought of a day that had ended counted as a revision."""
    owner = level()
    take(owner, (order("a", T0), T0))
    owner.partials()
    midnight_ms = T0 + 19 * 60 * MINUTE_MS  # in Karachi
    take(owner, (order("b", midnight_ms - 1), midnight_ms - 1))
    take(owner, (order("c", midnight_ms), midnight_ms))
    assert ("PK", DAY) not in slots(owner.partials()), "as_of is behind midnight"
    late_ms = midnight_ms + METHODOLOGY.out_of_order_ms
    take(owner, (order("d", late_ms), late_ms))
    assert slots(owner.partials()).count(("PK", DAY)) == 2
    take(owner, (order("e", late_ms), late_ms))
    assert ("PK", DAY) not in slots(owner.partials())


def test_a_new_owner_sends_every_row_of_the_chain_again():
    owner = level(chain_length=2)
    take(owner, (order("a", T0), T0))
    first = owner.flush()
    take(owner, (order("b", T0 + 10 * MINUTE_MS), T0 + 10 * MINUTE_MS))  # closes the first pane
    second = owner.flush()
    new_owner = level()
    sends = new_owner.recover({flush.key: flush.value for flush in (first, second)})
    assert slots(sends) == [("PK", DAY), ("PK", LIVE), ("PK", LIVE)]
    assert {decode_partial(send.value).through for send in sends} == {1}
    assert new_owner.through == 1
    assert new_owner.partials() == []


def test_too_many_rejects_are_noticed_and_forgiven(monkeypatch):
    monkeypatch.setattr(module, "REJECTS_WINDOW", 10)
    monkeypatch.setattr(module, "REJECTS_MIN", 4)
    owner = level()
    take(owner, *[(b"{", T0)] * 3)
    assert not owner.rejects_too_many, "fewer than the least number"
    take(owner, (b"{", T0))
    assert owner.rejects_too_many
    owner.forgive_rejects()
    assert not owner.rejects_too_many
    for number in range(20):
        take(owner, (order(f"e{number}", T0), T0))
    take(owner, *[(b"{", T0)] * 4)
    assert not owner.rejects_too_many, "less than half of those looked at"
    take(owner, *[(b"{", T0)] * 4)
    assert owner.rejects_too_many


def test_what_the_log_held_when_it_was_released_does_not_halt_it_again(monkeypatch):
    monkeypatch.setattr(module, "REJECTS_WINDOW", 10)
    monkeypatch.setattr(module, "REJECTS_MIN", 4)
    owner = level()
    take(owner, *[(b"{", T0)] * 5)
    assert owner.rejects_too_many
    owner.forgive_rejects(before=45)
    for _ in range(4):
        take(owner, *[(b"{", T0)] * 10)
        assert not owner.rejects_too_many
    assert owner.through == 44
    take(owner, *[(b"{", T0)] * 4)
    assert owner.rejects_too_many, "what came after it was released counts"


def test_a_record_is_not_retired_before_the_rows_it_holds_were_acknowledged():
    # A pane's row waits until as_of can reach it. The arrival that closes the pane sends it, with the
    # very flush that would retire the only record holding it: if the flush lands and the row does
    # not, a new owner must still find the row in the chain.
    owner = level(chain_length=1)
    take(owner, (order("a", T0), T0))
    assert slots(owner.partials()) == [("PK", DAY)]
    first = owner.flush()
    take(owner, (order("b", T0 + 10 * MINUTE_MS), T0 + 10 * MINUTE_MS))
    assert slots(owner.partials()) == [("PK", LIVE)]  # on its way, not acknowledged
    second = owner.flush()
    table = {first.key: first.value, second.key: second.value}
    for key in second.delete_keys:
        del table[key]
    new_owner = level()
    sent = [parse_key(send.key).slot for send in new_owner.recover(table)]
    assert {slot.slot for slot in sent if slot.book == LIVE} == {T0, T0 + 10 * MINUTE_MS}
    # By the next flush it was acknowledged, and the record may go.
    take(owner, (order("c", T0 + 10 * MINUTE_MS), T0 + 10 * MINUTE_MS))
    third = owner.flush()
    assert first.key in third.delete_keys


def test_records_of_other_types_and_tombstones_halt_nothing_and_hide_no_rejects():
    owner = level()
    paid = order("x", T0, kind="order.paid")
    take(owner, *[(each, T0) for each in [paid, None] * 4_000])
    folded = take(owner, *[(b"{", T0)] * (module.REJECTS_MIN - 1), (order("a", T0), T0))
    assert folded.outcomes == {"dead": module.REJECTS_MIN - 1, "accepted": 1}
    assert not owner.rejects_too_many
    folded = take(owner, (b"{", T0), *[(None, T0)] * 2_000)
    assert folded.outcomes == {"dead": 1, "ignored": 2_000}
    assert folded.ignored == {"tombstone": 2_000}
    assert owner.rejects_too_many  # 1,000 of 1,001 events


def test_what_is_ignored_is_counted_by_its_reason():
    folded = take(level(), (order("x", T0, kind="order.paid"), T0), (None, T0))
    assert folded.ignored == {"unknown_type": 1, "tombstone": 1}
    assert folded.outcomes == {"ignored": 2}
    assert folded.dead == []


def test_the_parts_of_an_event_are_lost_once_though_it_comes_twice():
    lines = [None, {"quantity": 0, "unit_price_minor": 5}, {"quantity": 2, "unit_price_minor": 5}]
    event = order("a", T0) | {"lines": lines}
    owner = level()
    folded = take(owner, (event, T0), (event, T0))
    assert folded.outcomes == {"accepted": 1, "duplicate": 1}
    assert {reason: (each.lost, each.offset) for reason, each in folded.parts.items()} == {
        "line": (1, 0), "quantity": (1, 0),
    }  # fmt: skip
    assert folded.parts["quantity"].detail.endswith("`$.lines[1].quantity`")
