"""The limits of a day's values contain what a store would say that forgets no order.

Such a store counts each order once, however often and how late it is placed, and corrects what it has
counted. The product forgets orders that count; ``lower`` and ``upper`` say how much that may matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from streams.index.ledgers import book_entries
from streams.index.member_rows import MemberRows
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from streams.index.partials import Layout
from tests.support.flow_harness import METHODOLOGY
from tests.unit.flow.test_late_orders import AGO, DAY, ORDERS, START, Till

KINDS = {
    "in time": "placed",
    "late": "placed",
    "refused": "placed",
    "cancel": "cancelled",
    "late cancel": "cancelled",
    "refund": "refunded",
}
COUNTED = {"in time", "late"}
CORRECTIONS = {"cancel", "late cancel", "refund"}
OF_LEDGER = {"": set(), "valid": CORRECTIONS - {"refund"}, "net": CORRECTIONS}
DAYS = 34
"""Days that are open together. Each order has a day and a category of its own."""


def sequences() -> Iterator[tuple[str, ...]]:
    """Each event at most once, in every order.

    What is not promised is left out: a correction that comes before its order is refused, of an order
    that never counts.
    """
    for length in range(2, 5):
        for each in itertools.permutations(KINDS, length):
            before = set(itertools.takewhile("refused".__ne__, each))
            if COUNTED.intersection(each) or not CORRECTIONS & before:
                yield each


def of_a_perfect_store(sequence: tuple[str, ...], index: str) -> int:
    """Value of the order, which has one unit of 100."""
    what, _, ledger = index.partition("_")
    left = COUNTED.intersection(sequence) and not OF_LEDGER[ledger].intersection(sequence)
    return (100 if what == "sales" else 1) * bool(left)


def send(till: Till, number: int, sequence: tuple[str, ...], placed_ms: int, category: str) -> None:
    """Send the events of one order."""
    for step, name in enumerate(sequence):
        till.now_ms += 1_000
        says = {"event_id": f"{number} {step}", "placed_at": rfc3339(placed_ms)}
        if name == "refused":
            says["currency"] = "EUR"
        says["ago_ms"] = till.now_ms - placed_ms if name.startswith("late") else 0
        line = {"sku": "s", "category": category, "quantity": 1, "unit_price_minor": 100}
        till.send(f"order {number}", KINDS[name], lines=[line], **says)


def test_the_limits_contain_what_a_perfect_store_would_say():
    till = Till(now_ms=START - (DAYS + 1) * DAY_MS)
    till.send("the log begins")
    till.run()
    state = till.flow.levels[ORDERS].source.markets["PK"]
    layout = Layout(METHODOLOGY.markets["PK"])
    members = MemberRows(layout)
    found, wrong, judged = sequences(), [], 0
    till.now_ms = START
    cells = {}
    for category in layout.day_category.members:
        for ago, sequence in zip(range(DAYS), found, strict=False):
            placed_ms = START - ago * DAY_MS - HOUR_MS
            send(till, len(cells), sequence, placed_ms, category)
            cells[state.local_days.day_of(placed_ms), category] = sequence
    till.run()
    for day, row in state.days.items():
        for entry in book_entries(layout, members.day(row.row.packed())):
            sequence = cells.get((day, entry.member))
            if sequence is not None and entry.basis == "orders":
                true = of_a_perfect_store(sequence, entry.name)
                value = entry.value
                lower, upper = (value, value) if entry.lower is None else (entry.lower, entry.upper)
                judged += 1
                if not lower <= true <= upper or upper != value:
                    wrong.append((sequence, entry.name, lower, true, upper))
    assert next(found, None) is None, "a cell for each"
    assert judged > 3_000
    assert not wrong


def test_what_was_in_time_and_late_is_cancelled_once():
    till = Till(now_ms=START - HOUR_MS)
    till.send("the order")
    till.now_ms = START
    till.send("now")
    till.send("the order", event_id="again", ago_ms=AGO)
    till.correct("the order", "cancelled")
    assert till.orders() == {"": (3, 2, 3), "_valid": (2, 1, 2), "_net": (2, 1, 2)}


def test_what_was_refused_and_cancelled_may_have_counted_before():
    """Once the order counts, nothing is unsure any more, over new owners too."""
    till = Till()
    till.send("the order")
    till.send("the order", currency="EUR")
    till.correct("the order", "cancelled", placed_ago_ms=0)
    till.correct("the order", "refunded", placed_ago_ms=0)
    assert till.orders() == {"": (1, None, None), "_valid": (1, 0, 1), "_net": (1, 0, 1)}
    till.flow.start_source(ORDERS)
    till.now_ms += MINUTE_MS
    till.send("the order", event_id="mended")
    assert till.orders() == {
        "": (2, None, None),
        "_valid": (1, None, None),
        "_net": (1, None, None),
    }
    assert till.of_day("sales_net", member=("category", "mobiles_tablets"), day=DAY)[0] == 100
