"""A cancel or refund counts once in the day book, whatever comes twice or in another order."""

from __future__ import annotations

import itertools

import pytest

from streams.flow.chunk import SourcePartition
from streams.index import partials as col
from streams.index.event_types import SUM_MAX
from streams.index.instants import parse_instant
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from tests.support.events import tuned
from tests.support.flow_harness import METHODOLOGY, Flow, order

START = 1_795_000_000_000 // DAY_MS * DAY_MS + 6 * HOUR_MS
"""11:00 in Karachi."""
DAY = "2026-11-18"
ORDERS = SourcePartition("orders", 0)
WHOLE = [("books", 1, 6_000), ("computing", 2, 2_000)]
"""An order of 100.00."""
PART, OTHER_PART = [("books", 1, 2_000)], [("computing", 1, 2_000)]


class Shop:
    """One order of 100.00, placed at START, and what happens to it."""

    def __init__(self, *, market: str = "PK", currency: str = "PKR", **tunes: int) -> None:
        self.flow = Flow(tuned(**tunes))
        self.market = {"market": market, "currency": currency}
        self.number = 0
        self.now_ms = START

    def send(self, kind: str, lines: list, *, after_ms: int = 1_000, **extra) -> None:
        self.number += 1
        self.now_ms += after_ms
        if kind != "placed":
            extra = {"placed_at": rfc3339(START), "payment_method": "cod"} | extra
        event = order(f"e{self.number}", self.now_ms, kind=f"order.{kind}", **self.market)
        event |= {"order_id": "the order"} | extra
        event["lines"] = [
            {
                "sku": (*sku, "s")[0],
                "category": category,
                "quantity": quantity,
                "unit_price_minor": price,
            }
            for category, quantity, price, *sku in lines
        ]
        self.flow.produce(ORDERS, event, self.now_ms)

    def place(self, **extra) -> None:
        self.send("placed", WHOLE, after_ms=0, payment_method="cod", **extra)

    def left(self, day: str = DAY) -> tuple[int, int, int, int]:
        """(orders_valid, sales_valid, orders_net, sales_net) of the order's day."""
        self.flow.now_ms = self.now_ms + MINUTE_MS
        self.flow.run()
        names = ("orders_valid", "sales_valid", "orders_net", "sales_net")
        found = [
            self.flow.day_value(self.market["market"], name, "market", "all", day) for name in names
        ]
        return tuple(each.value for each in found)

    def outcomes(self) -> dict[str, int]:
        self.left()
        return {
            name: self.flow.outcomes[name]
            for name in ("repeated", "unmatched", "unremembered", "day_closed")
            if self.flow.outcomes[name]
        }


CANCEL, REFUND = ("cancelled", WHOLE, {}), ("refunded", WHOLE, {})
REFUND_PART, REFUND_OTHER = ("refunded", PART, {}), ("refunded", OTHER_PART, {})
BY_ID = [("refunded", PART, {"refund_id": name}) for name in ("r1", "r2")]
OTHER_AMOUNT = ("refunded", OTHER_PART, {"refund_id": "r1"})
TOO_MUCH = ("refunded", [("books", 1, 12_000)], {})


@pytest.mark.parametrize(
    ("corrections", "left", "repeated"),
    [
        ([CANCEL, REFUND], (0, 0, 0, 0), 1),
        ([REFUND, CANCEL], (0, 0, 0, 0), 0),
        ([CANCEL, CANCEL], (0, 0, 0, 0), 1),
        ([REFUND, REFUND], (1, 10_000, 0, 0), 1),
        ([REFUND_PART], (1, 10_000, 0, 8_000), 0),
        ([REFUND_PART, REFUND_PART], (1, 10_000, 0, 8_000), 1),
        ([REFUND_PART, REFUND_OTHER], (1, 10_000, 0, 6_000), 0),
        ([*BY_ID], (1, 10_000, 0, 6_000), 0),
        ([*BY_ID, *BY_ID], (1, 10_000, 0, 6_000), 2),
        ([BY_ID[0], OTHER_AMOUNT], (1, 10_000, 0, 8_000), 1),
        ([REFUND_PART, CANCEL], (0, 0, 0, 0), 0),
        ([CANCEL, REFUND_PART], (0, 0, 0, 0), 1),
        ([REFUND_PART, REFUND_OTHER, CANCEL, CANCEL, REFUND_PART], (0, 0, 0, 0), 2),
        ([TOO_MUCH], (1, 10_000, 0, -2_000), 0),
        ([TOO_MUCH, CANCEL], (0, 0, 0, 0), 0),
    ],
)
def test_what_is_left_of_an_order(corrections, left, repeated):
    shop = Shop()
    shop.place()
    for kind, lines, extra in corrections:
        shop.send(kind, lines, **extra)
    assert shop.left() == left
    assert shop.flow.outcomes["repeated"] == repeated


