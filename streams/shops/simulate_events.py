"""Drawn orders -> the encoded events that they cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from streams.index.panes import rfc3339
from streams.shops.simulate_draw import Orders
from streams.shops.simulate_options import Outage
from streams.sources.outgoing import (
    OrderRecord,
    Outgoing,
    PaymentRecord,
    order_out,
    payment_out,
)

PLACED, FIRST, SECOND, FOLLOW, MONEY_BACK = range(5)
"""Slots: the events that an order can have. Each has its own delay and repetition."""

_CACHED_MINUTES_MAX = 5_000


class Instants:
    """RFC 3339 texts of epoch milliseconds. Minutes are cached: most events cost no date computation."""

    __slots__ = ("_minutes",)

    def __init__(self) -> None:
        self._minutes: dict[int, str] = {}

    def text(self, instant_ms: int) -> str:
        """RFC 3339 of an instant, equal to that of ``rfc3339`` and faster."""
        minute, rest = divmod(instant_ms, 60_000)
        prefix = self._minutes.get(minute)
        if prefix is None:
            if len(self._minutes) >= _CACHED_MINUTES_MAX:
                self._minutes.clear()
            prefix = self._minutes[minute] = rfc3339(minute * 60_000)[:17]
        return f"{prefix}{rest // 1000:02d}.{rest % 1000:03d}Z"


class _DrawnPayment(NamedTuple):
    kind: Literal["payment.captured", "payment.failed", "payment.refunded"]
    occurred_ms: int
    slot: int


class Writer:
    """Writes the events of one market's orders.

    No event happens during an outage of the market, or before ``opened_ms``. An order placed before
    ``opened_ms`` has no events at all. An order placed before ``logged_ms`` is paid, but not cancelled
    or refunded.
    """

    def __init__(
        self,
        market: str,
        currency: str,
        outages: Sequence[Outage],
        opened_ms: int,
        logged_ms: int,
    ) -> None:
        self._market = market
        self._currency = currency
        self._outages = [outage for outage in outages if outage.market == market]
        self._opened_ms = opened_ms
        self._logged_ms = logged_ms
        self._text = Instants().text

    def placed(self, orders: Orders) -> list[Outgoing]:
        """Write order.placed for each order."""
        out: list[Outgoing] = []
        market, currency, text = self._market, self._currency, self._text
        for i, placed_ms in enumerate(orders.placed_ms):
            if placed_ms < self._opened_ms:
                continue
            order = orders.ids[i]
            record = OrderRecord(
                event_id=f"{order}-p",
                type="order.placed",
                occurred_at=text(placed_ms),
                market=market,
                order_id=order,
                currency=currency,
                lines=orders.lines[i],
                payment_method=orders.methods[i],
                shopper_id=orders.shoppers[i],
                new_shopper=orders.new[i],
                seller_id=orders.sellers[i],
                region=orders.regions[i],
                channel=orders.channels[i],
            )
            self._send(out, order_out(record, placed_ms), orders, PLACED, i)
        return out

    def paid_at_once(self, orders: Orders) -> list[Outgoing]:
        """Write payment.captured for each order, or payment.failed and perhaps a second attempt."""
        out: list[Outgoing] = []
        for i, placed_ms in enumerate(orders.placed_ms):
            first_ms = placed_ms + orders.first_ms[i]
            if not orders.failed[i]:
                self._pay(out, orders, i, _DrawnPayment("payment.captured", first_ms, FIRST))
                continue
            self._pay(out, orders, i, _DrawnPayment("payment.failed", first_ms, FIRST))
            if orders.retried[i]:
                second_ms = placed_ms + orders.second_ms[i]
                self._pay(out, orders, i, _DrawnPayment("payment.captured", second_ms, SECOND))
        return out

    def delivered(self, orders: Orders, start_ms: int, length_ms: int) -> list[Outgoing]:
        """Write payment.captured for each order, within the block: cash on delivery."""
        out: list[Outgoing] = []
        for i, at in enumerate(orders.follow):
            payment = _DrawnPayment("payment.captured", start_ms + int(at * length_ms), FOLLOW)
            self._pay(out, orders, i, payment)
        return out

    def undone(
        self,
        orders: Orders,
        kind: Literal["order.cancelled", "order.refunded"],
        start_ms: int,
        length_ms: int,
        paid: Sequence[bool],
    ) -> list[Outgoing]:
        """Write order.cancelled or order.refunded for each order, and payment.refunded if it was paid.

        An order that was never paid is not refunded.
        """
        out: list[Outgoing] = []
        market, currency, text = self._market, self._currency, self._text
        for i, at in enumerate(orders.follow):
            occurred_ms = start_ms + int(at * length_ms)
            never_paid = kind == "order.refunded" and not paid[i]
            unseen = orders.placed_ms[i] < self._logged_ms
            if never_paid or unseen or not self._happens(orders.placed_ms[i], occurred_ms):
                continue
            order = orders.ids[i]
            record = OrderRecord(
                event_id=f"{order}-u",
                type=kind,
                occurred_at=text(occurred_ms),
                market=market,
                order_id=order,
                currency=currency,
                lines=orders.lines[i],
                placed_at=text(orders.placed_ms[i]),
                payment_method=orders.methods[i],
            )
            self._send(out, order_out(record, occurred_ms), orders, FOLLOW, i)
            if paid[i]:
                self._pay(
                    out, orders, i, _DrawnPayment("payment.refunded", occurred_ms, MONEY_BACK)
                )
        return out

    def _pay(self, out: list[Outgoing], orders: Orders, i: int, payment: _DrawnPayment) -> None:
        kind, occurred_ms, slot = payment
        placed_ms = orders.placed_ms[i]
        if not self._happens(placed_ms, occurred_ms):
            return
        order = orders.ids[i]
        record = PaymentRecord(
            event_id=f"{order}-{slot}",
            type=kind,
            occurred_at=self._text(occurred_ms),
            market=self._market,
            order_id=order,
            method=orders.methods[i],
            amount_minor=orders.amounts[i],
            currency=self._currency,
            placed_at=self._text(placed_ms),
        )
        self._send(out, payment_out(record, occurred_ms), orders, slot, i)

    def _happens(self, placed_ms: int, occurred_ms: int) -> bool:
        return placed_ms >= self._opened_ms and not any(
            outage.start_ms <= occurred_ms < outage.end_ms for outage in self._outages
        )

    @staticmethod
    def _send(out: list[Outgoing], event: Outgoing, orders: Orders, slot: int, i: int) -> None:
        if orders.delays_ms:
            event = event._replace(timestamp_ms=event.timestamp_ms + orders.delays_ms[slot][i])
        out.append(event)
        if orders.repeats_ms and (later_ms := orders.repeats_ms[slot][i]):
            out.append(event._replace(timestamp_ms=event.timestamp_ms + later_ms))
