"""The checkpoint chain: bounded, always recoverable, never larger than a record may be."""

import json
from dataclasses import replace

import msgspec
import pytest

from streams.flow import chain as module
from streams.flow.chain import Chain, Identity, RecoveryError, source_of
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.source_state import SourceState
from streams.flow.state import FOREVER_MS
from streams.index.formats import OLDEST
from streams.index.label_rows import PackedRow
from streams.index.panes import DAY_MS
from tests.support.events import PANE, T0
from tests.support.flow_harness import METHODOLOGY, order

SP = SourcePartition("orders", 3)
IDENTITY = Identity(1, METHODOLOGY.content_hash, "topic-id", 8)


class Owner:
    """A chain with its table."""

    def __init__(self, table: dict[bytes, bytes], nonce: str = "w1", length: int = 3) -> None:
        self.table = table
        self.chain = Chain(
            SourceState(SP, METHODOLOGY, payments=False), IDENTITY, nonce, length=length
        )
        self.folding = SourceFold(self.chain.source)
        self.recovered = self.chain.recover(dict(table))

    @property
    def panes(self) -> list:
        return list(self.chain.source.markets["PK"].panes.values())

    def fold(self, *events: tuple[dict, int]) -> None:
        values = [json.dumps(event).encode() for event, _ in events]
        first = self.chain.source.through + 1
        arrivals = [arrived_ms for _, arrived_ms in events]
        last = first + len(values) - 1
        self.folding.fold(Chunk(SP, first, last, [None] * len(values), values, arrivals))

    def flush(self, *, deletes: bool = True) -> module.Flush:
        # Rows are sent, and acknowledged by the next flush.
        self.chain.source.take_touched_live(FOREVER_MS)
        self.chain.source.take_touched_days()
        flush = self.chain.flush()
        self.table |= dict([*flush.parts, (flush.key, flush.value)])
        if deletes:
            for key in flush.delete_keys:
                self.table.pop(key, None)
        return flush


def test_an_empty_table_is_the_beginning():
    owner = Owner({})
    assert owner.recovered == []
    assert owner.chain.source.through == -1
    assert not owner.chain.due
    assert owner.chain.pending_bytes == 0


def test_a_chain_comes_to_rest_when_everything_in_it_is_alive():
    # One record retired and one written for ever, without any new event.
    owner = Owner({}, length=1)
    for number in range(20):
        events = [order(f"e{number}-{at}", T0 + at % 3 * PANE) for at in range(60)]
        owner.fold(*((event, T0) for event in events))
        owner.flush()
    for _ in range(20):
        if not owner.chain.due:
            break
        owner.flush()
    assert not owner.chain.due
    assert len(owner.table) == owner.chain.entries <= 4
    new_owner = Owner(dict(owner.table), "w2", length=1)
    assert new_owner.chain.source.through == 1199
    assert new_owner.chain.source.held_ids == 1200


def test_a_chain_shrinks_when_its_panes_have_closed():
    owner = Owner({}, length=3)
    for number in range(10):
        owner.fold((order(f"e{number}", T0), T0))
        owner.flush()
    for number in range(10):
        owner.fold((order(f"f{number}", T0 + DAY_MS), T0 + DAY_MS))
        owner.flush()
    # The days of each record live on, but no chain is longer than four times its length.
    assert len(owner.table) <= 12
    for number in range(10):
        at_ms = T0 + (40 + number) * DAY_MS
        owner.fold((order("g", at_ms), at_ms))
        owner.flush()
    assert len(owner.table) <= 12
    assert not any(key.endswith(b"|1") for key in owner.table)