BOOK, OTHER_BOOK = ("books", 1, 2_000, "a"), ("books", 1, 4_000, "b")
BOOKS, NOTEBOOKS = ("books", 1, 6_000, ""), ("computing", 2, 2_000, "n")
UNKNOWN = ("", 1, 10_000, "")
"""Lines of the order as another service tells them; BOOK and OTHER_BOOK are its books by sku."""


def cancelled(*lines, **extra) -> tuple:
    return "cancelled", [*lines], extra


def refunded(*lines, **extra) -> tuple:
    return "refunded", [*lines], extra


@pytest.mark.parametrize(
    ("corrections", "left", "repeated"),
    [
        ([cancelled(BOOK)], (0, 8_000, 0, 8_000), 0),
        ([cancelled(BOOK), cancelled(BOOK)], (0, 8_000, 0, 8_000), 1),
        ([cancelled(BOOK), cancelled(OTHER_BOOK)], (0, 4_000, 0, 4_000), 0),
        ([cancelled(BOOK), cancelled(BOOK, OTHER_BOOK, NOTEBOOKS)], (0, 0, 0, 0), 0),
        ([cancelled(BOOK), cancelled(BOOKS, NOTEBOOKS)], (0, 0, 0, 0), 0),
        ([cancelled(BOOKS), cancelled(NOTEBOOKS)], (0, 0, 0, 0), 0),
        ([cancelled(BOOK), refunded(NOTEBOOKS)], (0, 8_000, 0, 4_000), 0),
        ([cancelled(BOOK), refunded(OTHER_BOOK)], (0, 8_000, 0, 4_000), 0),
        ([cancelled(BOOK), refunded(BOOK)], (0, 8_000, 0, 8_000), 1),
        ([cancelled(BOOK), refunded(BOOK, NOTEBOOKS)], (0, 8_000, 0, 4_000), 0),
        ([cancelled(BOOK, OTHER_BOOK, NOTEBOOKS), refunded(UNKNOWN)], (0, 0, 0, 0), 1),
        ([cancelled(BOOK, OTHER_BOOK, NOTEBOOKS), refunded(BOOKS)], (0, 0, 0, 0), 1),
        ([cancelled(BOOKS), refunded(BOOK)], (0, 4_000, 0, 4_000), 1),
        ([cancelled(BOOKS), refunded(UNKNOWN)], (0, 4_000, 0, 4_000), 1),
        ([refunded(BOOK), refunded(BOOK, refund_id="r")], (1, 10_000, 0, 8_000), 1),
        (
            [
                refunded(BOOK),
                refunded(BOOK, refund_id="r"),
                refunded(BOOK, refund_id="s"),
                refunded(BOOK, refund_id="r"),
                refunded(BOOK),
            ],
            (1, 10_000, 0, 6_000),
            3,
        ),
        (
            [refunded(BOOK, refund_id="r"), refunded(BOOK, refund_id="s"), refunded(BOOK)],
            (1, 10_000, 0, 6_000),
            1,
        ),
        (
            [
                refunded(BOOK, NOTEBOOKS, OTHER_BOOK),
                refunded(BOOK, OTHER_BOOK, NOTEBOOKS, refund_id="r"),
            ],
            (1, 10_000, 0, 0),
            1,
        ),
    ],
)
def test_a_cancel_may_be_of_a_part_of_an_order(corrections, left, repeated):
    for given in (corrections, [*corrections, *corrections], corrections[::-1]):
        shop = Shop()
        shop.place()
        for kind, lines, extra in given:
            shop.send(kind, lines, **extra)
        assert shop.left() == left
        if given is corrections:
            assert shop.flow.outcomes["repeated"] == repeated


