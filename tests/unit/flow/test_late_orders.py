"""Orders later than the grace reach the day that is open for them, as a part of their own."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.index.instants import parse_instant
from streams.index.methodology import Methodology
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from tests.support.events import tuned
from tests.support.flow_harness import METHODOLOGY, Flow, order

START = 1_795_000_000_000 // DAY_MS * DAY_MS + 6 * HOUR_MS
"""11:00 in Karachi."""
DAY = "2026-11-18"
ORDERS = SourcePartition("orders", 0)
GRACE = METHODOLOGY.grace_ms
AGO = 10 * MINUTE_MS


class Till:
    """A shop that was cut off: its orders of ten minutes ago come now."""

    def __init__(
        self,
        *,
        market: str = "PK",
        currency: str = "PKR",
        now_ms: int = START,
        methodology: Methodology = METHODOLOGY,
    ) -> None:
        self.flow = Flow(methodology)
        self.market = {"market": market, "currency": currency}
        self.now_ms = now_ms
        self.number = 0

    def send(self, name: str, kind: str = "placed", *, ago_ms: int = 0, **extra) -> None:
        """``name``: of the order, and of the event unless ``event_id`` says another."""
        event = order(name, self.now_ms - ago_ms, kind=f"order.{kind}", **self.market)
        event |= {"order_id": name} | extra
        self.flow.produce(ORDERS, event, self.now_ms)

    def correct(self, name: str, kind: str, *, placed_ago_ms: int = AGO, **extra) -> None:
        self.number += 1
        event_id = f"{kind} {self.number}"
        placed_at = rfc3339(self.now_ms - placed_ago_ms)
        self.send(name, kind, **({"event_id": event_id, "placed_at": placed_at} | extra))

    def run(self) -> None:
        self.flow.now_ms = max(self.flow.now_ms, self.now_ms + MINUTE_MS)
        self.flow.run()

    def of_day(self, index: str, *, member: tuple[str, str] = ("market", "all"), day: str = DAY):
        """(value, without the late part, with it) of an index."""
        self.run()
        value = self.flow.day_value(self.market["market"], index, *member, day)
        return None if value is None else (value.value, value.lower, value.upper)

    def orders(self) -> dict[str, tuple]:
        return {name: self.of_day(f"orders{name}") for name in ("", "_valid", "_net")}


def test_late_orders_count_in_their_day_with_and_without():
    till = Till()
    till.send("in time")
    for number in range(5):
        till.send(f"late {number}", ago_ms=AGO)
    till.correct("late 0", "cancelled")
    assert till.orders() == {"": (6, 1, 6), "_valid": (5, 0, 5), "_net": (5, 0, 5)}
    assert till.of_day("sales") == (600, 100, 600)
    assert till.of_day("orders", member=("category", "mobiles_tablets")) == (6, 1, 6)
    assert till.flow.outcomes["day_only"] == 5
    assert {record.reason for record in till.flow.late} == {"day_only"}
    assert till.flow.value("PK", "orders:market:all:1m").observed == 1, "windows stay as they are"


def test_a_day_without_late_orders_has_no_limits():
    till = Till()
    till.send("in time")
    till.correct("in time", "cancelled", placed_ago_ms=0)
    assert till.orders() == {
        "": (1, None, None),
        "_valid": (0, None, None),
        "_net": (0, None, None),
    }


@pytest.mark.parametrize(
    ("corrections", "left"),
    [
        (["cancelled", "cancelled"], (0, 0)),
        (["cancelled", "refunded"], (0, 0)),
        (["refunded", "cancelled"], (0, 0)),
        (["refunded", "refunded"], (1, 0)),
    ],
)
def test_a_late_order_is_corrected_once_like_any_other(corrections, left):
    till = Till()
    till.send("in time")
    till.send("late", ago_ms=AGO)
    for kind in corrections:
        till.correct("late", kind)
    valid, net = left
    assert till.of_day("orders_valid") == (1 + valid, valid, 1 + valid)
    assert till.of_day("orders_net") == (1 + net, net, 1 + net)


def test_a_late_cancel_of_a_late_order_counts_in_the_day_only():
    till = Till()
    till.send("in time")
    till.send("late", ago_ms=AGO)
    till.correct("late", "cancelled", placed_ago_ms=AGO, ago_ms=AGO - 1_000)
    assert till.orders()["_valid"] == (1, 0, 1)
    till.correct("late", "cancelled", placed_ago_ms=AGO, ago_ms=AGO - 2_000)
    till.correct("in time", "cancelled", placed_ago_ms=0)
    till.now_ms += AGO
    till.correct("in time", "refunded", placed_ago_ms=AGO, ago_ms=AGO)
    assert till.orders()["_net"] == (0, -1, 0)
    assert till.flow.outcomes["day_only"] == 2
    assert till.flow.outcomes["duplicate"] == till.flow.outcomes["repeated"] == 2


def test_a_late_cancel_before_its_late_order_leaves_nothing():
    """Both are of a time that the log holds."""
    till = Till(now_ms=START - HOUR_MS)
    till.send("in time")
    till.now_ms = START
    till.send("now")
    till.correct("late", "cancelled", ago_ms=AGO - 1_000)
    till.send("late", ago_ms=AGO)
    assert till.of_day("orders_valid") == (2, 1, 2)


def test_a_copy_of_a_late_order_is_known_for_seven_days():
    till = Till()
    till.send("in time")
    till.send("late", ago_ms=AGO)
    till.send("late", ago_ms=AGO)
    till.run()
    till.flow.start_source(ORDERS)  # from the checkpoints alone
    sent_ms, till.now_ms = till.now_ms, till.now_ms + 7 * DAY_MS
    till.send("late", ago_ms=till.now_ms - sent_ms + AGO)
    assert till.of_day("orders") == (2, 1, 2)
    assert till.flow.outcomes["duplicate"] == 2
    till.now_ms += DAY_MS
    till.send("late", ago_ms=till.now_ms - sent_ms + AGO)
    assert till.of_day("orders") == (3, 1, 3), "what is not promised"


def test_a_copy_of_an_order_in_time_counts_again_once_its_pane_is_closed():
    """What is not promised: its id is forgotten by then. The limits say which part that may be."""
    till = Till()
    till.send("twice")
    till.now_ms += AGO
    till.send("now")
    till.send("twice", ago_ms=AGO)
    assert till.of_day("orders") == (3, 2, 3)


def test_a_copy_within_its_open_pane_is_a_duplicate_though_it_is_late():
    till = Till()
    till.send("twice")
    till.now_ms += GRACE + 1
    till.send("now")
    till.send("twice", ago_ms=GRACE + 1)
    assert till.of_day("orders") == (2, None, None)
    assert till.flow.outcomes["duplicate"] == 1


def test_two_events_of_one_late_order_are_two_as_in_time():
    till = Till()
    till.send("late", ago_ms=AGO)
    till.send("late", ago_ms=AGO, event_id="another")
    assert till.of_day("orders") == (2, 0, 2)


def test_the_day_decides_and_the_watermark_closes_it():
    # Of 35 days, most would be learnt: a second that says no more.
    till = Till(methodology=tuned(day_grace_ms=5 * DAY_MS))
    till.send("in time")
    till.now_ms += 4 * DAY_MS
    till.send("now")
    till.send("days late", ago_ms=4 * DAY_MS)
    assert till.of_day("orders") == (2, 1, 2)
    till.now_ms += 3 * DAY_MS
    till.send("later")
    till.send("too late", ago_ms=7 * DAY_MS)
    till.run()
    assert [record.reason for record in till.flow.late] == ["day_only", "too_late"]


def test_a_late_order_counts_on_the_day_that_it_says():
    till = Till()
    till.send("in time")
    till.send("late", ago_ms=AGO, placed_at=rfc3339(START - 2 * DAY_MS))
    assert till.of_day("orders") == (1, None, None)
    assert till.of_day("orders", day="2026-11-16") == (1, 0, 1)


def test_a_late_order_without_lines_is_an_order():
    till = Till()
    till.send("late", ago_ms=AGO, lines=[])
    assert till.of_day("orders") == (1, 0, 1)
    assert till.of_day("sales") == (0, 0, 0)


def test_a_late_order_that_says_nonsense_is_too_late():
    till = Till()
    till.send("in time")
    till.send("a", ago_ms=AGO, placed_at=rfc3339(START))
    till.send("b", "cancelled", ago_ms=AGO)
    till.run()
    assert till.flow.outcomes["too_late"] == 2
    assert till.of_day("orders") == (1, None, None)


def test_an_order_from_before_the_log_that_the_log_holds_is_corrected():
    """In time as an event, but it says that it was placed yesterday."""
    till = Till()
    till.send("early", placed_at=rfc3339(START - DAY_MS))
    till.correct("early", "cancelled", placed_ago_ms=DAY_MS)
    till.correct("never seen", "cancelled", placed_ago_ms=DAY_MS)
    assert till.of_day("orders_valid", day="2026-11-17") == (0, None, None)
    assert till.flow.outcomes["unmatched"] == 1


def test_beyond_the_limit_late_orders_count_and_are_said(monkeypatch):
    monkeypatch.setattr("streams.flow.fold_late.LATE_MAX", 1)
    till = Till()
    till.send("in time")
    for _ in range(2):
        till.send("late 1", ago_ms=AGO)
        till.send("late 2", ago_ms=AGO)
    assert till.of_day("orders") == (4, 1, 4)
    assert (till.flow.outcomes["unremembered"], till.flow.outcomes["duplicate"]) == (2, 1)


def test_a_late_order_of_the_hour_that_comes_twice_is_of_its_day():
    """Clocks in São Paulo went back from 00:00 to 23:00: the day of 25 hours."""
    till = Till(market="BR", currency="BRL", now_ms=parse_instant("2018-02-18T02:58:00Z"))
    till.send("in time")
    till.send("late", ago_ms=50 * MINUTE_MS)  # 23:08, the first time
    assert till.of_day("orders", day="2018-02-17") == (2, 1, 2)


def test_a_late_order_revises_its_day_with_cause_late():
    till = Till()
    till.send("in time")
    till.run()
    till.now_ms += 2 * DAY_MS
    till.send("now")
    till.run()
    seen = len(till.flow.history)
    till.now_ms += HOUR_MS
    till.send("late", ago_ms=2 * DAY_MS + HOUR_MS)
    till.run()
    found = {
        revision.value.index: (revision.previous, revision.value.value, revision.cause)
        for publication in till.flow.history[seen:]
        for revision in publication.revisions
        if revision.value.member == "all"
    }
    assert found["orders"] == (1, 2, "late")
    assert found["sales_net"] == (100, 200, "late")
