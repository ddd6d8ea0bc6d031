"""What the audit finds in rows by label, and what it makes of them by member."""

import msgspec
import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.state import DAY, LIVE
from streams.index.panes import DAY_MS, rfc3339
from streams.proof.recompute.label_columns import read_row
from streams.proof.recompute.label_sums import (
    CATEGORY,
    METHOD,
    WHOLE,
    GrowingRow,
    LabelSet,
    LabelSums,
    NumberName,
)
from streams.proof.recompute.member_sums import MemberSums
from tests.support.audited import ORDERS, Limits, audited, checkpoint, decoded, limited
from tests.support.events import T0, Sent, encoded
from tests.support.flow_harness import METHODOLOGY, order, payment

PAYMENTS = SourcePartition("payments", 0)
PK = METHODOLOGY.markets["PK"]
TOMORROW = T0 + DAY_MS


def lines(*categories: str, sku: str | None = None) -> list[dict]:
    return [
        {"category": each, "quantity": 1, "unit_price_minor": 10, **({"sku": sku} if sku else {})}
        for each in categories
    ]


def sent(name: str, kind: str, which: list[dict], at_ms: int = T0, **extra) -> Sent:
    """An event of order ``o``, which was placed at T0 if the event does not say otherwise."""
    event = order(name, at_ms, kind=f"order.{kind}", order_id="o", **extra)
    if kind != "placed":
        event.setdefault("placed_at", rfc3339(T0))
    return Sent(encoded({**event, "lines": which}), at_ms)


LOG = [
    sent("e1", "placed", lines("boots", "shoes", "books"), payment_method="cod"),
    sent("e2", "placed", lines("boots")),
]


def differences(
    log, change=None, worker=None, audit=None, sp=ORDERS
) -> list[tuple[str, object, object]]:
    """What the audit finds in the checkpoint of a log, once it was changed."""
    worker = worker or Limits()
    with limited(worker, audit):
        key, value = checkpoint(log, sp)
        record = decoded(value)
        if change is not None:
            change(record)
        records = [(key, msgspec.msgpack.encode(record))]
        report = audited(sp, records, log, METHODOLOGY, payments=sp == PAYMENTS)
    return [(each.field, _read(each.expected), _read(each.found)) for each in report.differences]


def _read(text: str) -> object:
    return None if text == "nothing" else int(text) if text.isdecimal() else text


def row_of(record, book=LIVE):
    return next(row for _, own, _, row in record.rows if own == book)


def number_at(packed, label: str, offset: int = 0) -> int:
    """Where the number of a label (of the live book, whose labels are categories first) is stored."""
    column = 24 + 3 * packed.labels.index(label) + offset
    return packed.numbers[::2].index(column) * 2 + 1


def test_the_checkpoint_of_orders_of_several_labels_is_found_equal():
    assert differences(LOG) == []


def test_a_wrong_count_of_a_label_is_found():
    def change(record):
        packed = row_of(record)
        packed.numbers[number_at(packed, "0boots")] += 1

    assert differences(LOG, change) == [("category/boots/orders", 2, 3)]


def test_labels_that_change_places_are_found():
    def change(record):
        packed = row_of(record)
        packed.labels[:2] = packed.labels[1::-1]

    assert differences(LOG, change) == [
        ("category/boots/orders", 2, 1), ("category/boots/sales", 20, 10),
        ("category/boots/units", 2, 1), ("category/shoes/orders", 1, 2),
        ("category/shoes/sales", 10, 20), ("category/shoes/units", 1, 2),
    ]  # fmt: skip


def test_a_label_of_another_dimension_is_found():
    def change(record):
        packed = row_of(record)
        packed.labels[packed.labels.index("2")] = "3elsewhere"

    found = differences(LOG, change)
    assert ("region (none)", "a label", None) in found
    assert ("channel elsewhere", None, "a label") in found
    assert ("region/(none)/orders", 2, 0) in found


