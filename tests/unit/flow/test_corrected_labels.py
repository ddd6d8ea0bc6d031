"""Cancels and refunds in a day's row: by what was said, with room for all of it or not."""

from __future__ import annotations

from streams.flow.state import DAY
from streams.index.label_rows import DAY_BOOK
from streams.index.label_text import MORE
from streams.index.panes import DAY_MS, rfc3339
from tests.support.by_name import said_row
from tests.support.flow_harness import order
from tests.unit.flow.test_corrections import ORDERS, START, Shop


def day_of(shop: Shop) -> tuple[dict, list, list]:
    """The row of the order's day: counts, labels, label sets."""
    shop.left()
    state = shop.flow.levels[ORDERS].source.markets["PK"]
    return said_row(DAY, state.days[state.local_days.day_of(START)].row.packed())


def line(category: str, sku: str = "s") -> tuple:
    return category, 1, 100, sku


def test_a_label_set_follows_the_order_from_correction_to_correction():
    shop = Shop()
    shop.send("placed", [line("books"), line("toys")], after_ms=0)
    shop.send("refunded", [line("books")], refund_id="1", payment_method=None)
    counts, _, sets = day_of(shop)
    placed = ("set", "placed", "category", (("books", "placed"), ("toys", "placed")))
    assert sets == [placed]
    shop.send("refunded", [line("toys")], refund_id="2", payment_method=None)
    both = ("set", "corrected", "category", (("books", "refunded"), ("toys", "refunded")))
    counts, _, sets = day_of(shop)
    assert (sets, counts[placed], counts[both]) == ([placed, both], 1, 1)
    shop.send("cancelled", [line("toys")], payment_method=None)
    one = ("set", "corrected", "category", (("books", "refunded"), ("toys", "cancelled")))
    counts, _, sets = day_of(shop)
    assert (sets, counts[both], counts[one]) == ([placed, both, one], 0, 1)
    assert counts["refunded_orders", "category", "books"] == 1
    assert counts["refunded_orders", "category", "toys"] == 0
    assert counts["cancelled_orders", "category", "toys"] == 1


def test_corrections_by_other_methods_than_each_other_are_one_order_of_both():
    shop = Shop()
    shop.place()
    shop.send("refunded", [line("books")], refund_id="1", payment_method="cod")
    shop.send("refunded", [line("books")], refund_id="2", payment_method="card")
    counts, _, _ = day_of(shop)
    found = ("set", "corrected", "payment_method", (("card", "refunded"), ("cod", "refunded")))
    assert counts[found] == counts["refunded_orders",] == 1


def test_what_waits_has_its_labels_though_it_changes_nothing_else():
    """A refund is told by its name after a cancel took all, and the order was refused: it is kept."""
    shop = Shop()
    shop.send("placed", [line("books")], after_ms=0, payment_method="cod")
    shop.send("refunded", [line("books")], payment_method="cod")
    shop.send("cancelled", [line("books")], payment_method="cod")
    shop.send("placed", [line("books")], currency="EUR")
    shop.send("refunded", [line("books")], refund_id="r", payment_method="card")
    counts, labels, _ = day_of(shop)
    assert counts["waiting_refunded_orders", "payment_method", "card"] == 1
    assert ("payment_method", MORE) not in labels


def test_without_room_an_order_is_not_refunded_where_anything_of_it_was_cancelled(monkeypatch):
    """Toys and shoes are one there: with toys cancelled of another day, shoes are not refunded."""
    monkeypatch.setattr("streams.flow.state.DAY_BOOK", DAY_BOOK._replace(labels_max=1))
    shop = Shop()
    day_before = rfc3339(START - DAY_MS)
    shop.flow.produce(ORDERS, order("another", START - DAY_MS), START - DAY_MS)
    shop.send("placed", [line("books")], after_ms=0)
    shop.send("cancelled", [line("toys")], placed_at=day_before, payment_method=None)
    shop.send("cancelled", [line("toys", "t")], payment_method=None)
    shop.send("refunded", [line("shoes"), line("books")], refund_id="r", payment_method=None)
    counts, labels, sets = day_of(shop)
    assert [label for dimension, label in labels if dimension == "category"] == ["books", MORE]
    assert counts["cancelled_units", "category", MORE] == 1
    assert counts["cancelled_orders", "category", MORE] == 0
    assert counts["refunded_units", "category", MORE] == 1
    assert counts["refunded_orders", "category", MORE] == 0
    assert counts["refunded_orders", "category", "books"] == 1
    assert sets == []