def test_a_correction_of_many_articles_is_remembered_by_category():
    """What a partition remembers of one correction is bounded, however many lines it has."""
    shop = Shop()
    articles = [("books", 1, 100, f"sku-{number}") for number in range(100)]
    shop.send("placed", articles)
    shop.send("cancelled", articles)
    shop.send("refunded", articles[:1])
    assert shop.left() == (0, 0, 0, 0)
    (held,) = shop.flow.levels[ORDERS].source.markets["PK"].remembered.values()
    assert len(held.order) == 3 + 4
    assert shop.outcomes() == {"repeated": 1}


def test_a_correction_that_names_no_lines_is_a_dead_letter():
    shop = Shop()
    shop.place()
    for kind in ("cancelled", "refunded"):
        shop.send(kind, [])
    assert shop.left() == (1, 10_000, 1, 10_000)
    assert [dead.reason for dead in shop.flow.dead] == ["schema"] * 2
    assert all("$.lines" in dead.detail for dead in shop.flow.dead)


def test_an_order_whose_lines_cannot_be_counted_is_cancelled_alone():
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    voucher = [("books", 1, -500)]
    shop.send("placed", voucher)
    shop.send("cancelled", voucher)
    assert shop.left() == (1, 100, 1, 100)


def test_a_cancel_takes_back_refunds_that_named_another_day_no_more_than_once():
    """Two clocks around midnight: the refund's order was placed the day before, by one of them."""
    shop = Shop()
    shop.flow.produce(ORDERS, order("first", START - DAY_MS), START - DAY_MS)
    shop.place()
    shop.send("cancelled", WHOLE)
    shop.send("refunded", WHOLE, placed_at=rfc3339(START - DAY_MS))
    shop.send("cancelled", WHOLE, placed_at=rfc3339(START - DAY_MS))
    assert shop.left() == (0, 0, 0, 0)
    assert shop.left("2026-11-17") == (1, 100, 1, 100)
    assert shop.outcomes() == {"repeated": 2}


@pytest.mark.parametrize("corrections", [[REFUND_PART, CANCEL], [CANCEL, REFUND], [CANCEL]])
def test_members_and_methods_end_at_zero_too(corrections):
    shop = Shop()
    shop.place()
    for kind, lines, extra in corrections:
        shop.send(kind, lines, **extra)
    shop.left()
    for dimension, member in (("category", "books"), ("payment_method", "cod")):
        for index in ("orders_valid", "units_valid", "sales_valid", "orders_net", "sales_net"):
            assert shop.flow.day_value("PK", index, dimension, member, DAY).value == 0, index


@pytest.mark.parametrize("corrections", [[REFUND_PART, CANCEL], [CANCEL, REFUND], [CANCEL, CANCEL]])
def test_a_new_owner_remembers(corrections):
    shop = Shop()
    shop.place()
    for kind, lines, extra in corrections:
        shop.send(kind, lines, **extra)
        shop.left()
        shop.flow.start_source(ORDERS)  # from the checkpoints alone
    assert shop.left() == (0, 0, 0, 0)


def test_a_cancel_before_its_placement_leaves_nothing():
    shop = Shop()
    shop.flow.produce(ORDERS, order("first", START - HOUR_MS), START - HOUR_MS)
    shop.send("cancelled", WHOLE)
    shop.send("placed", WHOLE, after_ms=-500)
    shop.send("cancelled", WHOLE, after_ms=1_000)
    assert shop.left() == (1, 100, 1, 100), "the first order"
    assert shop.outcomes() == {"repeated": 1}


def test_a_correction_counts_once_for_seven_days_of_arrival():
    shop = Shop()
    shop.place()
    shop.send("refunded", PART)
    shop.send("refunded", PART, after_ms=7 * DAY_MS)
    assert shop.left() == (1, 10_000, 0, 8_000)
    shop.send("refunded", PART, after_ms=DAY_MS)
    assert shop.left() == (1, 10_000, -1, 6_000), "what is not promised"