def test_a_label_of_which_nothing_is_counted_is_found_and_missed():
    """It takes the room of others all the same."""

    def more(record):
        row_of(record).labels.append("1wallet")

    assert differences(LOG, more) == [("method wallet", None, "a label")]
    log = [Sent(encoded(payment("p", T0, kind="payment.refunded", method="card")), T0)]

    def less(record):
        row_of(record).labels.remove("1card")

    assert differences(log, sp=PAYMENTS) == []
    assert differences(log, less, sp=PAYMENTS) == [("method card", "a label", None)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.labels.append("0boots"), "category 'boots' is there twice"),
        (lambda row: row.labels.append("7boots"), "label '7boots': no dimension of this book"),
        (lambda row: row.numbers.extend([10_000, 1]), "column 10000: none of this row"),
        (lambda row: row.numbers.extend([0, 1]), "column 0: twice"),
        (lambda row: row.numbers.append(3), "a column without a number"),
        (
            lambda row: row.sets.append(list(row.sets[0])),
            "category {books + boots + shoes} is there twice",
        ),
        (lambda row: row.sets[0].reverse(), "label set"),
        (lambda row: row.sets.append([1, 1, 24 << 2, 27 << 2]), "part 1: no label of this row"),
        (lambda row: row.sets.append([1, 0, 24 << 2, 25 << 2]), "part 0: no label of this row"),
        (
            lambda row: row.sets.append([1, 0, 24 << 2, 33 << 2]),
            "labels of one dimension, not of 2",
        ),
    ],
)
def test_a_row_that_no_worker_can_have_written_is_named(change, message):
    name, expected, found = differences(LOG, lambda record: change(row_of(record)))[0]
    assert (name, expected) == ("row", "a row by label")
    assert message in found


def test_a_wrong_set_is_found():
    def count(record):
        row_of(record, DAY).sets[0][0] += 1

    named = "category {books + boots + shoes}"
    assert differences(LOG, count) == [(f"{named} placed", 1, 2)]

    def other(record):
        del row_of(record).sets[0][-1]  # its last label

    assert differences(LOG, other) == [(named, 1, None), ("category {boots + shoes}", None, 1)]

    def gone(record):
        row_of(record).sets.clear()

    assert differences(LOG, gone) == [(named, 1, None)]


def test_a_label_that_should_have_found_no_room_is_found():
    found = differences(LOG, worker=Limits(), audit=Limits(pane_labels=2))
    assert found == [
        ("category (more)", "a label", None), ("category books", None, "a label"),
        ("category/(more)/orders", 1, 0), ("category/(more)/sales", 10, 0),
        ("category/(more)/units", 1, 0), ("category/books/orders", 0, 1),
        ("category/books/sales", 0, 10), ("category/books/units", 0, 1),
        ("category {(more) + boots + shoes}", 1, None),
        ("category {books + boots + shoes}", None, 1),
    ]  # fmt: skip
    found = differences(LOG, worker=Limits(day_labels=1), audit=Limits())
    assert ("category (more)", None, "a label") in found
    assert ("category {(more) + boots} placed", None, 1) in found


def test_a_set_that_should_have_found_no_room_is_found():
    named = "category {books + boots + shoes}"
    for audit in (Limits(sets=0), Limits(set_labels=2)):
        found = differences(LOG, worker=Limits(), audit=audit)
        assert found == [
            ("uncertain", 2, 0), (f"{named} placed", None, 1), ("uncertain", 2, 0), (named, None, 1),
        ]  # fmt: skip
    assert ("uncertain", 0, 2) in differences(LOG, worker=Limits(sets=0), audit=Limits())


def test_the_room_of_a_row_is_counted_in_bytes():
    with limited(Limits(row_bytes=16 + 5 + 8 + 4 * 3 + 16 + 4)):
        row = GrowingRow(10)
        assert row.name(CATEGORY, "boots") == (CATEGORY, "boots")
        assert row.name(CATEGORY, "x" * 25) == (CATEGORY, "\0")
        row.name_set(CATEGORY, [("boots", ""), ("\0", "")])
        assert row.name(CATEGORY, "é é") == (CATEGORY, "\0"), "five bytes"
        assert row.name(CATEGORY, "shoe") == (CATEGORY, "shoe")
        row.name_set(CATEGORY, [("boots", ""), ("shoe", "")], 3)
    assert row.sets == {LabelSet(CATEGORY, frozenset({("boots", ""), ("\0", "")})): 1}
    assert row.total("uncertain") == 3


# -- by member ---------------------------------------------------------------------------------------


def row_by_label(log, book) -> LabelSums:
    with limited(Limits()):
        _, value = checkpoint(log)
    return read_row(row_of(decoded(value), book), day=book == DAY)


def test_an_order_of_two_labels_of_one_member_is_one_order_of_it():
    found = MemberSums(PK).of(row_by_label(LOG, LIVE))
    assert (found["category/other/orders"], found["category/other/units"]) == (2, 3)
    assert (found["category/books/orders"], found["method/cod/orders"]) == (1, 1)
    found = MemberSums(PK).of(row_by_label(LOG, DAY))
    assert (found["category/other/placed/orders"], found["category/books/placed/orders"]) == (2, 1)
    assert not [name for name in found if name.startswith(("region", "channel"))]