@pytest.mark.parametrize(
    "quantity",
    [1, pytest.param(2**31, marks=pytest.mark.deep), pytest.param(2**52, marks=pytest.mark.deep)],
)
def test_no_record_is_larger_than_a_record_may_be(monkeypatch, quantity):
    # However wide the sums: an estimate that a producer can beat would end the worker, again and again.
    monkeypatch.setattr(module, "RECORD_BYTES_MAX", 12_000)
    owner = Owner({}, length=2)
    number = 0
    for flushes in range(60):
        for _ in range(500):
            if owner.chain.pending_bytes >= 6_000:
                break
            lines = [("books", quantity, 1), ("computing", quantity % 7 + 1, quantity // 9 + 1)]
            at_ms = T0 + (number % 20) * PANE
            owner.fold(
                (order(f"{number}", at_ms, lines=lines[: 1 + number % 2], region="punjab"), T0)
            )
            number += 1
        flush = owner.flush()
        assert len(flush.value) <= 12_000, flushes
    assert Owner(dict(owner.table), "w2").chain.source.through == number - 1


def test_a_flush_that_one_record_cannot_hold_is_durable_with_its_last_part(monkeypatch):
    """Twenty panes full of labels took 2.4 MB: no broker takes such a record, and no worker went on."""
    monkeypatch.setattr(module, "RECORD_BYTES_MAX", 2_000)
    owner = Owner({})
    owner.fold((order("first", T0), T0))
    owner.flush()
    before = dict(owner.table)
    for number in range(60):
        at_ms = T0 + number % 6 * PANE
        lines = [(f"a label said for the {number}th time", 1, 100)]
        owner.fold((order(f"e{number}", at_ms, lines=lines), T0))
    flush = owner.flush()
    records = [*flush.parts, (flush.key, flush.value)]
    assert len(flush.parts) >= 2
    largest_row = max(len(msgspec.msgpack.encode(pane.row.packed())) for pane in owner.panes)
    beside = 500  # what is in each record beside slots
    assert all(len(value) <= 2_000 + largest_row + beside for _, value in records)
    for landed in range(len(records)):
        cut = Owner(before | dict(records[:landed]), "w2")
        assert (cut.chain.source.through, cut.chain.source.held_ids) == (0, 1), "none of it"
        cut.fold((order("g", T0), T0))
        cut.flush()  # the chain goes on beside the parts that nobody ends
        assert Owner(dict(cut.table), "w3").chain.source.through == 1
    whole = Owner(before | dict(records), "w2")
    assert (whole.chain.source.through, whole.chain.source.held_ids) == (60, 61)
    assert [pane.row for pane in whole.panes] == [pane.row for pane in owner.panes]


def test_foreign_records_are_deleted_once_the_own_chain_has_passed_them():
    table: dict[bytes, bytes] = {}
    first = Owner(table, "w1")
    first.fold((order("a", T0), T0))
    first.flush()
    new_owner = Owner(table, "w2")
    first.fold((order("b", T0), T0))
    first.flush()  # the zombie's branch: w1|2
    later = Owner(table, "w3")
    assert later.chain.source.through == 1, "the branch that knows more"
    new_owner.fold((order("b", T0), T0), (order("c", T0), T0))
    new_owner.flush()  # w2|2, unknown to w3
    for number in range(12):
        later.fold((order(f"d{number}", T0 + DAY_MS * number), T0 + DAY_MS * number))
        later.flush()
    assert b"orders|3|w2|2" in table
    last = Owner(table, "w4")
    for number in range(12, 24):
        last.fold((order(f"d{number}", T0 + DAY_MS * number), T0 + DAY_MS * number))
        last.flush()
    assert not any(b"|w1|" in key or b"|w2|" in key for key in table)


def test_without_a_complete_chain_there_is_no_state_and_it_says_so():
    owner = Owner({})
    assert not owner.chain.incomplete
    for number in range(2):
        owner.fold((order(f"e{number}", T0), T0))
        owner.flush()
    del owner.table[b"orders|3|w1|1"]
    second = Owner(owner.table, "w2")
    assert second.chain.incomplete
    assert (second.recovered, second.chain.source.through) == ([], -1)
    second.fold((order("e0", T0), T0))
    assert second.flush().key == b"orders|3|w2|3"


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        (Identity(1, "other", "topic-id", 8), "restore the file or raise `edition`"),
        (Identity(2, METHODOLOGY.content_hash, "topic-id", 8), "restore the file or raise"),
    ],
)
def test_checkpoints_of_another_methodology_are_refused(identity, says):
    owner = Owner({})
    owner.fold((order("a", T0), T0))
    owner.flush()
    chain = Chain(SourceState(SP, METHODOLOGY, payments=False), identity, "w2")
    with pytest.raises(RecoveryError, match=says):
        chain.recover(owner.table)