def test_an_order_from_before_the_log_is_not_subtracted():
    shop = Shop()
    early = rfc3339(START - METHODOLOGY.grace_ms - 1)
    shop.place()
    shop.send("cancelled", WHOLE, order_id="of yesterday", placed_at=early)
    assert shop.left() == (1, 10_000, 1, 10_000)
    assert shop.outcomes() == {"unmatched": 1}


def test_an_order_within_the_grace_before_the_first_record_is_subtracted():
    shop = Shop()
    shop.flow.produce(ORDERS, order("first", START), START)
    shop.send("placed", WHOLE, after_ms=-METHODOLOGY.grace_ms)
    shop.send("cancelled", WHOLE, placed_at=rfc3339(shop.now_ms), after_ms=METHODOLOGY.grace_ms)
    assert shop.left() == (1, 100, 1, 100)


def test_where_the_log_begins_survives_a_new_owner():
    shop = Shop()
    shop.place()
    shop.left()
    shop.flow.start_source(ORDERS)
    shop.send("cancelled", WHOLE, after_ms=HOUR_MS)
    assert shop.left() == (0, 0, 0, 0)


def test_beyond_the_limit_corrections_count_and_are_said(monkeypatch):
    monkeypatch.setattr("streams.flow.fold_corrections.CORRECTIONS_MAX", 1)
    shop = Shop()
    shop.place()
    shop.send("refunded", PART)
    shop.send("refunded", OTHER_PART)
    shop.send("refunded", OTHER_PART)
    assert shop.outcomes() == {"unremembered": 2}
    assert shop.left() == (1, 10_000, 0, 4_000), "a copy of what is not remembered counts again"
    shop.send("cancelled", WHOLE)
    shop.send("cancelled", WHOLE)
    assert shop.outcomes() == {"unremembered": 2, "repeated": 1}


def test_a_correction_of_a_closed_day_counts_in_the_live_book_only():
    shop = Shop(day_grace_ms=4 * DAY_MS)
    shop.place()
    shop.send("refunded", PART)
    shop.left()
    shop.send("cancelled", WHOLE, after_ms=6 * DAY_MS)
    assert shop.outcomes() == {"day_closed": 1}


def test_a_day_of_25_hours_is_one_day():
    shop = Shop(market="BR", currency="BRL")
    shop.now_ms = parse_instant("2018-02-18T02:30:00Z")  # 23:30 in São Paulo, for the second time
    shop.send("placed", WHOLE, after_ms=0)
    placed = rfc3339(shop.now_ms)
    shop.send("refunded", PART, placed_at=placed)
    shop.send("cancelled", WHOLE, placed_at=placed, after_ms=DAY_MS)
    assert shop.left("2018-02-17") == (0, 0, 0, 0)


REFUSED = [
    {"currency": "EUR"},
    {"occurred_at": "yesterday"},
    {"occurred_at": rfc3339(START + HOUR_MS)},
    {"placed_at": rfc3339(START + HOUR_MS)},
    {"event_id": None},
    {"occurred_at": 1_795_000_000},
    {"occurred_at": rfc3339(START - 10 * MINUTE_MS), "placed_at": rfc3339(START)},
]
"""What an order says so that its placement is a dead letter, or too late though its day is open."""


@pytest.mark.parametrize("says", REFUSED)
@pytest.mark.parametrize("corrections", [[CANCEL], [REFUND], [REFUND_PART, CANCEL], [*BY_ID]])
def test_an_order_that_was_refused_is_not_subtracted(says, corrections):
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(**says)
    for kind, lines, extra in corrections:
        shop.send(kind, lines, **extra)
        shop.left()
        shop.flow.start_source(ORDERS)  # from the checkpoints alone
    assert shop.left() == (1, 100, 1, 100), "the other order"
    assert shop.outcomes() == {"unmatched": len(corrections)}


def test_an_order_that_was_refused_first_of_all_is_not_subtracted():
    shop = Shop()
    shop.place(currency="EUR")
    shop.send("cancelled", WHOLE)
    shop.flow.produce(ORDERS, order("another", shop.now_ms), shop.now_ms)
    assert shop.left() == (1, 100, 1, 100)


