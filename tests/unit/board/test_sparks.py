"""Half an hour of orders, a point each 30 s, bounded."""

from __future__ import annotations

import json

import msgspec
from support.publications import AS_OF_MS, value

from streams.board.sparks import POINTS_MAX, STEP_MS, SparkBook
from streams.index.panes import rfc3339
from streams.index.values import Snapshot

BOOKS = ("category", "books")


def snapshot(at_ms, *values):
    return Snapshot("PK", rfc3339(at_ms), rfc3339(at_ms), 1, "live", list(values))


def books(number, window="1m"):
    return value(member="books", number=number, window=window)


def test_a_slot_keeps_the_newest_that_fell_into_it():
    book = SparkBook()
    for second, number in ((0, 1), (5, 2), (25, 3), (30, 4)):
        book.add_snapshot(snapshot(AS_OF_MS + second * 1_000, books(number)))
    sparks = book.sparks()
    assert sparks.points[BOOKS] == [[3], [4]]
    assert sparks.times_ms == [AS_OF_MS + 25_000, AS_OF_MS + 30_000]


def test_it_is_bounded():
    book = SparkBook()
    for slot in range(3 * POINTS_MAX):
        book.add_snapshot(snapshot(AS_OF_MS + slot * STEP_MS, books(slot)))
    sparks = book.sparks()
    assert len(sparks.times_ms) == POINTS_MAX
    assert sparks.points[BOOKS][-1] == [3 * POINTS_MAX - 1]


def test_a_member_that_appears_midway_has_nothing_before():
    book = SparkBook()
    book.add_snapshot(snapshot(AS_OF_MS, books(1)))
    book.add_snapshot(snapshot(AS_OF_MS + STEP_MS, books(2), value(member="art", number=7)))
    book.add_snapshot(snapshot(AS_OF_MS + 2 * STEP_MS, value(member="art", number=8)))
    points = book.sparks().points
    assert points["category", "art"] == [[None], [7], [8]]
    assert BOOKS not in points


def test_the_expectation_comes_with_it():
    known = msgspec.structs.replace(books(5), expected=4.0, lower=2.0, upper=6.0)
    book = SparkBook()
    book.add_snapshot(snapshot(AS_OF_MS, known))
    assert book.sparks().points[BOOKS] == [[5, 4, 2, 6]]


def test_a_filling_value_is_a_gap():
    book = SparkBook()
    book.add_snapshot(snapshot(AS_OF_MS, books(None)))
    assert book.sparks().points[BOOKS] == [[None]]


def test_other_windows_and_methods_are_not_kept():
    book = SparkBook()
    method = value("orders", "payment_method", "cod", number=1)
    book.add_snapshot(snapshot(AS_OF_MS, books(9, "5m"), value("sales", number=1), method))
    assert book.sparks().points == {}


def change(field, number):
    return {"field": field, "value": number, "status": "ok", "revision": 0}


def entry(at_ms, *changes):
    return rfc3339(at_ms), json.dumps(changes)


def test_a_start_reads_what_changed_before():
    book = SparkBook()
    field = "orders:category:books:1m"
    book.seed(
        [
            entry(AS_OF_MS, change(field, 1), change("orders:category:books:5m", 9)),
            entry(AS_OF_MS + STEP_MS, change("orders:category:art:1m", 4)),
            entry(AS_OF_MS + 2 * STEP_MS, change(field, None)),
            entry(AS_OF_MS + 3 * STEP_MS, change(field, 2)),
        ]
    )
    points = book.sparks().points
    assert points[BOOKS] == [[1], [1], [None], [2]], "what did not change still holds"
    assert points["category", "art"] == [[None], [4], [4], [4]]


def test_a_book_with_points_is_not_seeded_again():
    book = SparkBook()
    book.add_snapshot(snapshot(AS_OF_MS, books(1)))
    book.seed([entry(AS_OF_MS - STEP_MS, change("orders:category:books:1m", 5))])
    assert book.sparks().points[BOOKS] == [[1]]


def test_a_log_that_begins_anew_clears_it():
    book = SparkBook()
    book.add_snapshot(snapshot(AS_OF_MS, books(1)))
    book.add_snapshot(snapshot(AS_OF_MS - 10 * STEP_MS, books(2)))
    assert book.sparks().points[BOOKS] == [[2]]
