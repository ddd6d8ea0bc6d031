"""Label rows: which columns a label gets, what has room, what is known of orders that name several."""

from __future__ import annotations

import pytest

from streams.index import label_rows
from streams.index.label_rows import (
    CANCELLED,
    CATEGORY,
    DAY_BOOK,
    LIVE_BOOK,
    METHOD,
    REFUNDED,
    REGION,
    LabelRow,
    PackedRow,
    item,
    unpacked,
)
from streams.index.label_text import ABSENT, MORE
from streams.index.partials import DAY_UNCERTAIN, UNCERTAIN

THREE = LIVE_BOOK._replace(labels_max=3)


def test_a_label_gets_its_columns_behind_all_others_when_it_is_named_first():
    row = LabelRow(LIVE_BOOK)
    found = [
        row.column(CATEGORY, "books"),
        row.column(METHOD, "cod"),
        row.column(CATEGORY, "books"),
        row.column(REGION, "books"),
        row.column(CATEGORY, ABSENT),
    ]
    assert found == [24, 27, 24, 33, 36]
    assert len(row.numbers) == 39
    row.numbers[24:27] = [1, 2, 300]
    row.numbers[38] = 7
    assert row.packed() == PackedRow(
        [24, 1, 25, 2, 26, 300, 38, 7], ["0books", "1cod", "2books", "0"]
    )


def test_the_day_book_has_three_ledgers_twice_and_payments():
    row = LabelRow(DAY_BOOK)
    found = [row.column(dimension, "x") for dimension in (0, 1, 2, 3, 0)]
    assert found == [32, 50, 73, 74, 32]
    assert len(row.numbers) == 75


def test_beyond_so_many_labels_of_a_dimension_all_are_more():
    row = LabelRow(THREE)
    assert [row.column(CATEGORY, each) for each in ("a", "", "b", "c", "d", "a")] == [
        *(24, 27, 30, 33, 33, 24)
    ]
    assert [label for _, label, _ in row.labels()] == ["a", "", "b", MORE]
    assert row.column(METHOD, "c") == 36, "another dimension has room of its own"


def test_what_was_refused_is_refused_again_and_a_new_owner_has_no_other_room():
    row = LabelRow(THREE)
    for each in "abcd":
        row.column(CATEGORY, each)
    found = unpacked(THREE, row.packed())
    assert (found, found.room) == (row, row.room)
    assert found.column(CATEGORY, "d") == found.column(CATEGORY, "e") == 33


def test_a_label_takes_its_bytes_and_sixteen(monkeypatch):
    monkeypatch.setattr(label_rows, "ROW_BYTES_MAX", 21 + 22 + 20)
    row = LabelRow(LIVE_BOOK)
    columns = [row.column(CATEGORY, each) for each in ("books", "চা", "shoes", "toys", "")]
    assert columns == [24, 27, 30, 33, 30]
    assert row.room == 0
    assert row.column(METHOD, "cod") == 36
    assert row.packed().labels == ["0books", "0চা", f"0{MORE}", "0toys", f"1{MORE}"]


def test_orders_of_several_labels_are_counted_by_these():
    row = LabelRow(LIVE_BOOK)
    for _ in range(2):
        row.note_set(0, [item(27), item(24)])
    row.note_set(0, [item(24), item(30)], 5)
    row.note_set(0, [item(24)])
    row.note_set(0, [])
    assert row.packed().sets == [[2, 0, 96, 108], [5, 0, 96, 120]]
    assert row.numbers[UNCERTAIN] == 0


def test_a_set_says_what_happened_to_each_label_and_may_end_at_nothing():
    row = LabelRow(DAY_BOOK)
    row.note_set(2, [item(50, REFUNDED), item(32, CANCELLED)])
    row.note_set(2, [item(50, REFUNDED), item(32, CANCELLED)], -1)
    row.note_set(2, [item(50, CANCELLED), item(32, CANCELLED)])
    assert row.sets == {(2, 129, 202): 0, (2, 129, 201): 1}
    room = row.room
    assert room == 128 * 1024 - 2 * (8 + 4 * 3)
    row.note_set(2, [item(50, REFUNDED), item(32, CANCELLED)])
    assert (row.sets[2, 129, 202], row.room) == (1, room)


@pytest.mark.parametrize(
    ("limit", "most", "expected"),
    [("SETS_MAX", 1, 3), ("SET_SIZE_MAX", 2, 2), ("ROW_BYTES_MAX", 20, 3), ("SETS_MAX", 2, 0)],
)
def test_of_sets_without_room_it_is_known_how_much_too_large_a_member_may_be(
    monkeypatch, limit, most, expected
):
    monkeypatch.setattr(label_rows, limit, most)
    row = LabelRow(DAY_BOOK)
    row.note_set(0, [item(32), item(50)], 4)
    row.note_set(0, [item(32), item(50), item(68)])
    row.note_set(1, [item(32), item(50)]) if expected == 3 else None
    assert row.numbers[DAY_UNCERTAIN] == expected
    assert row.sets[0, 128, 200] == 4


def test_an_order_that_leaves_a_set_without_room_is_uncertain_no_more(monkeypatch):
    monkeypatch.setattr(label_rows, "SETS_MAX", 0)
    row = LabelRow(DAY_BOOK)
    row.note_set(2, [item(32, REFUNDED), item(50, REFUNDED), item(68, REFUNDED)])
    assert row.numbers[DAY_UNCERTAIN] == 2
    row.note_set(2, [item(32, REFUNDED), item(50, REFUNDED), item(68, REFUNDED)], -1)
    row.note_set(2, [item(32, CANCELLED), item(50, REFUNDED)])
    assert (row.numbers[DAY_UNCERTAIN], row.sets) == (1, {})


def test_rows_are_equal_by_what_they_say():
    one, other = LabelRow(LIVE_BOOK), LabelRow(LIVE_BOOK)
    assert one == other
    assert one != "a row"
    one.column(CATEGORY, "books")
    assert one != other
    other.column(CATEGORY, "books")
    assert one == other
    other.note_set(0, [item(24), item(27)])
    assert one != other