@pytest.mark.parametrize(
    ("corrections", "cancelled", "refunded"),
    [
        ([("cancelled", ["boots", "shoes"])], 1, 0),
        ([("cancelled", ["boots"]), ("cancelled", ["shoes"])], 1, 0),
        ([("refunded", ["boots", "shoes"])], 0, 1),
        ([("refunded", ["boots"]), ("refunded", ["shoes"])], 0, 1),
        ([("refunded", ["boots"]), ("cancelled", ["shoes"])], 1, 0),
        ([("cancelled", ["boots"]), ("refunded", ["shoes"])], 1, 0),
        ([("cancelled", ["boots"]), ("refunded", ["books"])], 1, 0),
        ([("cancelled", ["books"]), ("refunded", ["boots", "shoes"])], 0, 1),
    ],
)
def test_an_order_is_corrected_once_in_a_member_and_not_refunded_where_it_was_cancelled(
    corrections, cancelled, refunded
):
    log = LOG + [
        sent(f"c{at}", kind, lines(*labels)) for at, (kind, labels) in enumerate(corrections)
    ]
    assert differences(log) == []
    found = MemberSums(PK).of(row_by_label(log, DAY))
    assert found.get("category/other/cancelled/orders", 0) == cancelled
    assert found.get("category/other/refunded/orders", 0) == refunded
    units = sum(label != "books" for _, labels in corrections for label in labels)
    taken = (found.get(f"category/other/{each}/units", 0) for each in ("cancelled", "refunded"))
    assert sum(taken) == units


def test_what_was_corrected_differently_is_named_by_label_and_ledger():
    log = [*LOG, sent("c", "cancelled", lines("boots")), sent("r", "refunded", lines("shoes"))]

    def change(record):
        packed = row_of(record, DAY)
        packed.sets = [each for each in packed.sets if each[1] != 2]

    assert differences(log, change) == [("category {boots cancelled + shoes refunded}", 1, None)]


def test_labels_without_room_are_cancelled_and_refunded_as_one():
    log = [
        sent("e", "placed", lines("books", "boots", "shoes")),
        sent("r", "refunded", lines("boots")),
        sent("c", "cancelled", lines("shoes", "books")),
    ]
    with limited(Limits(day_labels=1)):
        _, value = checkpoint(log)
        row = read_row(row_of(decoded(value), DAY), day=True)
    more = CATEGORY, "\0"
    assert [
        row.numbers[NumberName(more, each, "orders")] for each in ("cancelled", "refunded")
    ] == [1, 0]
    assert [row.numbers[NumberName(more, each, "units")] for each in ("cancelled", "refunded")] == [
        1,
        1,
    ]
    assert differences(log, worker=Limits(day_labels=1)) == []


def test_a_label_that_was_cancelled_of_another_day_does_not_make_two_orders_of_those_without_room():
    """Of boots the order was taken from another day, so here from ``more`` neither of its labels."""
    log = [
        sent("e", "placed", lines("books")),
        sent("c1", "cancelled", lines("boots", sku="s"), TOMORROW, placed_at=rfc3339(TOMORROW)),
        sent("c2", "cancelled", lines("boots", sku="t"), TOMORROW + 1),
        sent("r", "refunded", lines("shoes", "books", sku="u"), TOMORROW + 2),
    ]
    few = Limits(day_labels=1)
    assert differences(log, worker=few) == []
    with limited(few):
        record = decoded(checkpoint(log)[1])
    first_day = min(slot for _, book, slot, _ in record.rows if book == DAY)
    packed = next(row for _, book, slot, row in record.rows if (book, slot) == (DAY, first_day))
    row = read_row(packed, day=True)
    assert row.numbers[NumberName((CATEGORY, "books"), "refunded", "orders")] == 1
    assert row.numbers[NumberName((CATEGORY, "\0"), "refunded", "orders")] == 0
    assert {each for each, orders in row.sets.items() if orders} == set()


def test_a_refund_that_waits_under_another_name_gives_its_method_a_place_of_its_own():
    """It changes nothing that counts, and stands in the day all the same till its order counts."""
    log = [
        sent("r1", "refunded", lines("books", sku="s"), payment_method="cod"),
        sent("c", "cancelled", lines("books", sku="s"), TOMORROW, placed_at=rfc3339(TOMORROW)),
        sent("no", "placed", lines("books", sku="s"), TOMORROW, currency="XXX"),
        sent(
            "r2", "refunded", lines("books", sku="s"), TOMORROW + 1,
            payment_method="card", refund_id="r",
        ),
    ]  # fmt: skip
    assert differences(log) == []
    with limited(Limits()):
        record = decoded(checkpoint(log)[1])
    rows = [read_row(row, day=True) for _, book, _, row in record.rows if book == DAY]
    waiting = [row for row in rows if row.total("orders", "waiting_refunded")]
    assert [
        row.numbers[NumberName((METHOD, "card"), "waiting_refunded", "orders")] for row in waiting
    ] == [1]
    assert WHOLE not in waiting[0].labels