@pytest.mark.parametrize("late_ms", [0, 10 * MINUTE_MS])
@pytest.mark.parametrize("extra", [{}, {"placed_at": rfc3339(START)}])
def test_an_order_that_counts_after_it_was_refused_is_corrected_like_any_other(extra, late_ms):
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(currency="EUR")
    shop.left()
    shop.flow.start_source(ORDERS)
    shop.now_ms += late_ms
    shop.flow.produce(ORDERS, order("now", shop.now_ms), shop.now_ms)
    shop.send("placed", WHOLE, after_ms=1_000, **{"occurred_at": rfc3339(START + 1)} | extra)
    shop.place(currency="EUR")
    shop.left()
    shop.flow.start_source(ORDERS)
    shop.send("cancelled", WHOLE)
    assert shop.left() == (2, 200, 2, 200)
    assert shop.outcomes() == {}


def test_refused_orders_are_remembered_for_seven_days_of_arrival():
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(currency="EUR")
    shop.flow.produce(ORDERS, order("later", START + 7 * DAY_MS), START + 7 * DAY_MS)
    shop.send("cancelled", WHOLE, after_ms=7 * DAY_MS)
    assert shop.left() == (1, 100, 1, 100)
    shop.send("cancelled", WHOLE, after_ms=DAY_MS)
    assert shop.left() == (0, -9_900, 0, -9_900), "what is not promised"
    assert shop.flow.levels[ORDERS].source.markets["PK"].refused is None


def test_beyond_the_limit_refused_orders_are_said(monkeypatch):
    monkeypatch.setattr("streams.flow.refused_orders.REFUSED_MAX", 1)
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    for name in ("a", "b", "a"):
        shop.place(currency="EUR", order_id=name)
    assert shop.outcomes() == {"unremembered": 1}
    shop.send("cancelled", WHOLE, order_id="a")
    assert shop.left() == (1, 100, 1, 100)
    shop.send("cancelled", WHOLE, order_id="b")
    assert shop.left() == (0, -9_900, 0, -9_900), "what is not promised"


def test_an_order_that_counted_before_a_copy_was_refused():
    """What is not promised: orders that count are not remembered."""
    shop = Shop()
    shop.place()
    shop.place(currency="EUR")
    shop.send("cancelled", WHOLE)
    assert shop.left() == (1, 10_000, 1, 10_000)
    assert shop.outcomes() == {"unmatched": 1}


def test_a_correction_that_comes_before_its_placement_is_refused():
    """What is not promised: it was subtracted already."""
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.send("cancelled", WHOLE)
    shop.place(currency="EUR")
    assert shop.left() == (0, -9_900, 0, -9_900)


def test_refusals_of_closed_days_are_not_remembered():
    """No correction reaches such a day, and an import of old orders has millions of them."""
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(occurred_at=rfc3339(START - 40 * DAY_MS))
    shop.left()
    assert not shop.flow.levels[ORDERS].source.markets["PK"].remembered


MENDED = [
    ([CANCEL], (1, 100, 1, 100)),
    ([REFUND], (2, 10_100, 1, 100)),
    ([REFUND_PART, CANCEL], (1, 100, 1, 100)),
    ([CANCEL, REFUND_PART, CANCEL], (1, 100, 1, 100)),
    ([*BY_ID, *BY_ID], (2, 10_100, 1, 6_100)),
    ([REFUND_PART, BY_ID[0]], (2, 10_100, 1, 8_100)),
]


@pytest.mark.parametrize("late_ms", [0, 10 * MINUTE_MS])
@pytest.mark.parametrize(("corrections", "left"), MENDED)
def test_corrections_that_came_while_their_order_was_refused_count_once_it_counts(
    corrections, left, late_ms
):
    """Also where the same ones come again, before that or after, to whichever owner."""
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(currency="EUR")
    for kind, lines, extra in corrections:
        shop.send(kind, lines, **extra)
        shop.left()
        shop.flow.start_source(ORDERS)
    shop.now_ms += late_ms
    shop.flow.produce(ORDERS, order("now", shop.now_ms), shop.now_ms)
    shop.send("placed", WHOLE, payment_method="cod", occurred_at=rfc3339(START + 1))
    expected = (left[0] + 1, left[1] + 100, left[2] + 1, left[3] + 100)
    assert shop.left() == expected
    shop.flow.start_source(ORDERS)
    for kind, lines, extra in corrections:
        shop.send(kind, lines, after_ms=MINUTE_MS, **extra)
        assert shop.left() == expected
    assert shop.outcomes() == {"unmatched": len(corrections), "repeated": len(corrections)}


