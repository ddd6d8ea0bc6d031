"""Hypothesis strategies for events that collide: few ids, few panes, few days."""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import strategies as st

from streams.flow.chunk import Chunk, SourcePartition
from streams.index.event_types import PAYMENT_TYPES
from streams.index.instants import parse_instant
from streams.index.methodology import Methodology
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from tests.support.flow_harness import METHODOLOGY

T0 = 1_790_000_000_000 // DAY_MS * DAY_MS
CURRENCY = {code: market.currency for code, market in METHODOLOGY.markets.items()}
PANE = METHODOLOGY.pane_ms
HUGE = 2**62


class Sent(NamedTuple):
    """A record of an input. ``doubtful``: its stamp is its producer's word alone."""

    value: bytes | None
    timestamp_ms: int
    doubtful: bool = False


def chunk_of(log: list[Sent], sp: SourcePartition, start: int, stop: int) -> Chunk:
    part = log[start:stop]
    return Chunk(
        sp, start, stop - 1, [None] * len(part), [each.value for each in part],
        [each.timestamp_ms for each in part],
        doubtful=bytes(each.doubtful for each in part) if any(p.doubtful for p in part) else None,
    )  # fmt: skip


def tuned(**changes) -> Methodology:
    """The default methodology with some of its numbers changed."""
    names = METHODOLOGY.__dataclass_fields__
    return Methodology(**{name: changes.get(name, getattr(METHODOLOGY, name)) for name in names})


