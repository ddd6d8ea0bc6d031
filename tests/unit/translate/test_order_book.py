"""What is kept of orders is bounded in age and number, and is there again after a restart."""

from __future__ import annotations

import pytest

from streams.translate.order_book import BookLimits, OrderBook, order_key
from streams.translate.refused_records import RefusedRecordError
from streams.translate.whole_orders import LooseRefund, Refund, SoldLine, WholeOrder

T = 1_795_514_400_000
DAY_MS = 86_400_000
LIMITS = BookLimits(kept_ms=40 * DAY_MS, orders_max=1_000, waiting_max=2)


def whole(name, **fields):
    lines = [SoldLine("1", "sku", "c", 2, 2000)]
    return WholeOrder(name, "DE", "EUR", T, lines=lines, **fields)


def loose(name, refund="r"):
    return LooseRefund(name, Refund(refund, T, [], 500))


def book(*logs, limits=LIMITS):
    """A book that was restored from what others settled."""
    found = OrderBook("shop", limits)
    for log in logs:
        for key, value in log.items():
            found.restore(key, value)
    return found


def ids(events):
    return [event.value.split(b'"event_id":"')[1].split(b'"')[0].decode() for event in events]


def test_a_restored_book_states_nothing_again():
    first = book()
    assert ids(first.take_reported(whole("a"), 1, T)) == ["shop:a:placed"]
    log = first.settle()
    second = book(log)
    assert second.take_reported(whole("a"), 1, T) == []
    assert second.settle() == {}, "what says nothing new is not written again"
    assert second.take_reported(whole("a"), 2, T) == []
    assert [*second.settle()] == [order_key(whole("a"))], (
        "another delivery is known by its digest next time"
    )


def test_what_was_taken_twice_in_a_batch_is_one_record_of_the_state():
    kept = book()
    kept.take_reported(whole("a"), 1, T)
    assert ids(kept.take_reported(loose("a"), 2, T)) == ["shop:a:refund:r"]
    assert len(kept.settle()) == 1


def test_an_order_is_forgotten_by_age_and_the_log_says_so():
    kept = book()
    kept.take_reported(whole("old"), 1, T)
    log = kept.settle()
    kept = book(log)
    kept.take_reported(whole("new"), 2, T + 40 * DAY_MS)
    assert order_key(whole("old")) in {**log, **kept.settle()}
    assert (kept.orders, kept.forgotten) == (2, {})
    kept.take_reported(whole("newer"), 3, T + 40 * DAY_MS + 1)
    log = kept.settle()
    assert log[order_key(whole("old"))] is None
    assert (kept.orders, kept.forgotten) == (2, {"age": 1})
    assert ids(kept.take_reported(whole("old"), 1, T)) == ["shop:old:placed"]


def test_an_order_with_news_is_as_old_as_the_news():
    kept = book()
    kept.take_reported(whole("a"), 1, T)
    kept.settle()
    kept.take_reported(whole("a", is_cancelled=True), 2, T + 30 * DAY_MS)
    kept.settle()
    kept.take_reported(whole("b"), 3, T + 60 * DAY_MS)
    kept.settle()
    assert kept.forgotten == {}


def test_of_more_orders_than_there_is_room_for_the_oldest_are_forgotten():
    kept = book(limits=LIMITS._replace(orders_max=2))
    for number, name in enumerate("abc"):
        kept.take_reported(whole(name), number, T)
    log = kept.settle()
    assert [key for key, value in log.items() if value is None] == [order_key(whole("a"))]
    assert (kept.orders, kept.forgotten) == (2, {"room": 1})


def test_refunds_that_wait_are_counted_and_bounded_and_stated_with_their_order():
    kept = book()
    for name in "ab":
        assert kept.take_reported(loose(name), 1, T) == []
    assert kept.take_reported(loose("b", "other"), 2, T) == []
    log = kept.settle()
    kept = book(log)
    assert kept.waiting == 3
    with pytest.raises(RefusedRecordError, match=r"at most 2 orders \(sources.waiting_max\)"):
        kept.take_reported(loose("c"), 3, T)
    assert kept.settle() == {}
    assert ids(kept.take_reported(whole("b"), 4, T)) == [
        "shop:b:placed", "shop:b:refund:r", "shop:b:refund:other",
    ]  # fmt: skip
    kept.settle()
    assert kept.waiting == 1
    assert kept.take_reported(loose("c"), 3, T) == []
    kept.take_reported(whole("d"), 5, T + 41 * DAY_MS)
    kept.settle()
    assert kept.forgotten == {"waiting": 2, "age": 1}
    assert kept.waiting == 0


def test_a_stamp_of_the_past_ages_nothing():
    kept = book()
    kept.take_reported(whole("a"), 1, T)
    kept.take_reported(whole("b"), 2, T - 400 * DAY_MS)
    kept.settle()
    kept.take_reported(whole("c"), 3, T)
    kept.settle()
    assert (kept.orders, kept.clock_ms) == (3, T)