def test_what_waits_for_an_order_changes_its_own_day_unless_that_is_closed():
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(currency="EUR")
    shop.send("refunded", PART, refund_id="r1")
    before = rfc3339(START - DAY_MS)
    shop.send("refunded", PART, refund_id="r2", placed_at=before)
    shop.send("refunded", PART, refund_id="r3", placed_at=rfc3339(START - 35 * DAY_MS))
    shop.now_ms += DAY_MS
    shop.place(placed_at=rfc3339(START))
    assert shop.left() == (2, 10_100, 1, 8_100)
    assert shop.left("2026-11-17") == (0, 0, -1, -2_000)
    assert "2026-10-14" not in {
        rfc3339(day * DAY_MS)[:10] for day in shop.flow.levels[ORDERS].source.markets["PK"].days
    }


def test_a_sum_of_63_bits_takes_no_more_of_what_waits():
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(currency="EUR")
    shop.send("cancelled", WHOLE)
    shop.left()
    state = shop.flow.levels[ORDERS].source.markets["PK"]
    (day,) = state.days.values()
    day.row.numbers[col.CANCELLED_AT + 2] = SUM_MAX - 9_999
    shop.place()
    shop.flow.run()
    assert day.row.numbers[col.CANCELLED_AT : col.CANCELLED_AT + 3] == [0, 0, SUM_MAX - 9_999]


def test_beyond_the_limit_what_would_wait_for_an_order_is_said(monkeypatch):
    monkeypatch.setattr("streams.flow.fold_corrections.CORRECTIONS_MAX", 1)
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    shop.place(currency="EUR")
    for kind, lines, extra in BY_ID:
        shop.send(kind, lines, **extra)
    assert shop.outcomes() == {"unmatched": 2, "unremembered": 1}
    shop.place()
    assert shop.left() == (2, 10_100, 1, 8_100)


@pytest.mark.parametrize("sequence", [*itertools.permutations(["bad", "good", "part", "all"])])
def test_an_order_ends_the_same_in_whatever_order_its_refusal_and_corrections_come(sequence):
    """But where a copy is refused and then corrections come: orders that count are not remembered."""
    shop = Shop()
    shop.flow.produce(ORDERS, order("another", START), START)
    events = {
        "bad": ("placed", WHOLE, {"currency": "EUR"}),
        "good": ("placed", WHOLE, {"placed_at": rfc3339(START)}),
        "part": ("refunded", PART, {}),
        "all": ("cancelled", WHOLE, {}),
    }
    for name in sequence:
        kind, lines, extra = events[name]
        shop.send(kind, lines, **extra)
    good, bad, whole = map(sequence.index, ("good", "bad", "all"))
    if good < bad < whole:
        assert shop.left()[:2] == (2, 10_100), "what is not promised"
    else:
        assert shop.left() == (1, 100, 1, 100)


def test_articles_are_told_apart_by_broken_text_too():
    shop = Shop()
    one, other = ("books", 1, 6_000, "caf\ud83d"), ("books", 1, 4_000, "caf\ud83e")
    shop.send("placed", [one, other], after_ms=0, payment_method="cod")
    shop.send("cancelled", [one])
    shop.send("cancelled", [one])
    assert shop.left()[:2] == (0, 4_000)
    shop.send("cancelled", [other])
    assert shop.left()[:2] == (0, 0)
    assert shop.outcomes()["repeated"] == 1


@pytest.mark.parametrize(("cancelled", "net"), [(16, 11), (17, 13)])
def test_a_refund_beside_a_cancel_of_many_articles_of_its_category_is_taken_for_part_of_it(
    cancelled, net
):
    shop = Shop()
    articles = [("books", 1, 100, f"sku-{number}") for number in range(30)]
    shop.send("placed", articles, after_ms=0, payment_method="cod")
    shop.send("cancelled", articles[:cancelled])
    shop.send("refunded", articles[-3:], refund_id="r")
    assert shop.left()[3] == net * 100, "from 17 articles on, what is not promised"