moments = st.one_of(
    st.integers(0, 3 * PANE),
    st.integers(0, 4 * MINUTE_MS),
    st.integers(-2 * HOUR_MS, 2 * HOUR_MS),
    st.sampled_from([PANE - 1, PANE, DAY_MS, -DAY_MS, 36 * DAY_MS, 90 * DAY_MS]),
).map(lambda offset: T0 + offset)
labels = st.sampled_from(
    ["books", "Books", "Men's Fashion", "mens_fashion", "never heard of", "চাল", "other", ""]
)
methods = st.sampled_from(["cod", "EasyPay", "card", "credit_card", "barter", "other"])
amounts = st.one_of(
    st.integers(0, 500), st.sampled_from([HUGE, 2**63 - 1, 2**31, 10**13, 10**13 + 1, 10**13 // 3])
)
whole_lines = st.fixed_dictionaries(
    {
        "sku": st.just("s"),
        "category": labels,
        "quantity": st.one_of(st.integers(1, 3), st.just(2**31)),
        "unit_price_minor": amounts,
    }
)
other_lines = st.sampled_from(
    [
        None, {}, {"quantity": 1.0, "unit_price_minor": 1e3}, {"quantity": 1, "unit_price_minor": -5},
        {"quantity": 1.5, "unit_price_minor": 5}, {"quantity": "1", "unit_price_minor": 5},
        {"quantity": 2, "unit_price_minor": 7, "category": None},
        {"quantity": 2, "unit_price_minor": 7, "category": 5, "sku": 5},
    ]
)  # fmt: skip
lines = st.lists(st.one_of(whole_lines, whole_lines, whole_lines, other_lines), max_size=3)
ORDER_TYPES = ["order.placed"] * 8 + ["order.cancelled", "order.refunded"] * 2 + ["order.paid"]
markets = st.sampled_from(["PK", "PK", "BR", "XX"])


def placed_before(occurred_ms: int) -> st.SearchStrategy:
    """When an order was placed: as the contract has it, or as nobody can read it."""
    readable = st.sampled_from([0, 1, PANE, DAY_MS, 40 * DAY_MS, -1, -300_001])
    return st.one_of(
        readable.map(lambda back: rfc3339(occurred_ms - back)),
        readable.map(lambda back: rfc3339(occurred_ms - back)),
        st.sampled_from([occurred_ms, str(occurred_ms), "the day before yesterday", {}, True]),
    )


@st.composite
def order_events(draw) -> dict:
    market = draw(markets)
    occurred_ms = draw(moments)
    event = {
        "event_id": draw(st.sampled_from("abcdefgh")),
        "type": draw(st.sampled_from(ORDER_TYPES)),
        "occurred_at": rfc3339(occurred_ms),
        "market": market,
        "order_id": draw(st.sampled_from("opq")),
        "currency": draw(st.sampled_from([CURRENCY.get(market, "EUR")] * 9 + ["XXX"])),
        "lines": draw(lines),
    }
    optional = {
        "placed_at": placed_before(occurred_ms),
        "payment_method": methods,
        "region": st.sampled_from(["punjab", "sp", "nowhere", "پنجاب"]),
        "channel": st.sampled_from(["web", "iOS", "fax"]),
        "shopper_id": st.sampled_from(["someone", "a", "b", "c", "\u0632", "s" * 128, "", 7]),
        "new_shopper": st.booleans(),
        "refund_id": st.sampled_from(["r", "s"]),
        "unread": st.sampled_from(["\n", {"চাল": [1.5, {"market": None}]}, "half of a pair \ud83d"]),
    }
    for name, strategy in optional.items():
        if draw(st.booleans()):
            event[name] = draw(strategy)
    return event


@st.composite
def payment_events(draw) -> dict:
    market = draw(markets)
    occurred_ms = draw(moments)
    event = {
        "event_id": draw(st.sampled_from("abcdefgh")),
        "type": draw(st.sampled_from(["payment.captured"] * 4 + list(PAYMENT_TYPES))),
        "occurred_at": rfc3339(occurred_ms),
        "market": market,
        "order_id": "o",
        "method": draw(methods),
        "amount_minor": draw(amounts),
        "currency": draw(st.sampled_from([CURRENCY.get(market, "EUR")] * 9 + ["XXX"])),
    }
    if draw(st.booleans()):
        event["placed_at"] = draw(placed_before(occurred_ms))
    return event


def encoded(event: dict) -> bytes:
    return json.dumps(event).encode()


@st.composite
def source_logs(draw, *, payments: bool, max_size: int = 30) -> list[Sent]:
    """The records of one partition; the broker, its producers or both have stamped them."""
    log = draw(stamped_logs(payments=payments, max_size=max_size))
    alone = draw(st.sampled_from([st.just(False), st.just(True), st.booleans()]))
    if log and draw(st.integers(0, 4)) == 0:  # one in no calendar
        at = draw(st.integers(0, len(log) - 1))
        log[at] = log[at][0], draw(st.sampled_from([-1, 4_102_444_800_000, 2**51, 2**62]))
    return [Sent(value, timestamp_ms, draw(alone)) for value, timestamp_ms in log]


@st.composite
def stamped_logs(draw, *, payments: bool, max_size: int) -> list[tuple[bytes | None, int]]:
    if draw(st.integers(0, 3)) == 0:
        return draw(unsteady_logs(payments=payments, max_size=max_size))
    if draw(st.booleans()):
        return draw(calm_logs(payments=payments, max_size=2 * max_size))
    if not payments and draw(st.booleans()):
        return [each[:2] for each in draw(corrected_logs(max_size=max_size))]
    events = draw(st.lists(payment_events() if payments else order_events(), max_size=max_size))
    ordered = draw(st.booleans())
    arrivals = [draw(moments) for _ in events]
    if ordered:
        arrivals.sort()
    poison = st.sampled_from([b"{", b"null", b"\xff", None])
    log = []
    for event, arrival in zip(events, arrivals, strict=True):
        value = draw(poison) if draw(st.integers(0, 19)) == 0 else encoded(event)
        log.append((value, arrival))
    return log


@st.composite
def calm_logs(draw, *, payments: bool, max_size: int) -> list[tuple[bytes, int]]:
    """Legal events of one market in few panes, whose ids collide, so that panes lose and regain id sets.

    Now and then arrival time jumps so far that panes or days close between two events.
    """
    log = []
    now_ms = T0
    size = draw(st.integers(0, max_size))
    for _ in range(size):
        now_ms += draw(st.sampled_from([0, 0, 0, 0, PANE, MINUTE_MS, DAY_MS, 60 * DAY_MS]))
        event = {
            "event_id": draw(st.sampled_from("abcd")),
            "type": "payment.captured" if payments else "order.placed",
            "occurred_at": rfc3339(now_ms - draw(st.integers(0, 3)) * PANE),
            "market": "PK",
            "order_id": "o",
            "currency": "PKR",
        }
        if payments:
            event |= {"method": "cod", "amount_minor": 7}
        else:
            event["lines"] = [
                {"sku": "s", "category": "books", "quantity": 2, "unit_price_minor": 3}
            ]
        if draw(st.integers(0, 9)) == 0:
            event["placed_at"] = rfc3339(now_ms - 3 * DAY_MS)
        log.append((encoded(event), now_ms))
    return log


@st.composite
def unsteady_logs(draw, *, payments: bool, max_size: int) -> list[tuple[bytes, int]]:
    """Events of a few orders whose stamps jump ahead, some of them together, and go back."""
    log = []
    now_ms, ahead_ms = T0, METHODOLOGY.ahead_ms
    for number in range(draw(st.integers(0, max_size))):
        now_ms += draw(st.sampled_from([0, 0, 1_000, 3 * PANE, ahead_ms + 1, 2 * HOUR_MS]))
        jumps = [0, 0, ahead_ms, ahead_ms + 1, 55 * MINUTE_MS, 56 * MINUTE_MS, DAY_MS, 36 * DAY_MS]
        at_ms = now_ms + draw(st.sampled_from(jumps))
        event = {
            "event_id": draw(st.sampled_from([f"e{number}", "same"])),
            "type": "payment.captured" if payments else "order.placed",
            "occurred_at": rfc3339(at_ms - draw(st.sampled_from([0, 0, PANE, at_ms - now_ms]))),
            "market": draw(st.sampled_from(["PK"] * 7 + ["BR"])),
            "order_id": draw(st.sampled_from("abcde")),
        }
        event["currency"] = CURRENCY[event["market"]]
        if payments:
            event |= {"method": "cod", "amount_minor": 7}
        else:
            event["lines"] = [{"category": "books", "quantity": 2, "unit_price_minor": 3}]
        if draw(st.integers(0, 4)) == 0:
            del event["order_id"]
        log.append((encoded(event), at_ms))
    return log


@st.composite
def corrected_logs(draw, *, max_size: int = 20) -> list[Sent]:
    """A few orders that are placed, cancelled and refunded, again and again, over days and weeks."""
    log = []
    now_ms = T0
    for number in range(draw(st.integers(0, max_size))):
        now_ms += draw(st.sampled_from([0, 0, 0, 1_000, MINUTE_MS, DAY_MS, 7 * DAY_MS]))
        kind = draw(st.sampled_from(["placed", "placed", "cancelled", "refunded", "refunded"]))
        event = {
            "event_id": draw(st.sampled_from([f"e{number}", "same"])),
            "type": f"order.{kind}",
            "occurred_at": rfc3339(now_ms - draw(lateness)),
            "market": draw(st.sampled_from(["PK"] * 7 + ["BR"])),
            "order_id": draw(st.sampled_from("oop")),
            "lines": draw(lines_of_books),
        }
        event["currency"] = CURRENCY[event["market"]]
        if kind == "placed" and draw(st.integers(0, 2)) == 0:
            event |= draw(refusals)
        if kind != "placed" or draw(st.integers(0, 3)) == 0:
            back_ms = draw(
                st.sampled_from([0, 0, MINUTE_MS, 10 * MINUTE_MS, DAY_MS, 8 * DAY_MS, -DAY_MS])
            )
            event["placed_at"] = rfc3339((parse_instant(event["occurred_at"]) or now_ms) - back_ms)
        if draw(st.booleans()):
            event["payment_method"] = draw(st.sampled_from(["cod", "card"]))
        if draw(st.booleans()):
            event["refund_id"] = draw(st.sampled_from(["r", "s"]))
        log.append(Sent(encoded(event), now_ms))
    return log


refusals = st.sampled_from(
    [
        {"currency": "XXX"}, {"event_id": ""}, {"lines": None}, {"occurred_at": "yesterday"},
        {"occurred_at": rfc3339(T0 + 400 * DAY_MS)}, {"market": 5}, {"order_id": "\x00"},
    ]
)  # fmt: skip
"""What a placed order may say so that it is refused."""
lateness = st.sampled_from([0, 0, METHODOLOGY.grace_ms + 1, 10 * MINUTE_MS, 40 * DAY_MS])
lines_of_books = st.lists(
    st.fixed_dictionaries(
        {
            "sku": st.sampled_from(["s", "t", "", None]),
            "category": st.sampled_from(
                ["books", "computing", "computing", "nothing of ours", None]
            ),
            "quantity": st.integers(1, 2),
            "unit_price_minor": st.integers(1, 3),
        }
    ),
    max_size=3,
)