def test_checkpoints_of_an_older_version_are_refused_with_what_to_do():
    owner = Owner({})
    owner.fold((order("a", T0), T0))
    owner.flush()
    ((key, value),) = owner.table.items()
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(value) | {"v": OLDEST - 1})
    with pytest.raises(RecoveryError, match=r"^checkpoints of orders-3: .* raise `edition` in"):
        Owner({key: old})


def test_a_state_goes_on_only_among_as_many_places_for_markets_as_it_was_made_with():
    # Its rows would go to partitions in which nobody looks for the market.
    owner = Owner({})
    owner.chain.identity = replace(IDENTITY, places=12)
    owner.fold((order("a", T0), T0))
    owner.flush()

    def recovered(places):
        identity = replace(IDENTITY, places=places)
        Chain(SourceState(SP, METHODOLOGY, payments=False), identity, "w2").recover(owner.table)

    recovered(12)
    with pytest.raises(RecoveryError, match=r"topics\.partials_partitions: 24, .* set it to 12"):
        recovered(24)


def test_a_state_of_orders_is_not_gone_on_with_as_one_of_payments():
    """The settings of both inputs were swapped: each log's records were then ignored by the other."""
    owner = Owner({})
    owner.fold((order("a", T0), T0))
    owner.flush()
    swapped = Chain(SourceState(SP, METHODOLOGY, payments=True), IDENTITY, "w2")
    with pytest.raises(
        RecoveryError, match=r"topics\.payments is orders, .* when topics\.orders was"
    ):
        swapped.recover(owner.table)


def test_checkpoints_say_of_which_topic_they_are_and_go_on_over_another_only_when_told():
    owner = Owner({})
    owner.fold((order("a", T0), T0))
    owner.flush()
    there = Identity(1, METHODOLOGY.content_hash, "new-id", 9)  # and it got a partition
    chain = Chain(SourceState(SP, METHODOLOGY, payments=False), there, "w2")
    chain.recover(owner.table)
    assert chain.identity == Identity(1, METHODOLOGY.content_hash, "topic-id", 9)
    chain.continue_at(1 << 40, "new-id")
    assert chain.due
    flush = chain.flush()
    again = Chain(SourceState(SP, METHODOLOGY, payments=False), there, "w3")
    again.recover(owner.table | {flush.key: flush.value})
    assert (again.identity, again.source.through) == (there, (1 << 40) - 1)
    assert again.source.held_ids == 1


def test_a_key_names_its_source_partition():
    owner = Owner({})
    owner.fold((order("a", T0), T0))
    assert source_of(owner.flush().key) == SP


def test_of_the_rows_of_a_slot_only_the_newest_is_read():
    """A day's row is in every record: reading each held up takeovers, and sessions ended meanwhile."""
    owner = Owner({})
    for number in range(2):
        owner.fold((order(f"e{number}", T0), T0))
        owner.flush()
    older = min(owner.table, key=lambda key: module.decode_checkpoint(owner.table[key]).seq)
    record = module.decode_checkpoint(owner.table[older])
    nonsense = PackedRow([], ["9none"])
    rows = [(market, book, slot, nonsense) for market, book, slot, _ in record.rows]
    owner.table[older] = module.encode_checkpoint(msgspec.structs.replace(record, rows=rows))
    new_owner = Owner(dict(owner.table), "w2")
    assert len(new_owner.recovered) == len(rows) == 2
    assert [pane.row.numbers[0] for pane in new_owner.panes] == [2]
